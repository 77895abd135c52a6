"""Whether this machine lets this user build a lab: tried on the smallest scale, not guessed."""

from __future__ import annotations

import functools
import subprocess
import sys

from emodis.lab import kernel
from emodis.lab.errors import LabError
from emodis.lab.isolation import isolate, refused

PROBE_TIMEOUT_S = 30.0


def probe() -> None:
    """Try everything a lab needs, on the smallest scale; in a process of its own, which then ends.

    Raises:
        Refused: one line naming what was refused.
    """
    isolate()
    try:
        kernel.make_mounts_private()
    except OSError as error:
        raise refused("private mounts", error) from error
    try:
        kernel.put("/proc/sys/net/ipv4/ip_forward", "1")
    except OSError as error:
        raise refused("to set net.ipv4.ip_forward in its own network", error) from error
    # Late: who only asks `why_not` must not wait for pyroute2 to load.
    from emodis.lab.build import probe_links

    probe_links()


@functools.cache
def why_not() -> str | None:
    """Why no lab can be built on this machine by this user; None if one can."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "emodis.lab.attempt"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no lab here: trying one did not end within {PROBE_TIMEOUT_S:.0f} s"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).split("\n")
    return next(line for line in [*reversed(lines), "no lab here: no word why"] if line)


if __name__ == "__main__":
    try:
        probe()
    except LabError as refusal:
        sys.exit(str(refusal))
