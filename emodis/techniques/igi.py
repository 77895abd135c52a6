"""IGI/PTR: the bandwidth that is left over on a path, measured from both of its ends.

Hu and Steenkiste, IEEE JSAC 21(6), 2003; what differs from the authors' tool and why is in
TECHNIQUES.md 4. Two-ended: one side sends trains, the other reports when they arrived.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar

from emodis.packets.model import Address
from emodis.packets.paced import PacedOutcome, PacedTrain, headers_bytes
from emodis.techniques.base import BadParameters, Context, Conversation, Measured, Spend
from emodis.techniques.igi_directions import WAYS, one_way, together
from emodis.techniques.igi_result import measured
from emodis.techniques.igi_search import (
    PRECISE_BYTES,
    SETTLE_BYTES,
    USUAL_PHASES,
    WORDS_NS,
    Parameters,
    Search,
)
from emodis.techniques.skeleton import Skeleton
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body
from emodis.wire.v1.igi_pb2 import IgiObservations, IgiParameters, IgiResult

# A connection that does not arrive, a partner through the master, the opening of its path.
CONNECT_S = 5.0
CLOSING_S = 2.0
# Told before anything is known: a path of about 10 Mbit/s.
USUAL_TRAIN_S = 0.1
# Larger packets than this are not sent whole everywhere.
LARGEST_PACKET_BYTES = 1500


class Igi(Skeleton[Parameters, IgiObservations, IgiResult]):
    """Phases of paced trains between the agent and the client."""

    NAME: ClassVar[str] = "igi"
    SUMMARY: ClassVar[str] = "available bandwidth between an agent and this host (IGI/PTR)"
    EXCLUSIVE: ClassVar[bool] = True
    POLICY: ClassVar[Policy.ValueType] = Policy.POLICY_RING
    NEEDS_RAW: ClassVar[bool] = False
    PARAMETERS = Parameters
    CALL = IgiParameters
    OBSERVATIONS = IgiObservations
    RESULT = IgiResult

    def usual(self, chosen: Parameters) -> Spend:
        """A search of the usual length, none repeated, and what steadies its answer."""
        trains = chosen.repeats * USUAL_PHASES
        ways = len(WAYS[chosen.direction])
        train_bytes = chosen.packets * (chosen.payload_bytes + headers_bytes(6))
        train_s = USUAL_TRAIN_S + WORDS_NS / NS_PER_S
        total_bytes = max(trains * train_bytes, SETTLE_BYTES)
        duration_s = trains * train_s
        if chosen.precise:
            total_bytes, duration_s = max(total_bytes, PRECISE_BYTES), 2 * duration_s
        return Spend(
            duration_s=ways * min(duration_s, chosen.max_time_s),
            sent_bytes=ways * min(total_bytes, chosen.max_bytes),
        )

    def worst(self, chosen: Parameters) -> Spend:
        """The deadline of TECHNIQUES.md section 4; the byte cap is a parameter."""
        ways = len(WAYS[chosen.direction])
        return Spend(
            duration_s=CONNECT_S + ways * chosen.max_time_s + CLOSING_S,
            sent_bytes=ways * chosen.max_bytes,
        )

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """It cannot be done alone."""
        raise BadParameters("igi needs a partner at the other end")

    def talk_to_peer(
        self, call: Body, context: Context
    ) -> Generator[PacedTrain, PacedOutcome, Measured]:
        """Search with a partner who reports what arrives."""
        chosen = self._chosen(call)
        version = context.address.version
        _check_size(chosen, version)
        now_ns, found = 0, []
        for upstream in WAYS[chosen.direction]:
            trains = Search(chosen, version).trains()
            seen, now_ns = yield from one_way(trains, upstream, now_ns)
            seen.relayed = context.relayed
            found.append(seen)
        observations = found[0]
        if len(found) > 1:
            observations.upstream.CopyFrom(found[1])
        return self.evaluate(chosen, observations)

    def partner_sends(self, call: Body) -> bool:
        """See `Peered`."""
        return any(WAYS[self._chosen(call).direction])

    def evaluate(self, chosen: Parameters, observations: IgiObservations) -> Measured:
        """Estimate from stored trains."""
        if chosen.direction != "both":
            return _evaluate(chosen, observations, upstream=chosen.direction == "upstream")
        down = _evaluate(chosen, observations, upstream=False)
        up = _evaluate(chosen, observations.upstream, upstream=True)
        return together(down, up, observations)

    def addresses(self, body: Body) -> Sequence[Address]:
        """None: the only one in it would be the destination's own."""
        self.result(body)
        return ()


def _evaluate(chosen: Parameters, observations: IgiObservations, *, upstream: bool) -> Measured:
    return measured(
        observations,
        epsilon_ratio=chosen.epsilon_ratio,
        confirm=chosen.confirm,
        upstream=upstream,
    )


def _check_size(chosen: Parameters, version: int) -> None:
    """The bounds of the parameter are those of IPv4."""
    most = LARGEST_PACKET_BYTES - headers_bytes(version)
    if chosen.payload_bytes > most:
        raise BadParameters(f"payload_bytes must be 64 to {most} bytes over IPv{version}")
