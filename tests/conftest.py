"""Tests marked `lab` need namespaces of their own: where the kernel refuses, they are skipped in
so many words; with EMODIS_REQUIRE_LAB=1 (as in CI) they fail instead.

Who starts pytest in the background of a script hands it an ignored SIGINT, and every process of
the tests would inherit it: ^C is tested, so it is made to work first.

The whole suite runs on several workers: labs in which bandwidth is measured stay on one, so that no
two of them run beside each other; so do the other labs, and the real processes, which mostly wait.

On a machine that others share a measurement may meet a bad moment, and then says so or errs: what
fails in a lab is done again after a pause, up to RERUNS times, and counted in the closing line.
What the code does wrong fails each time.

Hypothesis draws the same examples in every run, so that a red suite means a change; `make fuzz` is
for new ones. How long an example takes is no test's business on a machine that others share.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.support.sizes import FULL

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where times decide, in modules that begin so; the other labs; real processes without one.
TOGETHER = {
    "times": tuple(
        f"tests/lab/test_{word}"
        for word in (
            "bad_paths",
            "bench",
            "broute",
            "held_up",
            "igi",
            "ipv6",
            "main_job",
            "pathneck",
            "unprivileged.py",
        )
    ),
    "labs": ("tests/lab/",),
    "processes": ("tests/faults/", "tests/integration/"),
}
RERUNS = 4
PAUSE_S = 3

_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _PATIENT, derandomize=True)
settings.register_profile("fuzz", _PATIENT, max_examples=1000, print_blob=True)
settings.load_profile("same")


class Rooms(LoadScopeScheduling):  # type: ignore[misc]  # the plugin has no types
    """Hands out tests: each group that belongs together to one worker, the rest singly.

    In full they are handed out singly all: two labs on two processors meet seldom, as in
    `emodis-lab bench --jobs 2`.
    """

    def _split_scope(self, nodeid: str) -> str:
        if FULL:
            return nodeid
        found = (group for group, starts in TOGETHER.items() if nodeid.startswith(starts))
        return next(found, nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Rooms:
    """Have `Rooms` hand out the tests wherever there are several workers."""
    return Rooms(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test of a lab another chance."""
    for item in items:
        if item.get_closest_marker("lab") is not None and not FULL:
            item.add_marker(pytest.mark.flaky(reruns=RERUNS, reruns_delay=PAUSE_S))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a lab test, or fail it, with the kernel's reason."""
    if item.get_closest_marker("lab") is None:
        return
    # Late: the quick loop shall not wait for the lab to load.
    from emodis.lab.attempt import why_not

    reason = why_not()
    if reason is None:
        return
    if os.environ.get("EMODIS_REQUIRE_LAB", "0") not in {"", "0"}:
        pytest.fail(f"{reason} (EMODIS_REQUIRE_LAB is set)", pytrace=False)
    pytest.skip(reason)
