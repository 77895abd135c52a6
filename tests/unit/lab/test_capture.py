from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emodis.lab.capture import Capture, start_capture
from emodis.lab.errors import LabError

RECORDER = """
import signal, sys
print("recording", flush=True)
signal.sigwait({signal.SIGTERM})
print("[12, 3]")
"""


def popen(code: str) -> Any:
    def start(host: str, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        block = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [{int(signal.SIGTERM)}])"
        return subprocess.Popen([sys.executable, "-c", f"{block}\n{code}"], **options)

    return start


def test_the_counts_come_from_the_recorder_and_stay() -> None:
    with start_capture(popen(RECORDER), "h1", "to-r1", Path("x")) as capture:
        assert isinstance(capture, Capture)
    assert capture.stop() == (12, 3)
    assert json.dumps(capture.stop()) == "[12, 3]"


def test_a_recorder_that_cannot_start_is_one_line() -> None:
    with pytest.raises(LabError, match="capture at h1 failed: no such interface"):
        start_capture(popen("import sys; sys.exit('no such interface')"), "h1", "x", Path("x"))
