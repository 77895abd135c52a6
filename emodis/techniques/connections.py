"""What it costs more where a kernel opens connections for us instead of raw SYNs leaving. Pure."""

from __future__ import annotations

import math

# Over IPv6, with the options that Linux gives them.
_SYN_BYTES = 80
_SEGMENT_BYTES = 72


def extra_bytes(wait_s: float) -> int:
    """For one SYN: it is repeated every second at most; then a handshake's last word, a reset."""
    return math.ceil(wait_s) * _SYN_BYTES + 2 * _SEGMENT_BYTES
