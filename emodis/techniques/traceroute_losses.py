"""What a hop's silence says: nothing, until the hops behind it say the same.

Routers ration the ICMP errors they write, by the second or by the packet, and answer what is meant
for themselves with the least urgency; none of that is loss. Probes to hops further on pass the same
links, so loss on the way to a hop shows at every answering hop behind it (TECHNIQUES.md 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emodis.techniques.stats import wilson
from emodis.wire.v1.techniques_pb2 import TracerouteHop, TracerouteResult


def describe_losses(
    result: TracerouteResult, *, proto: str, behind: Mapping[int, frozenset[int]]
) -> None:
    """Fill in `rate_limited` and the losses of every hop.

    Args:
        result: its hops with their answers, in path order.
        proto: "udp", "icmp" or "tcp".
        behind: for each TTL the rounds in which something behind it answered.
    """
    for hop in result.hops:
        hop.rate_limited = _went_quiet(hop, behind.get(hop.ttl, frozenset()))
    for place, hop in enumerate(result.hops):
        if not _is_lossy(hop) or hop.rate_limited:
            continue
        if _is_confirmed(hop, result.hops[place + 1 :], result, proto):
            lost, sent = _count(hop)
            hop.loss_ratio = lost / sent
            hop.loss_low_ratio, hop.loss_high_ratio = wilson(lost, sent)


def _went_quiet(hop: TracerouteHop, behind: frozenset[int]) -> bool:
    """True if it answered and then, twice or more in a row, not, while hops behind it did."""
    answered, quiet = False, 0
    for answer in hop.answers:
        if answer.address:
            answered, quiet = True, 0
        elif answered and answer.round in behind:
            quiet += 1
            if quiet > 1:
                return True
        else:
            quiet = 0
    return False


def _is_confirmed(
    hop: TracerouteHop, following: Sequence[TracerouteHop], result: TracerouteResult, proto: str
) -> bool:
    """Whether every answering hop behind shows as much loss, within the bounds of chance.

    The destination needs nobody behind it, unless it was asked by UDP: hosts ration their port
    unreachables, so that their silence neither confirms loss nor shows any.
    """
    rationed = proto == "udp" and result.reached
    destination = result.hops[-1]
    if hop.ttl == destination.ttl:
        return result.reached and not rationed
    witnesses = [other for other in following if any(a.address for a in other.answers)]
    least, _ = wilson(*_count(hop))
    for other in witnesses:
        _, most = wilson(*_count(other))
        if not _is_lossy(other) or most < least:
            return False
    return any(not (rationed and other.ttl == destination.ttl) for other in witnesses)


def _is_lossy(hop: TracerouteHop) -> bool:
    """Some of its answers are missing, not all of them."""
    lost, sent = _count(hop)
    return 0 < lost < sent


def _count(hop: TracerouteHop) -> tuple[int, int]:
    return sum(not answer.address for answer in hop.answers), len(hop.answers)
