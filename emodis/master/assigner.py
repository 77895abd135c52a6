"""Carries the scheduler's decisions out: assignments to agents, ends to results."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.master.keys import to_wire
from emodis.master.measurement import Measurement
from emodis.master.membership import Membership
from emodis.master.results import Results
from emodis.scheduling.model import Abort, AgentId, End, RoundEnded, RunKey, Start
from emodis.techniques import igi_keys
from emodis.techniques.base import cooperates, is_peered
from emodis.wire.v1 import common_pb2
from emodis.wire.v1.agent_pb2 import Assignment, ClientStop, RunCancel, ToAgent
from emodis.wire.v1.client_pb2 import RUN_STATE_ASSIGNED
from emodis.wire.v1.common_pb2 import PeerOffer

NONCE_BYTES = 16


@attrs.define(eq=False, kw_only=True)
class Assigner:
    """The `Orders` of the clock driver."""

    members: Membership
    live: dict[str, Measurement]
    random_bytes: Callable[[int], bytes]
    results: Results = attrs.field(init=False)
    # What each agent was given last; it does one run at a time.
    _latest: dict[AgentId, RunKey] = attrs.field(factory=dict, init=False)

    def start(self, decision: Start) -> None:
        run = decision.run
        measurement = self.live.get(run.measurement)
        member = self.members.get(run.agent)
        if measurement is None or member is None:
            return
        pair = (run.agent, run.destination)
        measurement.started[pair] = run
        measurement.abandoned.discard(pair)
        self._latest[run.agent] = run
        key = to_wire(run)
        member.port.send(
            ToAgent(
                assignment=Assignment(
                    run=key,
                    parent_id=measurement.parent_id,
                    call=measurement.call,
                    target=measurement.targets[run.destination],
                    exclusive=measurement.technique.EXCLUSIVE,
                    start_by_clock_ns=decision.start_by_ns,
                    stop_by_clock_ns=decision.stop_by_ns,
                    budget_s=measurement.budget_s,
                    nonce=self.random_bytes(NONCE_BYTES),
                    peer=partner_of(measurement, key),
                )
            )
        )
        measurement.progress(run, RUN_STATE_ASSIGNED)

    def abort(self, decision: Abort) -> None:
        measurement = self.live.get(decision.run.measurement)
        member = self.members.get(decision.run.agent)
        if member is None or (measurement is not None and measurement.verdict is not None):
            # ClientStop has told it already.
            return
        member.port.send(ToAgent(run_cancel=RunCancel(run=to_wire(decision.run))))

    def end(self, decision: End) -> None:
        self.results.ended_by_us(decision)

    def round_ended(self, decision: RoundEnded) -> None:
        measurement = self.live.get(decision.measurement)
        if measurement is not None:
            measurement.rounds_over = True
            self.results.settled(measurement)

    def lost(self, agent: AgentId) -> None:
        """Its session ended: what it was at may be tried again."""
        run = self._latest.pop(agent, None)
        measurement = self.live.get(run.measurement) if run is not None else None
        if run is not None and measurement is not None:
            measurement.abandoned.add((run.agent, run.destination))

    def stop_clients_work(self, measurement: Measurement) -> None:
        """The paper's client-stop, to every agent that holds an open run of this measurement."""
        holders = sorted({agent for agent, _ in measurement.started.keys() & measurement.open})
        for agent in holders:
            member = self.members.get(agent)
            if member is not None:
                member.port.send(ToAgent(client_stop=ClientStop(measurement_ids=[measurement.id])))


def partner_of(measurement: Measurement, run: common_pb2.RunKey) -> PeerOffer | None:
    """Where the client listens.

    For a technique with two ends the token is good for this run only. Others are told of the port
    where their destination answers only if that is the client itself.
    """
    offer = measurement.request.peer
    if cooperates(measurement.technique) and not measurement.request.destinations:
        return PeerOffer(answering_port=offer.answering_port, token=offer.token)
    if not is_peered(measurement.technique) or not offer.token:
        return None
    token = igi_keys.run_token(offer.token, run)
    return PeerOffer(tcp_port=offer.tcp_port, token=token, relay=offer.relay)
