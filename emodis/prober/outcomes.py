"""Outcomes of runs that did not end by themselves, for the worker and for whoever drives it."""

from __future__ import annotations

from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_UNSPECIFIED,
    BLAME_US,
    END_CANCELLED,
    END_EXPIRED,
    END_FAILED,
    Blame,
    Cost,
    End,
    Ending,
    Outcome,
)


def ended(
    end: End.ValueType, reason: str, hint: str, blame: Blame.ValueType, cost: Cost | None = None
) -> Outcome:
    """An outcome without result; `cost` is what the run had sent and received until then."""
    ending = Ending(end=end, reason=reason, hint=hint, blame=blame)
    return Outcome(ending=ending, cost=cost)


def cancelled(cost: Cost | None = None) -> Outcome:
    """Somebody no longer wanted it."""
    return ended(END_CANCELLED, "aborted", "The run was called off.", BLAME_UNSPECIFIED, cost)


def out_of_time(cost: Cost | None = None) -> Outcome:
    """Its time window was over before it was."""
    hint = "The run's time window was over; ask for fewer or shorter trains, or try again."
    return ended(END_EXPIRED, "stop_by", hint, BLAME_US, cost)


def out_of_bytes(max_bytes: int, cost: Cost | None = None) -> Outcome:
    """Its byte cap was."""
    hint = (
        f"The run may send {max_bytes} bytes, which is not enough; ask for less, or raise the cap."
    )
    return ended(END_FAILED, "budget_exceeded", hint, BLAME_AGENT, cost)


def stuck(cost: Cost | None = None) -> Outcome:
    """The prober was silent past its deadline and has been killed."""
    hint = "The prober did not come to an end and was restarted; please report this."
    return ended(END_EXPIRED, "prober_stuck", hint, BLAME_US, cost)


def crashed(detail: str, cost: Cost | None = None) -> Outcome:
    """The prober died or sent garbage, or the technique raised."""
    hint = f"The prober failed during this run ({detail}); try again, and report it if it persists."
    return ended(END_FAILED, "prober_crashed", hint, BLAME_US, cost)


def unavailable(detail: str) -> Outcome:
    """There is no prober to run it."""
    return ended(END_FAILED, "prober_unavailable", detail, BLAME_AGENT)
