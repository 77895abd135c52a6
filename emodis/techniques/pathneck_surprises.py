"""What a train finds out about the path that the look did not: it is shorter, or carries less."""

from __future__ import annotations

from emodis.packets.model import ReplyKind
from emodis.techniques import records, refusals
from emodis.techniques.arrival import arrived
from emodis.wire.v1.techniques_pb2 import PathneckTrain, ProbeRecord

# A load of smaller packets than this would be mostly headers.
_LEAST_LOAD_BYTES = 100


def nearer_end(train: PathneckTrain, target: bytes, *, proto: str) -> int | None:
    """The TTL at which the destination answered, where that is less than the train looks for.

    The look may miss it there, by loss or rationing, and then find it at a larger TTL. Its answers
    to all the TTLs above would use up what it has to give.
    """
    nearer = (probe for probe in train.train.probes if probe.ttl < train.hops)
    ttls = [probe.ttl for probe in nearer if arrived(probe, target, proto=proto)]
    return min(ttls, default=None)


def too_big(train: PathneckTrain) -> ProbeRecord | None:
    """An answer that says that the load does not fit through a link; None if there is none.

    Links behind that one see head and tail with a hole between them, and look idle.
    """
    load = train.train.probes[train.hops : train.hops + train.load_packets]
    refused = (p for p in load if records.reply_kind(p) is ReplyKind.UNREACHABLE)
    return next((p for p in refused if refusals.reason(p) == refusals.TOO_BIG), None)


def smaller_packets(packets: int, size_bytes: int) -> tuple[int, int] | None:
    """As many bytes in packets of half the size; None if they are as small as can be."""
    if size_bytes < 2 * _LEAST_LOAD_BYTES:
        return None
    size = size_bytes // 2
    return -(-packets * size_bytes // size), size
