"""What it means that a router refuses a probe instead of passing it on: a reason and a sentence.

Codes of ICMP (RFC 792, RFC 1812 5.2.7.1) and ICMPv6 (RFC 4443 3.1, 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from emodis.packets.model import ReplyKind
from emodis.techniques import records
from emodis.techniques.skeleton import failed
from emodis.wire.v1.common_pb2 import Blame, Ending
from emodis.wire.v1.techniques_pb2 import HopAnswer, ProbeRecord

TOO_BIG = "packet_too_big"
# IPv4 has it as a code of unreachable (type 3), IPv6 as a type of its own.
_TOO_BIG_V4 = (3, 4)
_TOO_BIG_TYPE_V6 = 2
# By the length of the address that answers.
_NO_ROUTE = {4: frozenset({0, 6, 11}), 16: frozenset({0})}
_NOBODY = {4: frozenset({1, 7, 12}), 16: frozenset({3})}


def reason(answer: ProbeRecord | HopAnswer) -> str:
    """`packet_too_big` or `unreachable(CODE)`, for an answer that refuses a probe."""
    if len(answer.address) == 4:
        too_big = (answer.icmp_type, answer.icmp_code) == _TOO_BIG_V4
    else:
        too_big = answer.icmp_type == _TOO_BIG_TYPE_V6
    return TOO_BIG if too_big else f"unreachable({answer.icmp_code})"


def sentence(answer: ProbeRecord | HopAnswer) -> str:
    """Who says no and to what, beginning with its address, without a full stop."""
    router = records.to_address(answer.address)
    code, version = answer.icmp_code, len(answer.address)
    if reason(answer) == TOO_BIG:
        size = f"{answer.size_bytes} bytes" if isinstance(answer, ProbeRecord) else "this size"
        return f"{router} cannot pass on packets of {size}, its next link carries only smaller ones"
    if code in _NO_ROUTE[version]:
        return f"{router} has no route to the destination"
    if code in _NOBODY[version]:
        return f"{router} finds nobody at the destination's address: it is down or does not exist"
    return f"{router} says that the destination cannot be reached"


def among_losses(probes: Sequence[ProbeRecord]) -> list[str]:
    """A reason to doubt a loss ratio: some of the losses were no losses but refusals."""
    refused = [p for p in probes if records.reply_kind(p) is ReplyKind.UNREACHABLE]
    if not refused:
        return []
    return [f"{len(refused)} of the lost probes were refused: {sentence(refused[-1])}"]


def ending(answer: ProbeRecord, *, size_option: str) -> Ending:
    """A run that such an answer has ended; `size_option` is what makes the probes smaller."""
    said = sentence(answer)
    code, version = answer.icmp_code, len(answer.address)
    blame = Blame.BLAME_NETWORK
    if reason(answer) == TOO_BIG:
        remedy = f"give a smaller {size_option}"
    elif code in _NO_ROUTE[version]:
        remedy = "check the address, or ask who runs that router"
    elif code in _NOBODY[version]:
        remedy = "check the address, or ask who runs that host"
        blame = Blame.BLAME_TARGET
    else:
        remedy = "ask who runs that router, which may forbid these probes"
    return failed(reason(answer), f"{said}; {remedy}.", blame)
