"""Why a Pathneck run failed, and how far one that did not may be trusted. Sentences for people."""

from __future__ import annotations

from collections.abc import Sequence

from emodis.techniques import pathneck_gaps as gaps
from emodis.techniques import records, refusals
from emodis.techniques.arrival import refused as is_refusal
from emodis.techniques.pathneck_gaps import Readings, probe_proto
from emodis.techniques.pathneck_surprises import too_big
from emodis.techniques.segmentation import Threshold
from emodis.techniques.skeleton import failed, grade, nothing_sent
from emodis.techniques.stats import median, scaled_mad
from emodis.wire.v1.common_pb2 import Blame, Ending, Quality
from emodis.wire.v1.techniques_pb2 import (
    Cooperation,
    PathneckObservations,
    PathneckResult,
    ProbeRecord,
    TrainRecord,
)

_FEW_TRAINS = 5
_COARSE_RATIO = 0.4
_DOUBTFUL = 0.6
_WEAK = 0.3
UNHEARD = (
    "the client listens, but our probes or its answers do not get through: a firewall or NAT in "
    "the way has to let UDP in"
)


def failure(observations: PathneckObservations, readings: Readings) -> Ending:
    """Why there is no result; the nearest cause first."""
    probes = _all_probes(observations)
    if not any(probe.HasField("sent_ns") for probe in probes):
        return nothing_sent()
    target, proto = observations.target, probe_proto(observations)
    refused = next((p for p in probes if is_refusal(p, target, proto=proto)), None)
    if refused is not None and not readings.kept:
        return refusals.ending(refused, size_option="measurement_size_bytes")
    if not any(probe.HasField("received_ns") for probe in probes):
        return failed(
            "icmp_silent",
            "No router answered, and Pathneck needs their answers: probes or answers are dropped "
            f"close by; try {_other(proto)}, or igi, which needs none of them.",
            Blame.BLAME_NETWORK,
        )
    if was_cut_short(observations):
        return failed(
            "cut_short",
            "The run was stopped before enough trains were sent; ask for fewer (-o trains=5), or "
            "allow it more time (--timeout).",
            Blame.BLAME_US,
        )
    if readings.discarded.count(gaps.SENDER) > len(readings.kept):
        return failed(
            "self_congested",
            "The measuring host could not send its trains in one go; try when it is less busy.",
            Blame.BLAME_AGENT,
        )
    if readings.unstable:
        return failed(
            "route_unstable",
            "Most trains took different routes, so their gaps do not compare; traceroute "
            "-o mda=lite shows parallel routes, and igi measures the path as it is.",
            Blame.BLAME_NETWORK,
        )
    return failed(
        "too_few_gaps",
        "Trains could be measured at fewer than three places on the path, this host included: "
        f"the destination is too close, or too few routers answer; try {_other(proto)}, or ask "
        "igi or ping instead.",
        Blame.BLAME_NETWORK,
    )


def _other(proto: str) -> str:
    """What routers may answer that leave this unanswered."""
    return "-o proto=udp" if proto == "icmp" else "-o proto=icmp"


def quality(
    observations: PathneckObservations, readings: Readings, result: PathneckResult, *, wanted: int
) -> Quality:
    """The quality word and every reason to doubt the result."""
    fair = [
        *_about_trains(readings, result, wanted),
        *_about_hops(readings, result),
        *_about_times(readings, result),
    ]
    poor: list[str] = []
    if was_cut_short(observations):
        poor.append(f"stopped after {result.trains_sent} trains")
    if result.bottleneck.ttl and result.bottleneck.confidence < _WEAK:
        poor.append(f"confidence in the bottleneck is only {result.bottleneck.confidence:.0%}")
    elif result.bottleneck.ttl and result.bottleneck.confidence < _DOUBTFUL:
        fair.append(f"confidence in the bottleneck is {result.bottleneck.confidence:.0%}")
    _about_sizes(observations, readings, fair, poor)
    if result.remark.startswith("train_truncated"):
        poor.append("a queue on the path is shorter than the train: links behind it are not seen")
    if result.remark.startswith("shaper_suspected"):
        fair.append(
            "a link lets the first packets of a train pass faster (a token bucket): only longer "
            "trains show it, and what lasts still longer may get less"
        )
    if result.remark == "filtered_badsum":
        filtered = "something on the path drops packets with a wrong checksum"
        if readings.kept and gaps.is_muted(readings.kept[0]):
            poor.append(f"{filtered}: links behind it are not seen; repeat with -o mute=none")
        else:
            fair.append(f"{filtered}: measured with mute=none instead")
    return grade(fair, poor)


