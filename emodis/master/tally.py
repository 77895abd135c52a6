"""What a plan's children have taken, added up for its results."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from emodis.master.plans import RunChild
from emodis.techniques.base import Child, Pair
from emodis.wire.v1.common_pb2 import TRANSPORT_UNSPECIFIED, Outcome


@attrs.define(eq=False, kw_only=True)
class Tally:
    """The outcomes of all children so far, by agent and the parent's destination."""

    begun_unix_ns: int
    _outcomes: list[tuple[Pair, Outcome]] = attrs.field(factory=list, init=False)

    def counting(self, run_child: RunChild) -> RunChild:
        """Does the same, and remembers what came of it."""

        async def counted(child: Child) -> Mapping[Pair, Outcome]:
            found = await run_child(child)
            self._outcomes.extend(found.items())
            return found

        return counted

    def outcome(self, pair: Pair) -> Outcome:
        """Times, cost and transport of this pair's runs; those of all agents, if it names none."""
        agent, destination = pair
        mine = [
            outcome
            for (who, where), outcome in self._outcomes
            if where == destination and agent in {"", who}
        ]
        total = Outcome(started_unix_ns=self.begun_unix_ns)
        for outcome in mine:
            total.cost.sent_packets += outcome.cost.sent_packets
            total.cost.recv_packets += outcome.cost.recv_packets
            total.cost.sent_bytes += outcome.cost.sent_bytes
            total.cost.recv_bytes += outcome.cost.recv_bytes
        timed = [outcome for outcome in mine if outcome.started_unix_ns]
        if timed:
            total.started_unix_ns = min(outcome.started_unix_ns for outcome in timed)
            total.duration_ns = (
                max(outcome.started_unix_ns + outcome.duration_ns for outcome in timed)
                - total.started_unix_ns
            )
        # Only what holds for all of them can be said.
        transports = {outcome.transport for outcome in timed}
        total.transport = transports.pop() if len(transports) == 1 else TRANSPORT_UNSPECIFIED
        return total
