"""Why a measurement is ended before its time, and how that is told."""

from __future__ import annotations

import attrs

from emodis.wire.v1.common_pb2 import (
    CODE_SHUTDOWN,
    CODE_UNSPECIFIED,
    END_CANCELLED,
    END_EXPIRED,
    Code,
    End,
)


@attrs.frozen(kw_only=True)
class Verdict:
    """Once there is one, it stands. `end` and `reason` are those of the runs it cuts off."""

    text: str
    reason: str
    end: End.ValueType
    code: Code.ValueType = CODE_UNSPECIFIED
    # Nobody wants what has come so far.
    discard: bool = False


CLIENT_GONE = Verdict(
    text="its client left before it ended", reason="client_gone", end=END_CANCELLED, discard=True
)
CANCELLED = Verdict(text="cancelled on request", reason="cancelled", end=END_CANCELLED)
SHUTDOWN = Verdict(
    text="the master is shutting down",
    reason="shutdown",
    end=END_CANCELLED,
    code=CODE_SHUTDOWN,
)


def timed_out(timeout_s: float) -> Verdict:
    """The requester's own limit."""
    return Verdict(
        text=f"the request's time limit of {timeout_s:g} s has passed",
        reason="request_timeout",
        end=END_EXPIRED,
    )


def not_possible(text: str, code: Code.ValueType) -> Verdict:
    """It was accepted, and cannot be carried out after all."""
    return Verdict(text=text, reason="not_possible", end=END_CANCELLED, code=code)
