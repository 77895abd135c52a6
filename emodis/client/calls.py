"""What can be asked of a master, and what its answers mean for the conversation. Pure."""

from __future__ import annotations

import enum
from typing import Protocol

import attrs

from emodis.wire.v1.client_pb2 import (
    Cancel,
    FromClient,
    GetResults,
    GetStatus,
    ListAgents,
    Request,
    ToClient,
)

# One call per connection, and at most a Cancel after it.
CALL_ID = 1
CANCEL_CALL_ID = 2


class Meaning(enum.Enum):
    """What a message does to the conversation."""

    # The call is being served.
    BEGUN = enum.auto()
    NEWS = enum.auto()
    # That was all.
    OVER = enum.auto()


class Call(Protocol):
    """One thing asked of a master. It learns from the answers it is shown."""

    # Our own patience once it is being served; None = as long as the master is alive.
    @property
    def patience_s(self) -> float | None: ...

    def opening(self) -> FromClient:
        """What to send after Welcome."""
        ...

    def read(self, message: ToClient) -> Meaning:
        """What this answer means."""
        ...

    def next(self) -> FromClient | None:
        """What to send after an answer that was NEWS; usually nothing."""
        ...

    def cancel(self) -> FromClient | None:
        """What to send when the user wants to leave; None when leaving says it all."""
        ...


@attrs.define
class _Plain:
    patience_s: float | None = attrs.field(default=None, init=False)

    def next(self) -> FromClient | None:
        return None

    def cancel(self) -> FromClient | None:
        return None


@attrs.define
class RequestCall(_Plain):
    """Please measure. Its last message is Ended, or Selected where the client does not stay."""

    request: Request
    _id: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        if self.request.timeout_s:
            # The master keeps the limit; this is for one that does not.
            self.patience_s = self.request.timeout_s + 30.0

    def opening(self) -> FromClient:
        self.request.call_id = CALL_ID
        return FromClient(request=self.request)

    def read(self, message: ToClient) -> Meaning:
        match message.WhichOneof("body"):
            case "accepted":
                self._id = message.accepted.measurement_id
                return Meaning.BEGUN
            case "ended":
                return Meaning.OVER
            case "selected" if self.request.dry_run or self.request.detach:
                return Meaning.OVER
            case _:
                return Meaning.NEWS

    def cancel(self) -> FromClient | None:
        return _cancel(CANCEL_CALL_ID, self._id)


@attrs.define
class ResultsCall(_Plain):
    """What has been measured; leaving it cancels nothing."""

    measurement_id: str
    follow: bool
    with_observations: bool
    # Only what has this cursor; 0 = everything.
    only: int = 0

    def opening(self) -> FromClient:
        wanted = GetResults(
            call_id=CALL_ID,
            measurement_id=self.measurement_id,
            after=max(0, self.only - 1),
            follow=self.follow,
            with_observations=self.with_observations,
        )
        return FromClient(get_results=wanted)

    def read(self, message: ToClient) -> Meaning:
        match message.WhichOneof("body"):
            case "results_begin":
                return Meaning.BEGUN
            case "ended":
                return Meaning.OVER
            case "result" if message.result.cursor == self.only:
                return Meaning.OVER
            case _:
                return Meaning.NEWS


@attrs.define
class AgentsCall(_Plain):
    """The directory, page by page."""

    technique: str
    _cursor: str = attrs.field(default="", init=False)

    def opening(self) -> FromClient:
        wanted = ListAgents(call_id=CALL_ID, technique=self.technique, cursor=self._cursor)
        return FromClient(list_agents=wanted)

    def read(self, message: ToClient) -> Meaning:
        if message.WhichOneof("body") != "agents":
            return Meaning.NEWS
        seen, self._cursor = self._cursor, message.agents.next_cursor
        # A master that names the same page again would go round for ever.
        return Meaning.OVER if self._cursor in {"", seen} else Meaning.NEWS

    def next(self) -> FromClient | None:
        return self.opening() if self._cursor else None


@attrs.define
class StatusCall(_Plain):
    """The master's state, or one measurement's."""

    measurement_id: str

    def opening(self) -> FromClient:
        return FromClient(get_status=GetStatus(call_id=CALL_ID, measurement_id=self.measurement_id))

    def read(self, message: ToClient) -> Meaning:
        return Meaning.OVER if message.WhichOneof("body") == "status" else Meaning.NEWS


@attrs.define
class CancelCall(_Plain):
    """Please stop measuring."""

    measurement_id: str

    def opening(self) -> FromClient:
        return _cancel(CALL_ID, self.measurement_id)

    def read(self, message: ToClient) -> Meaning:
        return Meaning.OVER if message.WhichOneof("body") == "cancelled" else Meaning.NEWS


def _cancel(call_id: int, measurement_id: str) -> FromClient:
    return FromClient(cancel=Cancel(call_id=call_id, measurement_id=measurement_id))
