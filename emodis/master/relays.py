"""Passes on what the two ends of a run say to each other, where the agent cannot dial the client.

The master does not read it. It only sees to it that the two belong together: the run is in work at
this very agent, for this very client, and says no more than an honest one would.
"""

from __future__ import annotations

import attrs

from emodis.master.client_session import ClientPort
from emodis.master.keys import from_wire
from emodis.master.measurement import Measurement
from emodis.master.membership import Member, Membership
from emodis.topology import special
from emodis.wire.v1.agent_pb2 import ToAgent
from emodis.wire.v1.client_pb2 import ToClient
from emodis.wire.v1.common_pb2 import Relay

MOST_WORDS_BYTES = 16 << 10
# Of one run, both ways together: some hundred trains and their reports.
MOST_RUN_BYTES = 8 << 20
# Each counts at least so much, else empty ones would cost nothing.
LEAST_WORDS_BYTES = 64


@attrs.define(eq=False, kw_only=True)
class Relays:
    """All runs of all measurements. What may not pass is dropped: the ends notice the silence."""

    live: dict[str, Measurement]
    members: Membership

    def from_agent(self, member: Member, relay: Relay) -> None:
        """Towards the client who asked for the run."""
        measurement = self._pass(relay)
        if measurement is None or measurement.owner is None:
            return
        address = special.canonical(member.peer_host).packed
        told = Relay(run=relay.run, words=relay.words, agent_address=address)
        measurement.owner.send(ToClient(relay=told))

    def from_client(self, port: ClientPort, relay: Relay) -> None:
        """Towards the agent that has the run in work."""
        measurement = self._pass(relay)
        if measurement is None or measurement.owner is not port:
            return
        member = self.members.get(from_wire(relay.run).agent)
        if member is not None:
            member.port.send(ToAgent(relay=Relay(run=relay.run, words=relay.words)))

    def _pass(self, relay: Relay) -> Measurement | None:
        """Its measurement, if the run is in work and has not said too much."""
        run = from_wire(relay.run)
        measurement = self.live.get(run.measurement)
        if measurement is None or not measurement.request.peer.relay:
            return None
        pair = (run.agent, run.destination)
        if pair not in measurement.open or measurement.started.get(pair) != run:
            return None
        size_bytes = max(LEAST_WORDS_BYTES, len(relay.words))
        said_bytes = measurement.relayed_bytes
        said_bytes[run] += size_bytes
        if size_bytes > MOST_WORDS_BYTES or said_bytes[run] > MOST_RUN_BYTES:
            return None
        return measurement
