"""A process that takes the processors from the probers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emodis.lab.lab import Lab

# In real time above every prober, on every processor, 4 ms of 24.
_HOG = """
import os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
parent = os.getpid()
for place in os.sched_getaffinity(0):
    if not os.fork():
        os.sched_setaffinity(0, {place})
        while os.getppid() == parent:
            end_s = time.monotonic() + 0.004
            while time.monotonic() < end_s:
                pass
            time.sleep(0.02)
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def hog(lab: Lab, host: str) -> Iterator[None]:
    """Have one run for a while; skips the test where this user may not raise priorities."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except PermissionError:
        pytest.skip("this user has no real-time priority")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    command = [sys.executable, "-c", _HOG]
    with lab.popen(host, command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
