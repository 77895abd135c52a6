"""The [[links]] tables of a topology file: read, and written back the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from emodis.lab.impairment import Impairment
from emodis.lab.tables import Table
from emodis.lab.topology import (
    DEFAULT_QUEUE_BYTES,
    ETHERNET_BYTES,
    MAX_CAPACITY_BPS,
    MIN_CAPACITY_BPS,
    MTU_BYTES,
    Link,
)

MAX_DELAY_S = 10.0
# Keys of an impairment with their largest value: NAME_UNIT for both directions, else NAME_up_UNIT
# and NAME_down_UNIT.
IMPAIRMENTS = {
    "delay_s": MAX_DELAY_S,
    "jitter_s": MAX_DELAY_S,
    "loss_ratio": 1.0,
    "duplicate_ratio": 1.0,
    "reorder_ratio": 1.0,
    "reorder_by_s": MAX_DELAY_S,
}


def read_link(number: int, values: Any) -> Link:
    """Make a link of its table, the `number`-th of the file."""
    table = Table(f"[[links]] number {number}", values)
    a, b = table.text("a"), table.text("b")
    table.place += f" ({a} - {b})"
    up_bps, down_bps = _capacities(table)
    up, down = _impairments(table)
    link = Link(
        a=a,
        b=b,
        capacity_up_bps=up_bps,
        capacity_down_bps=down_bps,
        queue_bytes=table.whole("queue_bytes", 2_000, 1_000_000_000, DEFAULT_QUEUE_BYTES),
        burst_bytes=_burst_bytes(table),
        metric=table.whole("metric", 1, 1_000_000, 1),
        up=up,
        down=down,
    )
    table.finish()
    return link


def write_link(link: Link) -> Iterator[str]:
    """The lines of a link's table; impairments only where they differ from none."""
    yield from ("[[links]]", f'a = "{link.a}"', f'b = "{link.b}"')
    yield f"capacity_up_bps = {link.capacity_up_bps}"
    yield f"capacity_down_bps = {link.capacity_down_bps}"
    yield from (f"queue_bytes = {link.queue_bytes}", f"metric = {link.metric}")
    if link.burst_bytes is not None:
        yield f"burst_bytes = {link.burst_bytes}"
    plain = attrs.asdict(Impairment())
    for way, impairment in (("up", link.up), ("down", link.down)):
        for key, value in attrs.asdict(impairment).items():
            if value != plain[key]:
                yield f"{_one_way(key, way)} = {value!r}"


def _burst_bytes(table: Table) -> int | None:
    if "burst_bytes" not in table:
        return None
    return table.whole("burst_bytes", MTU_BYTES + ETHERNET_BYTES, 100_000_000)


def _capacities(table: Table) -> tuple[int, int]:
    """Either capacity_bps for both directions or one for each."""

    def capacity(key: str) -> int:
        return table.whole(key, MIN_CAPACITY_BPS, MAX_CAPACITY_BPS)

    each = _each_way(table, "capacity_bps")
    if each:
        return capacity("capacity_up_bps"), capacity("capacity_down_bps")
    both_bps = capacity("capacity_bps")
    return both_bps, both_bps


def _impairments(table: Table) -> tuple[Impairment, Impairment]:
    """Those of the way up and of the way down."""
    found: dict[str, dict[str, float]] = {"up": {}, "down": {}}
    for key, highest in IMPAIRMENTS.items():
        for way in _each_way(table, key):
            found[way][key] = table.real(_one_way(key, way), 0.0, highest)
        if key in table:
            found["up"][key] = found["down"][key] = table.real(key, 0.0, highest)
    return Impairment(**found["up"]), Impairment(**found["down"])


def _each_way(table: Table, key: str) -> list[str]:
    """The ways ("up", "down") that have a value of their own; refused beside one for both."""
    ways = [way for way in ("up", "down") if _one_way(key, way) in table]
    if ways and key in table:
        first = _one_way(key, ways[0])
        raise table.wrong(key, f"and {first} are both given; keep one way of saying it")
    return ways


def _one_way(key: str, way: str) -> str:
    """The key for one direction, e.g. capacity_up_bps."""
    what, unit = key.rsplit("_", 1)
    return f"{what}_{way}_{unit}"
