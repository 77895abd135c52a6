"""Trials in few words."""

from __future__ import annotations

from typing import Any

from emodis.lab.bench.bandwidth import BandwidthTrial
from emodis.lab.bench.lossrate import LossTrial
from emodis.lab.bench.pathneck import PathneckTrial

COMMON = {
    "kind": "clear",
    "number": 1,
    "links": 6,
    "done": True,
    "duration_s": 1.0,
    "sent_packets": 10,
    "sent_bytes": 1000,
    "word": "good",
    "note": "",
    "transport": "raw",
}


def trial(**more: Any) -> PathneckTrial:
    usual = {
        **COMMON,
        "name": "clear-1",
        "choke_ttl": 3,
        "true_from_ttl": 2,
        "true_ttl": 3,
        "clear": True,
        "cross_ratio": 0.0,
        "named_ttl": 3,
        "named_from_ttl": 2,
        "bound_bps": 1_100_000,
        "capacity_bps": 1_000_000,
    }
    return PathneckTrial(**{**usual, **more})


def bandwidth(trial: type[BandwidthTrial] = BandwidthTrial, **more: Any) -> BandwidthTrial:
    usual = {
        **COMMON,
        "name": "room-1",
        "capacity_bps": 10_000_000,
        "avail_bps": 5_000_000,
        "cross_ratio": 0.5,
        "clear": True,
        "said_bps": 5_500_000,
        "low_bps": 5_000_000,
        "high_bps": 6_000_000,
        "converged": True,
    }
    return trial(**{**usual, **more})


def loss(**more: Any) -> LossTrial:
    usual = {
        **COMMON,
        "name": "lossy-1",
        "true_ratio": 0.02,
        "lossy_ttl": 3,
        "said_ratio": 0.025,
        "low_ratio": 0.015,
        "high_ratio": 0.04,
        "named_from_ttl": 2,
        "named_to_ttl": 3,
    }
    return LossTrial(**{**usual, **more})
