"""Pathneck: which link of the path is the bottleneck (SIGCOMM 2004; TECHNIQUES.md section 3).

A train is a head of small packets with TTL 1, 2, ..., a load, and a tail with TTL ..., 2, 1, sent
in one go. Router h answers the h-th packet of the head and, when the load has passed, that of the
tail: the time between its two answers is the train's length as it arrived there. A link with less
available bandwidth than the train's rate stretches it, and it stays stretched.

Trains are trimmed to the path, and the load has a wrong checksum, so that the destination spends
its few answers on the head and the tail only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import attrs

from emodis.packets.model import Address
from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques import records
from emodis.techniques.base import BadParameters, Context, Conversation, Measured, Spend
from emodis.techniques.kinds import Kinds
from emodis.techniques.parameters import choice, flag, real, whole
from emodis.techniques.pathneck_cause import SHORT_TRAINS, SPACED_TRAINS
from emodis.techniques.pathneck_doubts import failure, quality
from emodis.techniques.pathneck_estimator import VOTE_SHARE
from emodis.techniques.pathneck_greeting import GREETINGS, is_answered
from emodis.techniques.pathneck_pacing import (
    FLOOR_BPS,
    MOST_LOAD_BYTES,
    MOST_LOAD_PACKETS,
    MOST_PACKETS,
)
from emodis.techniques.pathneck_result import build
from emodis.techniques.pathneck_talk import IPV6_LONGER_BYTES, LEAST_TRAINS, converse
from emodis.techniques.pathneck_trace import KINDS, TRACE_LIMIT_S
from emodis.techniques.skeleton import DONE, Skeleton, failed, grade
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import BLAME_TARGET, PACKET_KIND_MUTED, Body
from emodis.wire.v1.techniques_pb2 import PathneckObservations, PathneckParameters, PathneckResult

_SPARE_S = 5.0
_USUAL_HOPS = 10
_USUAL_BPS = 10_000_000
_USUAL_LOOK_S = 1.0
# A train needs two answers of the destination, which saves up a few before the first.
_USUAL_PAUSE_S = 1.0


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    trains: int = whole(10, 3, 50, unit="", text="trains to measure with; fewer where all agree")
    interval_s: float = real(0.25, 0.1, 60.0, unit="s", text="least time between two trains")
    max_interval_s: float = real(
        2.0, 0.1, 60.0, unit="s", text="most time between them, beyond a train's own length"
    )
    load_packets: int = whole(60, 10, 1000, unit="packets", text="load packets in a train")
    load_size_bytes: int = whole(500, 100, 1500, unit="bytes", text="IP size of a load packet")
    adaptive: bool = flag(True, text="let the load grow where noise asks for it")
    measurement_size_bytes: int = whole(
        60, 60, 200, unit="bytes", text="IP size of a measurement packet; 20 more over IPv6"
    )
    max_ttl: int = whole(30, 1, 50, unit="hops", text="how far to look")
    drain_s: float = real(2.0, 0.5, 5.0, unit="s", text="longest wait behind a train's own length")
    mute: str = choice(
        "auto",
        "auto",
        "badsum",
        "none",
        "coop",
        text="how the destination is kept from answering the load: by a wrong checksum, not at "
        "all, or because it is the client and listens (auto: the best that works)",
    )
    cause: bool = flag(
        True, text="five more trains that tell whether the bottleneck is slow or busy"
    )
    proto: str = choice("udp", *KINDS, text="what the probes are made of")

    def __attrs_post_init__(self) -> None:
        if self.mute == "coop" and self.proto != "udp":
            raise BadParameters("mute=coop is for proto=udp: the client listens on a UDP port")
        packets = self.trains * (self.load_packets + 2 * self.max_ttl)
        if packets > MOST_PACKETS:
            raise BadParameters(
                f"trains x (load_packets + 2 x max_ttl) must be at most {MOST_PACKETS} packets, "
                f"not {packets}"
            )

    @property
    def largest_train_bytes(self) -> int:
        """IP bytes of the largest train that may be sent."""
        packets, size = self.load_packets, self.load_size_bytes
        if self.adaptive:
            packets, size = max(packets, MOST_LOAD_PACKETS), max(size, MOST_LOAD_BYTES)
        return packets * size + 2 * self.max_ttl * self.longest_measurement_bytes

    @property
    def longest_measurement_bytes(self) -> int:
        """IP bytes of a measurement packet over IPv6."""
        return self.measurement_size_bytes + IPV6_LONGER_BYTES


class Pathneck(Skeleton[Parameters, PathneckObservations, PathneckResult]):
    """A look at the path, then trains until the answer stands."""

    NAME: ClassVar[str] = "pathneck"
    EXCLUSIVE: ClassVar[bool] = True
    COOPERATES: ClassVar[bool] = True
    POLICY: ClassVar[Policy.ValueType] = Policy.POLICY_RING
    SUMMARY: ClassVar[str] = "where the bottleneck of the path is (packet trains)"
    PARAMETERS = Parameters
    CALL = PathneckParameters
    OBSERVATIONS = PathneckObservations
    RESULT = PathneckResult

    def usual(self, chosen: Parameters) -> Spend:
        """A path of ten hops at 10 Mbit/s, a destination that answers once a second.

        Sending stops when half of the trains agree beyond doubt; a last one is audible. Where the
        load has to grow, or doubt remains, it takes a few times as much.
        """
        hops = min(_USUAL_HOPS, chosen.max_ttl)
        train_bytes = (
            chosen.load_packets * chosen.load_size_bytes + 2 * hops * chosen.measurement_size_bytes
        )
        agreeing = max(LEAST_TRAINS, math.ceil(VOTE_SHARE * chosen.trains))
        trains = min(chosen.trains, agreeing + (chosen.mute in {"auto", "badsum"}))
        least_s = max(chosen.interval_s, 1.5 * 8 * train_bytes / _USUAL_BPS)
        pace_s = max(least_s, min(_USUAL_PAUSE_S, chosen.max_interval_s))
        aside = SPACED_TRAINS + SHORT_TRAINS if chosen.cause else 0
        missing_bytes = SHORT_TRAINS * chosen.load_packets * chosen.load_size_bytes // 2
        aside_bytes = aside * train_bytes - missing_bytes if chosen.cause else 0
        return Spend(
            duration_s=_USUAL_LOOK_S + (trains - 1) * pace_s + aside * least_s,
            sent_bytes=trains * train_bytes + aside_bytes + hops * chosen.measurement_size_bytes,
        )

    def worst(self, chosen: Parameters) -> Spend:
        """The longest look, the largest trains at the slowest rate, the longest pauses."""
        train_s = 8 * chosen.largest_train_bytes / FLOOR_BPS
        interval_s = max(chosen.interval_s, chosen.max_interval_s)
        return Spend(
            duration_s=TRACE_LIMIT_S
            + chosen.trains * (interval_s + train_s)
            + chosen.drain_s
            + _SPARE_S,
            sent_bytes=(chosen.max_ttl + GREETINGS) * chosen.longest_measurement_bytes
            + chosen.trains * chosen.largest_train_bytes,
        )

    def kinds(self, chosen: Parameters) -> Kinds:
        """Who insists on a wrong checksum needs somebody who can write one."""
        insisting = {PACKET_KIND_MUTED} if chosen.mute == "badsum" else set()
        return super().kinds(chosen) | insisting

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """Measure, then estimate; with an audible load where nothing can be muted."""
        cooperation = context.cooperation
        if chosen.mute not in {"auto", "coop"} or chosen.proto != "udp":
            cooperation = None
        if chosen.mute == "coop" and cooperation is None:
            return _uncooperative()
        if not context.can_mute and chosen.mute != "coop":
            chosen = attrs.evolve(chosen, mute="none")
        budget = self.worst(chosen)
        observations = yield from converse(
            chosen,
            context.address,
            within_s=budget.duration_s - _SPARE_S,
            within_bytes=budget.sent_bytes,
            cooperation=cooperation,
        )
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: PathneckObservations) -> Measured:
        """Estimate, and say for each train whether it counted."""
        readings = gaps.read(observations)
        for train, word in zip(observations.trains, readings.discarded, strict=True):
            train.discarded = word
        if chosen.mute == "coop" and not is_answered(observations.greetings):
            return _uncooperative(observations)
        result = build(observations, readings)
        if result is None:
            return Measured(
                ending=failure(observations, readings),
                result=None,
                observations=observations,
                quality=grade((), ("nothing could be estimated",)),
            )
        return Measured(
            ending=DONE,
            result=result,
            observations=observations,
            quality=quality(observations, readings, result, wanted=chosen.trains),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """Every hop that answered, in path order."""
        found = dict.fromkeys(hop.address for hop in self.result(body).hops if hop.address)
        return tuple(a for a in map(records.to_address, found) if a is not None)


def _uncooperative(observations: PathneckObservations | None = None) -> Measured:
    """It was asked for a destination that takes part, and there is none."""
    hint = (
        "The destination does not take part, which mute=coop needs: it has to be the client that "
        "asks (`emodis-client request` without a destination), and UDP to it must get through; "
        "leave -o mute=coop out."
    )
    return Measured(
        ending=failed("not_cooperative", hint, BLAME_TARGET),
        result=None,
        observations=observations or PathneckObservations(),
        quality=grade((), ("nothing could be estimated",)),
    )
