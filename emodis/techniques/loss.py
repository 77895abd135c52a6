"""Loss: how much of a gentle series is lost there and back, and where on the path that begins.

One conversation of one prober. The series to the destination gives the loss ratio; probes with
small TTLs, mixed into it, ask every router whether it has the loss already.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

import attrs

from emodis.packets.model import Address, ReplyKind
from emodis.techniques import loss_series, paces, records, refusals
from emodis.techniques.base import BadParameters, Context, Conversation, Measured, Spend
from emodis.techniques.kinds import Kinds
from emodis.techniques.loss_estimator import TARGET_TTL, estimate, is_echo
from emodis.techniques.parameters import choice, flag, real, whole
from emodis.techniques.skeleton import DONE, Skeleton, failed, grade, nothing_sent
from emodis.wire.v1.common_pb2 import PACKET_KIND_ICMP, Blame, Body, Ending, Quality
from emodis.wire.v1.loss_pb2 import LossObservations, LossParameters, LossResult
from emodis.wire.v1.techniques_pb2 import ProbeRecord

_SPARE_S = 1.0
_ICMP_HEADER_BYTES = 8
_IP_HEADER_BYTES = {4: 20, 6: 40}
_USUAL_HOPS = 10
_LOOK_USUALLY_S = 0.5
# A shorter series is ping's business, and leaves no time to ask routers.
_SHORTEST_S = 1.0


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    count: int = whole(300, 10, 2000, unit="packets", text="probes to the destination")
    interval_s: float = real(0.1, 0.02, 5.0, unit="s", text="mean time between two of them")
    spacing: str = choice(
        "poisson", "poisson", "periodic", text="how their times are drawn around it"
    )
    payload_bytes: int = whole(56, 16, 1452, unit="bytes", text="data after the ICMP header")
    timeout_s: float = real(2.0, 0.2, 5.0, unit="s", text="an answer after this is a loss")
    locate: bool = flag(True, text="ask the routers on the way, too: where does it begin?")
    max_ttl: int = whole(30, 1, 60, unit="hops", text="how far to look for routers")

    def __attrs_post_init__(self) -> None:
        if self.count * self.interval_s < _SHORTEST_S:
            raise BadParameters(
                f"count x interval_s must be at least {_SHORTEST_S:g} s; ping is for short series"
            )

    @property
    def series_s(self) -> float:
        """How long the series itself takes."""
        return self.count * self.interval_s


class Loss(Skeleton[Parameters, LossObservations, LossResult]):
    """A look at the path, then the series in blocks."""

    NAME: ClassVar[str] = "loss"
    SUMMARY: ClassVar[str] = "how much is lost, and where on the path it begins (ICMP echo)"
    PARAMETERS = Parameters
    CALL = LossParameters
    OBSERVATIONS = LossObservations
    RESULT = LossResult

    def usual(self, chosen: Parameters) -> Spend:
        """Ten hops, half of which answer rarely."""
        blocks = len(loss_series.block_lengths(chosen))
        hops = min(_USUAL_HOPS, chosen.max_ttl) if chosen.locate else 0
        asked = chosen.series_s * (1 / loss_series.QUICK_PACE_S + 1 / loss_series.SLOW_PACE_S) / 2
        probes = chosen.count + round(hops * (1 + asked))
        return Spend(
            duration_s=_LOOK_USUALLY_S * chosen.locate + chosen.series_s + 0.1 * blocks,
            sent_bytes=min(probes, _most_probes(chosen)) * _size_bytes(chosen, 6),
        )

    def worst(self, chosen: Parameters) -> Spend:
        """Every look and block waits to its end, all routers answer quickly; bytes as of IPv6."""
        looks = len(list(loss_series.look_chunks(chosen.max_ttl))) if chosen.locate else 0
        blocks = len(loss_series.block_lengths(chosen))
        return Spend(
            duration_s=looks * loss_series.LOOK_WAIT_S
            + chosen.series_s
            + blocks * chosen.timeout_s
            + _SPARE_S,
            sent_bytes=_most_probes(chosen) * _size_bytes(chosen, 6),
        )

    def for_managers(self, call: Body) -> str:
        """A faster series than everybody may have sent."""
        return paces.for_managers(self._chosen(call).interval_s)

    def kinds(self, chosen: Parameters) -> Kinds:
        """Echo requests: the answers to others are rationed, and look like loss."""
        return frozenset({PACKET_KIND_ICMP})

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """Look, send, summarise."""
        observations = LossObservations(target=context.address.packed)
        size_bytes = _size_bytes(chosen, context.address.version)
        if chosen.locate:
            yield from loss_series.look(chosen, observations, size_bytes)
        if not any(train.cut_short for train in observations.look):
            chance = random.Random(context.seed)
            yield from loss_series.series(chosen, observations, size_bytes, chance)
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: LossObservations) -> Measured:
        """The pure estimator."""
        result = estimate(observations, timeout_s=chosen.timeout_s)
        return Measured(
            ending=_ending(observations, result),
            result=result if result.sent else None,
            observations=observations,
            quality=_quality(chosen, observations, result),
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """Every hop that answered, in path order."""
        found = dict.fromkeys(hop.address for hop in self.result(body).hops if hop.address)
        return tuple(a for a in map(records.to_address, found) if a is not None)


def _size_bytes(chosen: Parameters, version: int) -> int:
    return _IP_HEADER_BYTES[version] + _ICMP_HEADER_BYTES + chosen.payload_bytes


def _most_probes(chosen: Parameters) -> int:
    if not chosen.locate:
        return chosen.count
    asked = chosen.max_ttl * chosen.series_s / loss_series.QUICK_PACE_S
    return chosen.count + chosen.max_ttl + round(min(asked, loss_series.MOST_HOP_PROBES))


def _probes(observations: LossObservations) -> list[ProbeRecord]:
    return [
        probe
        for block in observations.blocks
        for probe in block.train.probes
        if probe.ttl == TARGET_TTL and probe.HasField("sent_ns")
    ]


def _look(observations: LossObservations) -> list[ProbeRecord]:
    return [probe for train in observations.look for probe in train.probes]


def _ending(observations: LossObservations, result: LossResult) -> Ending:
    probes = _probes(observations)
    if any(is_echo(probe) and (records.rtt_ns(probe) or 0) < 0 for probe in probes):
        return failed(
            "clock_step",
            "The measuring host's clock was set back during the run; measure again.",
            Blame.BLAME_AGENT,
        )
    if not result.sent:
        return nothing_sent()
    if result.answered:
        return DONE
    for probe in (*probes, *_look(observations)):
        if records.reply_kind(probe) is ReplyKind.UNREACHABLE:
            return refusals.ending(probe, size_option="payload_bytes")
    return failed(
        "no_reply",
        "Nothing answered: the destination is down or drops echo requests; try traceroute.",
        Blame.BLAME_TARGET,
    )


def _quality(chosen: Parameters, observations: LossObservations, result: LossResult) -> Quality:
    trains = [block.train for block in observations.blocks]
    fair: list[str] = []
    poor: list[str] = []
    if result.sent < chosen.count:
        poor.append(f"stopped after {result.sent} of {chosen.count} probes")
    if any(train.receive_drops for train in trains):
        poor.append("the measuring host lost answers for want of buffer space")
    if result.rate_limited_suspected:
        poor.append("the destination seems to answer about once a second: no loss follows from it")
    if result.answered:
        fair.extend(refusals.among_losses(_probes(observations)))
    limited = [str(hop.ttl) for hop in result.hops if hop.rate_limited]
    if limited:
        fair.append(f"hop {', '.join(limited)} answers rarely and was asked rarely")
    wandering = sorted(_wandering(observations))
    if wandering:
        fair.append(f"the route changed at hop {', '.join(map(str, wandering))} during the run")
    if result.answered and result.effective_probes < result.sent / 2:
        fair.append("losses come in runs, so the interval is wide")
    return grade(fair, poor)


def _wandering(observations: LossObservations) -> frozenset[int]:
    """TTLs that more than one router answered."""
    seen: dict[int, set[bytes]] = {}
    for train in (*observations.look, *(block.train for block in observations.blocks)):
        for probe in train.probes:
            if probe.ttl < TARGET_TTL and probe.address and not is_echo(probe):
                seen.setdefault(probe.ttl, set()).add(probe.address)
    return frozenset(ttl for ttl, addresses in seen.items() if len(addresses) > 1)