def _about_sizes(
    observations: PathneckObservations, readings: Readings, fair: list[str], poor: list[str]
) -> None:
    """Load that a link was too narrow for."""
    usual = [train for train in observations.trains if train.discarded != gaps.LONG]
    refused = [answer for train in usual if (answer := too_big(train)) is not None]
    if not refused:
        return
    said = refusals.sentence(refused[0])
    if any(too_big(train) is not None for train in readings.kept):
        poor.append(f"{said}: links behind it are not seen; give a smaller load_size_bytes")
    elif readings.kept:
        fair.append(f"{said}: measured with {readings.kept[0].load_size_bytes} bytes instead")


def was_cut_short(observations: PathneckObservations) -> bool:
    """True if the deadline, an abort or the byte cap ended the run."""
    return any(group.cut_short for group in _groups(observations))


def _about_trains(readings: Readings, result: PathneckResult, wanted: int) -> list[str]:
    reasons = []
    if result.trains_used < min(wanted, _FEW_TRAINS):
        reasons.append(f"only {result.trains_used} trains could be used")
    if result.trains_discarded_sender:
        reasons.append(
            f"{result.trains_discarded_sender} trains were held up on the measuring host"
        )
    if result.trains_discarded_route:
        reasons.append(f"{result.trains_discarded_route} trains took another route")
    if result.resolution_ratio > _COARSE_RATIO:
        reasons.append(f"drops of the rate below {result.resolution_ratio:.0%} are lost in noise")
    if readings.flaps > len(readings.kept):
        reasons.append("packets of one train took different routes")
    return reasons


def _about_hops(readings: Readings, result: PathneckResult) -> list[str]:
    reasons = []
    bottleneck = result.bottleneck
    if bottleneck.ttl > bottleneck.from_ttl + 1:
        reasons.append(
            f"hops between {bottleneck.from_ttl} and {bottleneck.ttl} could not be measured: the "
            "bottleneck is one of the links between them"
        )
    if result.limiting_ttl and result.limiting_ttl not in readings.ttls:
        reasons.append(f"hop {result.limiting_ttl} answers too rarely to be measured")
    if result.last_link == "unmeasured":
        reasons.extend(_about_the_last_link(result))
    if 0 not in readings.ttls:
        reasons.append("the first link was not compared with what the host sends")
    return reasons


def _about_the_last_link(result: PathneckResult) -> list[str]:
    """A client that listens has been asked already, and only what is in the way can help it."""
    said = "the destination does not answer: its last link is not measured"
    if result.cooperation == Cooperation.COOPERATION_UNANSWERED:
        return [said, UNHEARD]
    return [f"{said} (`emodis-client request` on that host would measure it)"]


def _about_times(readings: Readings, result: PathneckResult) -> list[str]:
    reasons = []
    if not all(train.train.kernel_rx for train in readings.kept):
        reasons.append("times of arrival are the process's, not the kernel's")
    level_ns = max((hop.level_ns for hop in result.hops), default=0)
    if _round_trip_scatter_ns(readings) > Threshold(noise_ns=result.noise_ns).step_ns(level_ns):
        reasons.append("round trips vary widely: other traffic on the way there or back")
    return reasons


def _round_trip_scatter_ns(readings: Readings) -> float:
    """Median over the hops of the scatter of the heads' RTT, which no load has delayed."""
    scatters = []
    for ttl in range(1, readings.hops + 1):
        rtts = [records.rtt_ns(gaps.head(train, ttl)) for train in readings.kept]
        answered = [rtt for rtt in rtts if rtt is not None]
        if len(answered) > 1:
            scatters.append(scaled_mad(answered))
    return median(scatters) if scatters else 0.0


def _all_probes(observations: PathneckObservations) -> Sequence[ProbeRecord]:
    return [probe for group in _groups(observations) for probe in group.probes]


def _groups(observations: PathneckObservations) -> Sequence[TrainRecord]:
    trains = (train.train for train in observations.trains)
    return [*observations.greetings, *observations.trace, *trains]
