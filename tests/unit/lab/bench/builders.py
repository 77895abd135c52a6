"""A trial in few words."""

from __future__ import annotations

from typing import Any

from emodis.lab.bench.trial import Trial


def trial(**more: Any) -> Trial:
    usual = {
        "name": "clear-1",
        "kind": "clear",
        "number": 1,
        "links": 6,
        "choke_ttl": 3,
        "true_from_ttl": 2,
        "true_ttl": 3,
        "clear": True,
        "cross_ratio": 0.0,
        "named_ttl": 3,
        "named_from_ttl": 2,
        "bound_bps": 1_100_000,
        "capacity_bps": 1_000_000,
        "duration_s": 1.0,
        "sent_packets": 10,
        "sent_bytes": 1000,
        "word": "good",
        "note": "",
    }
    return Trial(**{**usual, **more})
