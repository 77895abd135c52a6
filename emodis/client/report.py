"""Everything that is known about one measurement, however little has arrived.

The same for a master's measurement and for one from this host, so that rendering, thresholds and
exit codes need not know the difference.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from emodis.client.finish import COMPLETE, Finish
from emodis.techniques import registry
from emodis.wire.v1.client_pb2 import AddressOwner, Choice, Ended, Result, Selected, ToClient
from emodis.wire.v1.common_pb2 import END_DONE, Body, Cost, End, Target

Address = IPv4Address | IPv6Address
RunId = tuple[int, str, int]


@attrs.define
class Report:
    """One measurement as seen from here; `take` lets it grow."""

    call: Body = attrs.field(factory=Body)
    # False: agents probe us or the named destinations.
    upstream: bool = False
    # No destination was named: it is us.
    to_me: bool = False
    measurement_id: str = ""
    targets: list[Target] = attrs.field(factory=list)
    choices: dict[str, Choice] = attrs.field(factory=dict)
    selected: Selected | None = None
    results: dict[RunId, Result] = attrs.field(factory=dict)
    ended: Ended | None = None
    finish: Finish = COMPLETE
    # Host names of addresses in the results, as far as they were looked up and have one.
    names: dict[Address, str] = attrs.field(factory=dict)

    def take(self, message: ToClient) -> None:
        """Learn from a message of the master; others than these teach nothing."""
        match message.WhichOneof("body"):
            case "accepted":
                self.measurement_id = message.accepted.measurement_id
                self.targets = list(message.accepted.targets)
                self.call = message.accepted.call
            case "results_begin":
                begin = message.results_begin
                self.measurement_id = begin.measurement_id
                self.targets, self.call = list(begin.targets), begin.call
                self.choices = {choice.agent_id: choice for choice in begin.agents}
            case "selected":
                self.selected = message.selected
                self.choices = {choice.agent_id: choice for choice in message.selected.agents}
            case "result":
                self.add(message.result)
            case "ended":
                self.ended = message.ended
            case _:
                pass

    def add(self, result: Result) -> None:
        """Keep a result; of several for one run the one that was done, else the newest."""
        key = (result.run.round, result.run.agent_id, result.run.destination)
        before = self.results.get(key)
        if before is None or not _is_done(before) or _is_done(result):
            self.results[key] = result

    @property
    def ordered(self) -> list[Result]:
        """By destination, then round, then agent."""
        return sorted(
            self.results.values(),
            key=lambda result: (result.run.destination, result.run.round, result.run.agent_id),
        )

    @property
    def done(self) -> list[Result]:
        """Those with a result in them."""
        return [result for result in self.ordered if _is_done(result)]

    @property
    def counts(self) -> Counter[End.ValueType]:
        """Runs by their end; the master's own count where it gave one."""
        if self.ended is not None and self.ended.counts:
            return Counter({count.end: count.runs for count in self.ended.counts})
        return Counter(result.outcome.ending.end for result in self.results.values())

    @property
    def runs_total(self) -> int:
        """How many runs there should be, as far as that is known."""
        planned = self.selected.runs_total if self.selected is not None else 0
        return max(planned, self.counts.total())

    @property
    def cost(self) -> Cost:
        """What it took; the master's own sum where it gave one."""
        if self.ended is not None and self.ended.HasField("cost"):
            return self.ended.cost
        total = Cost()
        for result in self.results.values():
            cost = result.outcome.cost
            total.sent_packets += cost.sent_packets
            total.recv_packets += cost.recv_packets
            total.sent_bytes += cost.sent_bytes
            total.recv_bytes += cost.recv_bytes
        return total

    @property
    def as_map(self) -> bool:
        """Somebody could look addresses up."""
        return any(result.as_map for result in self.results.values())

    @property
    def owners(self) -> dict[Address, AddressOwner]:
        """To whom the addresses in the results belong."""
        return {
            ip_address(owner.address): owner
            for result in self.results.values()
            for owner in result.owners
            if len(owner.address) in {4, 16}
        }

    def target(self, index: int) -> Target:
        """A destination, also one that the master did not tell."""
        return self.targets[index] if index < len(self.targets) else Target()

    def agent_name(self, agent_id: str) -> str:
        """Short and unmistakable among the agents of this measurement."""
        if not agent_id:
            by_agents = self.call.technique in registry.PLANS and not self.upstream
            return "all agents" if by_agents else "this host"
        place = self.choices[agent_id].place if agent_id in self.choices else ""
        places = [choice.place for choice in self.choices.values()]
        if place and places.count(place) == 1:
            return place
        return agent_id[:8] if _looks_like_uuid(agent_id) else agent_id

    def with_names(self, text: str) -> str:
        """What a master wrote, with the names of agents in place of their ids."""
        for agent_id in filter(_looks_like_uuid, self.choices):
            text = text.replace(agent_id, self.agent_name(agent_id))
        return text


def _is_done(result: Result) -> bool:
    return result.outcome.ending.end == END_DONE


def _looks_like_uuid(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4
