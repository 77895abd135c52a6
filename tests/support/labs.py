"""Whether this machine can hold a lab, said once, in one line."""

from __future__ import annotations

import os

import pytest

from emodis.lab.isolation import why_not

REQUIRE = "EMODIS_REQUIRE_LAB"


def require_lab() -> None:
    """Skip visibly where labs cannot be; fail instead where they must be (CI)."""
    reason = why_not()
    if reason is None:
        return
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
