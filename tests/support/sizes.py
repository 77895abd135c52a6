"""How often a test repeats what chance decides: a little in the suite, in full in `make bench`.

Such tests are marked `full`; EMODIS_FULL=1 makes them large, and none of them is then done again.
"""

from __future__ import annotations

import os
from typing import TypeVar

Size = TypeVar("Size")

FULL = os.environ.get("EMODIS_FULL", "0") not in {"", "0"}


def sized(small: Size, full: Size) -> Size:
    """The one for the suite, or the one for the benchmark."""
    return full if FULL else small
