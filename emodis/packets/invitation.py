"""What a probe says to a destination that cooperates, and what that one answers. Pure bytes.

The destination listens on a UDP port and answers those probes that ask it to, with the time at
which its kernel saw them arrive. So it can be measured although it sends no ICMP, at the pace of
its link instead of its one answer a second, and load packets are silent without a wrong checksum.
An answer is shorter than the shortest probe, so that it multiplies nobody's packets.
"""

from __future__ import annotations

import struct

import attrs

TAG_BYTES = 8
# Within the UDP payload, behind what each transport writes there for itself.
INVITATION_AT = 6
_INVITATION = struct.Struct("!8sHH")
INVITATION_BYTES = _INVITATION.size
# Where the question and the probe's id stand in the payload.
ASKS_AT = INVITATION_AT + TAG_BYTES
PROBE_ID_AT = ASKS_AT + 2
ASKS, SILENT = 1, 0
_ANSWER = struct.Struct("!8sHQ?")


@attrs.frozen
class Arrived:
    """A probe that arrived at the destination, at a time of that host's own Unix clock.

    `by_kernel`: the kernel stamped it, not the process.
    """

    probe_id: int
    at_ns: int
    by_kernel: bool


def invitation(tag: bytes, *, asks: bool, probe_id: int = 0) -> bytes:
    """What stands at INVITATION_AT in the payload of a probe (ValueError for another length)."""
    if len(tag) != TAG_BYTES:
        raise ValueError(f"a tag has {TAG_BYTES} bytes, not {len(tag)}")
    return _INVITATION.pack(tag, ASKS if asks else SILENT, probe_id)


def answer(payload: bytes, tag: bytes, at_ns: int, *, by_kernel: bool) -> bytes | None:
    """What to answer to a datagram; None if it does not ask, or not by this tag."""
    if len(payload) < INVITATION_AT + INVITATION_BYTES:
        return None
    theirs, asks, probe_id = _INVITATION.unpack_from(payload, INVITATION_AT)
    if theirs != tag or asks != ASKS:
        return None
    return _ANSWER.pack(tag, probe_id, at_ns, by_kernel)


def read_answer(payload: bytes, tag: bytes) -> Arrived | None:
    """What the destination says; None if somebody else said it."""
    if len(payload) != _ANSWER.size:
        return None
    theirs, probe_id, at_ns, by_kernel = _ANSWER.unpack(payload)
    # Later times than protobuf can carry are nobody's clock.
    if theirs != tag or at_ns >= 1 << 63:
        return None
    return Arrived(probe_id, at_ns, by_kernel)
