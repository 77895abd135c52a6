"""How a ping ended and how far its numbers can be trusted, with the reasons for people."""

from __future__ import annotations

from collections.abc import Sequence

from emodis.packets.model import ReplyKind
from emodis.techniques import records, refusals
from emodis.techniques.ping_statistics import Manner, is_answer
from emodis.techniques.skeleton import DONE, failed, grade, nothing_sent
from emodis.wire.v1.common_pb2 import Blame, Ending, Quality
from emodis.wire.v1.techniques_pb2 import PingResult, ProbeRecord, TrainRecord

# What a filtering router answers: network, host or communication administratively prohibited; and
# port unreachable, by which firewalls reject, where it is no answer of the destination.
_PROHIBITED_CODES = {4: frozenset({3, 9, 10, 13}), 16: frozenset({1, 4})}
_NO_REPLY = {
    "icmp": "Nothing answered: the destination is down or drops echo requests; try traceroute.",
    "udp": "Nothing answered: the destination is down, drops UDP, or a silent service has the "
    "port; try -o proto=icmp or another port.",
    "tcp": "Nothing answered: the destination is down or a firewall drops the SYNs; try another "
    "port or -o proto=icmp.",
}
# More packets than probes, and than this, that look like answers and are none, are no accident.
_MANY_STRAYS = 100
_AMBIGUOUS = (
    "Answers came, after more than 950 ms: without raw sockets they may be to SYNs that this "
    "host's kernel repeated; use -o proto=icmp, or run as root or with CAP_NET_RAW."
)
_PROBES = {"icmp": "echo requests", "udp": "these UDP packets", "tcp": "connections to this port"}


def ending(sent: Sequence[ProbeRecord], result: PingResult, manner: Manner) -> Ending:
    """Done if the destination answered at all; else the reason that is nearest to the truth."""
    answers = [probe for probe in sent if is_answer(probe, manner)]
    if any((records.rtt_ns(probe) or 0) < 0 for probe in answers):
        return failed(
            "clock_step",
            "The measuring host's clock was set back during the run; measure again.",
            Blame.BLAME_AGENT,
        )
    if not sent:
        return nothing_sent()
    if result.answered:
        return DONE
    if result.ambiguous:
        return failed("ambiguous", _AMBIGUOUS, Blame.BLAME_AGENT)
    others = [probe for probe in sent if not is_answer(probe, manner)]
    refused = [p for p in others if records.reply_kind(p) is ReplyKind.UNREACHABLE]
    if refused:
        return _unreachable(refused[-1], manner)
    expired = [p for p in others if records.reply_kind(p) is ReplyKind.TIME_EXCEEDED]
    if expired:
        return failed(
            "ttl_exceeded",
            f"{records.to_address(expired[-1].address)} dropped the probes, their ttl was used up; "
            "give a larger ttl, or look for a loop by traceroute.",
            Blame.BLAME_NETWORK,
        )
    return failed("no_reply", _NO_REPLY[manner.proto], Blame.BLAME_TARGET)


def _unreachable(answer: ProbeRecord, manner: Manner) -> Ending:
    router = records.to_address(answer.address)
    if answer.icmp_code in _PROHIBITED_CODES[len(answer.address)]:
        hint = (
            f"{router} forbids {_PROBES[manner.proto]}; try another -o proto, or ask who runs "
            "that router."
        )
        return failed("filtered", hint, Blame.BLAME_NETWORK)
    return refusals.ending(answer, size_option="payload_bytes")


def quality(
    wanted: int, trains: Sequence[TrainRecord], result: PingResult, manner: Manner
) -> Quality:
    """The quality word with its reasons; `wanted` probes were asked for."""
    fair: list[str] = []
    poor: list[str] = []
    if any(train.cut_short for train in trains):
        poor.append(f"stopped after {result.sent} of {wanted} probes")
    if any(train.receive_drops for train in trains):
        poor.append("the measuring host lost answers for want of buffer space")
    if result.rate_limited_suspected:
        poor.append("the destination seems to answer about once a second: no loss follows from it")
    strays = sum(train.duplicates + train.unmatched for train in trains)
    if strays > max(_MANY_STRAYS, result.sent):
        fair.append(f"{strays} more packets came that looked like answers: forged, or copies")
    if not all(train.kernel_rx for train in trains):
        fair.append("times of arrival are the process's, not the kernel's")
    if result.ambiguous:
        fair.append(f"{result.ambiguous} answers may be to a repeated SYN and do not count")
    if result.answered:
        probes = [probe for train in trains for probe in train.probes]
        fair.extend(refusals.among_losses([p for p in probes if not is_answer(p, manner)]))
    if result.answered < 5:
        fair.append(f"only {result.answered} answers")
    return grade(fair, poor)
