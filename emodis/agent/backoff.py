"""How long to wait before dialling again: a floor per cause, jitter above it (DESIGN.md 3).

Full jitter may draw 0, which would break the promise that the master has given a silent agent up
before that agent dials again; so chance only ever adds to the floor.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import attrs

from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_FENCED,
    CODE_FRAME,
    CODE_OUT_OF_ORDER,
    CODE_POLICY,
    CODE_UNAUTHENTICATED,
    CODE_VERSION,
    Code,
)

Uniform = Callable[[float, float], float]

QUICK_FLOOR_S = 1.0
QUICK_CAP_S = 120.0
SLOW_FLOOR_S = 300.0
SLOW_JITTER_S = 60.0
# A master may ask us to stay away, but not for ever.
RETRY_AFTER_CAP_S = 3600.0


class Cause(enum.Enum):
    """Why there is no connection; it decides when to try again."""

    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    SILENT = "silent"
    REFUSED = "refused"
    FENCED = "fenced"


_SLOW_CODES = frozenset(
    {
        CODE_VERSION,
        CODE_UNAUTHENTICATED,
        CODE_POLICY,
        # A mistake in one of the two programs: dialling at once would repeat it at once.
        CODE_BAD_REQUEST,
        CODE_OUT_OF_ORDER,
        CODE_FRAME,
    }
)


def cause_of(code: Code.ValueType) -> Cause:
    """What a Refusal or Goodbye with this code means for dialling again."""
    if code == CODE_FENCED:
        return Cause.FENCED
    return Cause.REFUSED if code in _SLOW_CODES else Cause.CLOSED


@attrs.frozen(kw_only=True)
class Drop:
    """The end of a connection, or of the attempt to make one."""

    cause: Cause
    # For people, as in "lost the master (TEXT)".
    text: str
    # The master's own wish; 0 = none.
    retry_after_s: float = 0.0


@attrs.define
class Backoff:
    """Counts failures in a row; `uniform` is `random.uniform`, or a lambda in a test.

    `silent_floor_s` is the reconnect_floor_s of the last Welcome.
    """

    _uniform: Uniform
    silent_floor_s: float = 30.0
    _failures: int = attrs.field(default=0, init=False)

    def next_delay_s(self, drop: Drop) -> float:
        """Seconds to wait after this drop; counts it."""
        floor_s, ceiling_s = self._range(drop.cause)
        wish_s = drop.retry_after_s
        if math.isfinite(wish_s) and wish_s > 0:
            floor_s = max(floor_s, min(wish_s, RETRY_AFTER_CAP_S))
        self._failures += 1
        return floor_s + self._uniform(0.0, ceiling_s)

    def reset(self) -> None:
        """The connection has proved itself."""
        self._failures = 0

    def _range(self, cause: Cause) -> tuple[float, float]:
        """Floor, and how much chance may add to it."""
        match cause:
            case Cause.SILENT:
                return self.silent_floor_s, self.silent_floor_s
            case Cause.REFUSED | Cause.FENCED:
                return SLOW_FLOOR_S, SLOW_JITTER_S
            case Cause.UNREACHABLE | Cause.CLOSED:
                doublings = min(self._failures, 16)
                return QUICK_FLOOR_S, min(QUICK_CAP_S, QUICK_FLOOR_S * 2.0**doublings)
