"""Who is here: agents by identity, one session each. No I/O, no clock (times are arguments).

A new session of an agent always fences the old one, whether it is the same process dialling again
or a second daemon with a copied state directory: only one may hold assignments.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Protocol

import attrs

from emodis.scheduling.model import AgentId
from emodis.wire.v1.agent_pb2 import ToAgent
from emodis.wire.v1.common_pb2 import Capability, Code, Hello

FAMILY_BIT = {4: 1, 6: 2}


class AgentPort(Protocol):
    """What the service can do with an agent's session."""

    @property
    def heard_unix_ns(self) -> int:
        """When its latest message came."""

    def send(self, message: ToAgent) -> None:
        """Queue one message."""

    def dismiss(self, code: Code.ValueType, text: str, retry_after_s: float) -> None:
        """Say goodbye and hang up; the session reports its end before this returns."""

    def pause(self) -> None:
        """Read nothing from it for now."""

    def resume(self) -> None:
        """Read from it again."""


@attrs.frozen(kw_only=True, eq=False)
class Member:
    """One agent, for as long as one session of it lasts."""

    hello: Hello
    port: AgentPort
    # As the master sees it.
    peer_host: str
    asn: int
    as_name: str

    @property
    def id(self) -> AgentId:
        return AgentId(self.hello.id)

    @property
    def addresses(self) -> frozenset[str]:
        """Every address it may be called by, canonical text."""
        own = {str(ip_address(raw)) for raw in self.hello.addresses if len(raw) in {4, 16}}
        return frozenset(own | {self.peer_host})

    @property
    def last_seen_unix_ns(self) -> int:
        """When it last gave a sign of life."""
        return self.port.heard_unix_ns

    def capability(self, technique: str, schema: int, family: int) -> Capability | None:
        """Its way to do this technique, if it has one."""
        for capability in self.hello.capabilities:
            if (
                capability.technique == technique
                and capability.schema == schema
                and capability.families & FAMILY_BIT[family]
            ):
                return capability
        return None


@attrs.define
class Membership:
    """The agents present, in the order in which they joined."""

    _members: dict[AgentId, Member] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members.values()))

    def get(self, agent: AgentId) -> Member | None:
        """The session that speaks for this agent now."""
        return self._members.get(agent)

    def join(self, member: Member) -> None:
        """Enter it; whoever had the identity must have been dismissed before (`rival`)."""
        assert member.id not in self._members
        self._members[member.id] = member

    def rival(self, hello: Hello) -> Member | None:
        """The session that a new one of this identity fences."""
        return self._members.get(AgentId(hello.id))

    def leave(self, member: Member) -> bool:
        """Strike it out; False when another session had already taken its place."""
        if self._members.get(member.id) is not member:
            return False
        del self._members[member.id]
        return True
