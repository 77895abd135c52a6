"""A train for a partner who is listening: what to send, and what both ends saw of it.

No sockets: `pacing` sends, `arrivals` receives. Times of the two hosts are of two clocks and are
never compared; only differences within one of them mean anything.
"""

from __future__ import annotations

import attrs

UDP_HEADER_BYTES = 8
_IP_HEADER_BYTES = {4: 20, 6: 40}


def headers_bytes(version: int) -> int:
    """What IP and UDP put before the payload of a probe."""
    return _IP_HEADER_BYTES[version] + UDP_HEADER_BYTES


@attrs.frozen(kw_only=True)
class PacedTrain:
    """Equal UDP probes, `gap_ns` apart; 0 means as fast as this host can.

    `size_bytes` is the whole IP packet.
    """

    packets: int
    size_bytes: int
    gap_ns: int
    # The partner shall send it, and we receive.
    upstream: bool = False
    # For people: (done, total).
    progress: tuple[int, int] | None = None

    @property
    def duration_ns(self) -> int:
        """From the first probe to the last, as planned."""
        return (self.packets - 1) * self.gap_ns


@attrs.frozen(kw_only=True)
class PacedOutcome:
    """What became of a train.

    `sent_ns` has one time per probe, when it entered the sender's queue. `arrivals` are
    (sequence number, time) in order of arrival, each number once.
    """

    sent_ns: tuple[int, ...]
    arrivals: tuple[tuple[int, int], ...]
    kernel_tx: bool
    kernel_rx: bool
    duplicates: int = 0
    foreign: int = 0
    socket_drops: int = 0
    # Since the conversation with the partner began.
    elapsed_ns: int = 0
