"""Saves runs as fast as they are acknowledged, says which were, until somebody kills it.

`python -m tests.faults.store_child FILE FIRST`: run FIRST, FIRST + 1 and so on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.unit.master.store.rig import Rig, outcome, run_key

WINDOW = 50


def main() -> None:
    """Keep a window of writes waiting; a line on stdout for each acknowledged one."""
    path, first = Path(sys.argv[1]), int(sys.argv[2])
    os.write(1, b"opening\n")
    rig = Rig(path)
    waiting = []
    for number in range(first, first + 1_000_000):
        saved = outcome(observations=b"%d" % number)
        waiting.append(rig.store.save_run(run_key(number), saved, late=False, overlapped=()))
        if len(waiting) == WINDOW:
            for acknowledged, save in enumerate(waiting, number + 1 - WINDOW):
                rig.wait(save)
                os.write(1, b"%d\n" % acknowledged)
            waiting.clear()


if __name__ == "__main__":
    main()
