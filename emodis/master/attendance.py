"""Agents come and go: fenced, remembered, made known to the scheduler, held up under pressure."""

from __future__ import annotations

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure

from emodis.master.assigner import Assigner
from emodis.master.clock_driver import ClockDriver
from emodis.master.ledger import Ledger
from emodis.master.membership import AgentPort, Member, Membership
from emodis.master.owners import Owners
from emodis.wire.v1.common_pb2 import CODE_FENCED, Hello

# A fenced daemon stays away for long: two with one identity must not fight.
FENCED_RETRY_AFTER_S = 300.0


@attrs.define(eq=False, kw_only=True)
class Attendance:
    """What follows from an agent's session beginning and ending."""

    ledger: Ledger
    members: Membership
    owners: Owners
    driver: ClockDriver
    assigner: Assigner
    log: Logger
    # The store is behind: nothing more is read from agents until it has caught up.
    pressed: bool = False

    def joined(self, hello: Hello, port: AgentPort, peer_host: str) -> Member:
        """It was welcomed; an older session of the same identity is dismissed first."""
        rival = self.members.rival(hello)
        if rival is not None:
            self._fence(rival, hello)
        asn, as_name = self.owners.of_agent(hello, peer_host)
        member = Member(hello=hello, port=port, peer_host=peer_host, asn=asn, as_name=as_name)
        self.members.join(member)
        self.log.info(
            "agent {id} joined from {peer}: {software}, {techniques}",
            id=member.id,
            peer=peer_host,
            software=hello.software[:80],
            techniques=", ".join(sorted({c.technique for c in hello.capabilities}))[:200]
            or "no techniques",
        )
        if self.pressed:
            port.pause()
        self._remember(member)
        self.driver.joined(member.id)
        return member

    def left(self, member: Member, reason: str) -> None:
        """Its session is over."""
        if self.members.leave(member):
            self.log.info("agent {id} lost: {reason}", id=member.id, reason=reason)
            self._remember(member)
            self.assigner.lost(member.id)
            self.driver.lost(member.id)

    def press(self, pressed: bool) -> None:
        """The store says whether it can take more."""
        self.pressed = pressed
        self.log.warn(
            "the store is behind, agents have to wait"
            if pressed
            else "the store has caught up, agents go on"
        )
        for member in self.members:
            if pressed:
                member.port.pause()
            else:
                member.port.resume()

    def _fence(self, rival: Member, hello: Hello) -> None:
        same = rival.hello.boot_id == hello.boot_id
        text = (
            "a newer session of the same process took over"
            if same
            else "another process with this agent's id took over; do two run from one state "
            "directory, or from copies of it?"
        )
        self.log.warn("agent {id} is fenced: {text}", id=rival.id, text=text)
        rival.port.dismiss(CODE_FENCED, text, FENCED_RETRY_AFTER_S)

    def _remember(self, member: Member) -> None:
        """That it was here, and when it last gave a sign of life."""
        saving = self.ledger.save_agent(
            member.hello, asn=member.asn, seen_unix_ns=member.last_seen_unix_ns
        )
        _ = saving.addErrback(self._not_remembered, member)

    def _not_remembered(self, failure: Failure, member: Member) -> None:
        self.log.warn(
            "agent {id} is not remembered: {why}", id=member.id, why=failure.getErrorMessage()
        )
