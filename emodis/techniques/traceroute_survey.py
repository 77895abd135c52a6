"""What every flow met at every TTL, and how much of it suffices (TECHNIQUES.md 2, MDA). Pure.

The conversation asks it what is still missing, the estimator what came of it, so that both go by
the same rules. A hop is a TTL; what answers at it are its addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from emodis.techniques import arrival, stopping
from emodis.techniques.traceroute_hops import MAX_TTL, is_answered
from emodis.wire.v1.techniques_pb2 import TrainRecord

# An unanswered probe is repeated until it was sent so often, then its flow counts as silent there.
TRIES = 3
_NEVER = MAX_TTL + 1


@attrs.frozen(kw_only=True)
class Limits:
    """How far to look. `full`: by router wherever a hop branches, not only where it must be."""

    first_ttl: int
    max_ttl: int
    eps_ratio: float
    max_flows: int
    max_branches: int
    full: bool


@attrs.define
class Survey:
    """Grows by trains; flow 0 is the one whose route was traced before."""

    target: bytes
    proto: str
    limits: Limits
    # By TTL and flow: who answered, once for each time it was asked; empty = nobody.
    _met: dict[int, dict[int, list[bytes]]] = attrs.field(factory=dict)
    # The smallest TTL at which each flow arrived.
    _ends: dict[int, int] = attrs.field(factory=dict)
    # What follows from these for one TTL, until the next train changes it.
    _answers: dict[int, dict[int, bytes]] = attrs.field(factory=dict)
    _addresses: dict[int, list[bytes]] = attrs.field(factory=dict)

    def add(self, trains: Iterable[TrainRecord]) -> None:
        """Take trains in, in the order in which they were sent."""
        for train in trains:
            for probe in train.probes:
                if not probe.HasField("sent_ns") or not 1 <= probe.ttl <= MAX_TTL:
                    continue
                heard = is_answered(probe)
                asked = self._met.setdefault(probe.ttl, {}).setdefault(train.flow, [])
                asked.append(probe.address if heard else b"")
                self._forget(probe.ttl)
                if heard and arrival.arrived(probe, self.target, proto=self.proto):
                    self._arrive(train.flow, probe.ttl)

    @property
    def flows(self) -> int:
        """How many were tried."""
        return len({flow for flows in self._met.values() for flow in flows})

    def end(self, flow: int) -> int:
        """The TTL at which it arrived; larger than any where it has not."""
        return self._ends.get(flow, _NEVER)

    def span(self) -> range:
        """The TTLs worth asking: as far as flow 0 went, farther where another flow is longer."""
        last = self._ends.get(0)
        if last is None:
            heard = [ttl for ttl in self._met if 0 in self.answers(ttl)]
            last = min(max(heard, default=0), self.limits.max_ttl)
            return range(self.limits.first_ttl, last + 1)
        while last < self.limits.max_ttl and any(self.end(f) > last for f in self.answers(last)):
            last += 1
        return range(self.limits.first_ttl, last + 1)

    def tries(self, ttl: int, flow: int) -> int:
        """How often the flow was asked there."""
        return len(self._met.get(ttl, {}).get(flow, ()))

    def answers(self, ttl: int) -> Mapping[int, bytes]:
        """Who answered each flow there first; flows that nobody answered are missing."""
        if ttl not in self._answers:
            firsts = {
                flow: next(filter(None, asked), b"")
                for flow, asked in sorted(self._met.get(ttl, {}).items())
                if ttl <= self.end(flow)
            }
            self._answers[ttl] = {flow: first for flow, first in firsts.items() if first}
        return self._answers[ttl]

    def addresses(self, ttl: int) -> Sequence[bytes]:
        """Everybody who answered there, also the second and third time, in the order of flows."""
        if ttl not in self._addresses:
            found: dict[bytes, None] = {}
            for flow, asked in sorted(self._met.get(ttl, {}).items()):
                if ttl <= self.end(flow):
                    found.update(dict.fromkeys(filter(None, asked)))
            self._addresses[ttl] = list(found)
        return self._addresses[ttl]

    def is_per_packet(self, ttl: int) -> bool:
        """Whether one flow met different routers there."""
        return any(
            len(set(filter(None, asked))) > 1
            for flow, asked in self._met.get(ttl, {}).items()
            if ttl <= self.end(flow)
        )

    def unanswered(self, ttl: int, *, silent: bool) -> list[int]:
        """Flows without an answer there: the silent ones, or those that may be asked again."""
        return [
            flow
            for flow, asked in sorted(self._met.get(ttl, {}).items())
            if ttl <= self.end(flow) and not any(asked) and (len(asked) >= TRIES) == silent
        ]

    def links(self, ttl: int) -> Mapping[bytes, Mapping[bytes, Sequence[int]]]:
        """The flows that went from each address at this TTL to each one at the next."""
        after = self.answers(ttl + 1)
        found: dict[bytes, dict[bytes, list[int]]] = {}
        for flow, here in self.answers(ttl).items():
            ways = found.setdefault(here, {})
            if flow in after and ttl < self.end(flow):
                ways.setdefault(after[flow], []).append(flow)
        return found

    def branches_before(self, ttl: int) -> bool:
        """Whether any hop before this one has several addresses."""
        return any(len(self.addresses(t)) > 1 for t in range(self.limits.first_ttl, ttl))

    def is_arrival(self, ttl: int) -> bool:
        """Whether only the destination answers there."""
        return all(self.end(flow) == ttl for flow in self.answers(ttl))

    def required(self, ttl: int) -> int:
        """How many flows this hop must have answered; 0 where asking on cannot help.

        The destination needs no search unless routes part before it. A hop at which nobody answers
        is asked by as many flows as would do for a single router.
        """
        ways = len(self.addresses(ttl))
        if self.is_per_packet(ttl) or ways > self.limits.max_branches:
            return 0
        if ways and self.is_arrival(ttl) and not self.branches_before(ttl):
            return 0
        return stopping.enough(max(ways, 1), self.limits.eps_ratio)

    def counted(self, ttl: int) -> int:
        """How many flows count towards `required`."""
        answered = len(self.answers(ttl))
        return answered if answered else len(self._met.get(ttl, {}))

    def new_flow(self, ttl: int) -> int | None:
        """The next flow that has not been asked there; None when all have."""
        for flow in range(self.limits.max_flows):
            if not self.tries(ttl, flow) and ttl <= self.end(flow):
                return flow
        return None

    def must_be_parted(self, ttl: int) -> bool:
        """Whether the ways from this hop to the next must be counted router by router.

        Counting by hop assumes that all routers of a hop are equally likely. That is in doubt where
        two hops in a row branch and their routers do not all have as many ways in and out.
        """
        here, there = self.addresses(ttl), self.addresses(ttl + 1)
        if len(here) < 2 or not there or not self._can_be_parted(ttl):
            return False
        if self.limits.full:
            return True
        if len(there) < 2:
            return False
        links = self.links(ttl)
        out = {len(links.get(address, ())) for address in here}
        into = {sum(address in ways for ways in links.values()) for address in there}
        return len(out) > 1 or len(into) > 1

    def through(self, ttl: int, place: bytes) -> Sequence[int]:
        """The flows that met this router and went on from it."""
        met = self.answers(ttl)
        return [flow for flow, here in met.items() if here == place and ttl < self.end(flow)]

    def lacks_ways(self, ttl: int, place: bytes) -> bool:
        """Whether the flows through a router do not yet rule out one more way on from it."""
        ways = self.links(ttl).get(place, {})
        seen = sum(len(flows) for flows in ways.values())
        return seen < stopping.enough(max(len(ways), 1), self.limits.eps_ratio)

    def _arrive(self, flow: int, ttl: int) -> None:
        if ttl < self.end(flow):
            self._ends[flow] = ttl
            # What the flow met behind its end does not count any more.
            for behind in [t for t in self._met if t > ttl]:
                self._forget(behind)

    def _forget(self, ttl: int) -> None:
        self._answers.pop(ttl, None)
        self._addresses.pop(ttl, None)

    def _can_be_parted(self, ttl: int) -> bool:
        return not any(
            self.is_per_packet(t) or len(self.addresses(t)) > self.limits.max_branches
            for t in (ttl, ttl + 1)
        )
