"""What probes between two ends carry."""

from __future__ import annotations

import random

from emodis.techniques import igi_keys


def payloads(
    tag: bytes, train: int, packets: int, size_bytes: int, chance: random.Random
) -> list[bytes]:
    """Noise behind the header, so that a link that compresses gains nothing."""
    noise_bytes = size_bytes - igi_keys.PROBE_HEADER.size
    return [
        igi_keys.probe_header(tag, train, number) + chance.randbytes(noise_bytes)
        for number in range(packets)
    ]
