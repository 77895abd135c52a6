"""Tests marked `lab` need namespaces of their own: where the kernel refuses, they are skipped in
so many words; with EMODIS_REQUIRE_LAB=1 (as in CI) they fail instead.

Who starts pytest in the background of a script hands it an ignored SIGINT, and every process of
the tests would inherit it: ^C is tested, so it is made to work first.

The whole suite runs on two workers: labs, where time is measured, stay on one, so that no two of
them run beside each other; other real processes on the other.

Hypothesis draws the same examples in every run, so that a red suite means a change; `make fuzz` is
for new ones. How long an example takes is no test's business on a machine that others share.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent

_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _PATIENT, derandomize=True)
settings.register_profile("fuzz", _PATIENT, max_examples=1000, print_blob=True)
settings.load_profile("same")


# First: the plugin that reads the marks does so in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the labs together on one worker, and other real processes on one."""
    for item in items:
        room = item.path.relative_to(HERE).parts[0]
        if room == "lab":
            item.add_marker(pytest.mark.xdist_group("lab"))
        elif room in {"faults", "integration"}:
            item.add_marker(pytest.mark.xdist_group("processes"))


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
