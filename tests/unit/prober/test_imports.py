"""What the prober process does not load cannot slow its start or its trains."""

from __future__ import annotations

import subprocess
import sys


def test_the_worker_knows_neither_twisted_nor_scapy() -> None:
    code = (
        "import sys, emodis.prober.worker\n"
        "print([n for n in ('twisted', 'scapy', 'sqlalchemy') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"
