"""The directory of agents: those who are here, and those whom the store remembers.

Everybody gets the same entries, so that nobody learns from a missing one who is down; what only
a manager may know is taken out of them.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.master.client_session import ClientPort
from emodis.master.ledger import Ledger
from emodis.master.membership import Member, Membership
from emodis.master.owners import Owners
from emodis.master.store.records import AgentRecord
from emodis.scheduling.model import AgentId
from emodis.techniques.registry import PLANS
from emodis.wire.v1.client_pb2 import AgentEntry, AgentList, ListAgents, ToClient
from emodis.wire.v1.common_pb2 import ROLE_MANAGER, Hello, Role

AGENTS_PER_PAGE = 200


@attrs.define(eq=False, kw_only=True)
class Directory:
    """Answers ListAgents, a page at a time."""

    ledger: Ledger
    members: Membership
    owners: Owners
    load: Callable[[AgentId], int]

    async def answer(self, port: ClientPort, wanted: ListAgents) -> None:
        """The page that was asked for, as far as this client may see it."""
        port.send(ToClient(agents=await self.page(wanted, port.granted)))

    async def page(self, wanted: ListAgents, role: Role.ValueType) -> AgentList:
        """The next agents by id. A page can be empty: those that do not fit are not made up for."""
        records = await self.ledger.agents(after=wanted.cursor, limit=AGENTS_PER_PAGE)
        known = {record.hello.id: record for record in records}
        # Also those whose Hello is still on its way to the disk.
        here = {member.id: member for member in self.members if member.id > wanted.cursor}
        ids = sorted({*known, *here})[:AGENTS_PER_PAGE]
        entries = [
            self._present(here[AgentId(agent)]) if agent in here else self._absent(known[agent])
            for agent in ids
        ]
        return AgentList(
            call_id=wanted.call_id,
            agents=[_as_seen_by(role, entry) for entry in entries if _fits(entry, wanted)],
            next_cursor=ids[-1] if len(ids) == AGENTS_PER_PAGE else "",
        )

    def _present(self, member: Member) -> AgentEntry:
        entry = _entry(member.hello, member.asn, member.as_name)
        entry.online = True
        entry.load = self.load(member.id)
        entry.last_seen_unix_ns = member.last_seen_unix_ns
        return entry

    def _absent(self, record: AgentRecord) -> AgentEntry:
        as_name = self.owners.name_of(record.asn, record.hello.addresses)
        entry = _entry(record.hello, record.asn, as_name)
        entry.last_seen_unix_ns = record.last_seen_unix_ns
        return entry


def _entry(hello: Hello, asn: int, as_name: str) -> AgentEntry:
    return AgentEntry(
        id=hello.id,
        place=hello.place,
        asn=asn,
        as_name=as_name,
        techniques=sorted({capability.technique for capability in hello.capabilities}),
        tags=hello.tags,
        addresses=hello.addresses,
    )


def _fits(entry: AgentEntry, wanted: ListAgents) -> bool:
    return _needed(wanted.technique) <= set(entry.techniques) and set(wanted.tags) <= set(
        entry.tags
    )


def _needed(technique: str) -> set[str]:
    """What an agent must have for it: a plan is made of others."""
    plan = PLANS.get(technique)
    if plan is not None:
        return {needed.NAME for needed in plan.NEEDS}
    return {technique} if technique else set()


def _as_seen_by(role: Role.ValueType, entry: AgentEntry) -> AgentEntry:
    if role == ROLE_MANAGER:
        return entry
    return AgentEntry(
        id=entry.id,
        place=entry.place,
        asn=entry.asn,
        as_name=entry.as_name,
        techniques=entry.techniques,
        tags=entry.tags,
    )
