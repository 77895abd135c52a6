"""A measurement while it lives: which pairs are open, what they cost, who is listening."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from emodis.master.client_session import ClientPort
from emodis.master.keys import Pair, to_wire
from emodis.master.store.records import MeasurementRecord
from emodis.master.verdicts import Verdict
from emodis.master.watcher import Watcher
from emodis.master.words import counted
from emodis.scheduling.model import RunKey
from emodis.techniques.base import Technique
from emodis.wire.v1.client_pb2 import (
    EndCount,
    Ended,
    Progress,
    Request,
    RunState,
    ToClient,
)
from emodis.wire.v1.common_pb2 import CODE_UNSPECIFIED, Body, Cost, End, Outcome, Target


class Stage(enum.Enum):
    """Where it is; the values are what GetStatus says."""

    SELECTING = "selecting"
    MEASURING = "measuring"
    ENDED = "ended"


@attrs.define(eq=False, kw_only=True)
class Measurement:
    """One admitted request, or one child of a plan (then with `parent`)."""

    id: str
    client_id: str
    call: Body
    technique: Technique
    targets: tuple[Target, ...]
    request: Request
    # The worst case of one run.
    budget_s: float
    admitted_unix_ns: int
    parent: Measurement | None = None
    # Whose leaving ends it; None for children, and for detached ones.
    owner: ClientPort | None = None
    stage: Stage = Stage.SELECTING
    watchers: list[Watcher] = attrs.field(factory=list)
    runs_total: int = 0
    open: set[Pair] = attrs.field(factory=set)
    # The newest attempt that was assigned.
    started: dict[Pair, RunKey] = attrs.field(factory=dict)
    # Their agent was lost while it may have been at them; not assigned again since.
    abandoned: set[Pair] = attrs.field(factory=set)
    # Children keep what came, for their plan.
    outcomes: dict[Pair, Outcome] = attrs.field(factory=dict)
    received: set[RunKey] = attrs.field(factory=set)
    counts: Counter[End.ValueType] = attrs.field(factory=Counter)
    cost: Cost = attrs.field(factory=Cost)
    # What the two ends of a run have said to each other through the master.
    relayed_bytes: Counter[RunKey] = attrs.field(factory=Counter)
    # Results on their way to the disk.
    saving: int = 0
    unsaved: int = 0
    rounds_over: bool = False
    verdict: Verdict | None = None
    task: Deferred[None] | None = None
    timer: IDelayedCall | None = None
    # Fire when its end is written down and told.
    farewells: list[Deferred[None]] = attrs.field(factory=list)

    @property
    def parent_id(self) -> str:
        return self.parent.id if self.parent is not None else ""

    def record(self) -> MeasurementRecord:
        """As the store keeps it, before anything has happened to it."""
        return MeasurementRecord(
            id=self.id,
            parent_id=self.parent_id,
            client_id=self.client_id,
            idempotency=self.request.idempotency,
            call=self.call,
            targets=self.targets,
            request=_without_secret(self.request),
            admitted_unix_ns=self.admitted_unix_ns,
        )

    def begin(self, pairs: Iterable[Pair]) -> None:
        """The scheduler has it from now on."""
        self.stage = Stage.MEASURING
        self.open = set(pairs)
        self.runs_total = len(self.open)

    def settle(self, pair: Pair, outcome: Outcome) -> bool:
        """A pair has ended; False when it had before."""
        if pair not in self.open:
            return False
        self.open.discard(pair)
        self.counts[outcome.ending.end] += 1
        if self.parent is not None:
            self.outcomes[pair] = outcome
        return True

    def charge(self, cost: Cost) -> None:
        """Add what a run sent and received, whenever it came."""
        self.cost.sent_packets += cost.sent_packets
        self.cost.recv_packets += cost.recv_packets
        self.cost.sent_bytes += cost.sent_bytes
        self.cost.recv_bytes += cost.recv_bytes

    def ended(self) -> Ended:
        """The last message about it."""
        text = self.verdict.text if self.verdict else ""
        if self.unsaved:
            text = (
                f"{text}{'; ' if text else ''}{counted(self.unsaved, 'result')} could not be stored"
            )
        return Ended(
            measurement_id=self.id,
            counts=[EndCount(end=end, runs=runs) for end, runs in sorted(self.counts.items())],
            cost=self.cost,
            code=self.verdict.code if self.verdict else CODE_UNSPECIFIED,
            text=text,
        )

    def tell(self, message: ToClient) -> None:
        """To everybody who listens."""
        for watcher in self.watchers:
            watcher.tell(message)

    def progress(
        self, run: RunKey, state: RunState.ValueType, *, done: int = 0, total: int = 0
    ) -> None:
        """How a run gets on; a child's is shown to its parent's listeners."""
        audience = self.parent if self.parent is not None else self
        message = ToClient(
            progress=Progress(
                run=to_wire(run),
                state=state,
                done=done,
                total=total,
                discovery=audience.stage is Stage.SELECTING,
            )
        )
        for watcher in audience.watchers:
            if not watcher.port.congested:
                watcher.port.send(message)

    def drop_watcher(self, port: ClientPort) -> None:
        """This client listens no longer."""
        self.watchers = [watcher for watcher in self.watchers if watcher.port is not port]


def _without_secret(request: Request) -> Request:
    """What a client's partner shows it is worth nothing later, and nobody else's business."""
    kept = Request()
    kept.CopyFrom(request)
    kept.ClearField("peer")
    return kept
