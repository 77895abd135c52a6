"""All delays, jitter, copies and reordering of a lab in one process: one per wire errs more.

A wired link is two veth pairs whose inner ends are in labd's own namespace; this process carries
frames between them. The kernel wakes it 25 to 75 us after the moment it asked for, so it asks for
one before the frame is due and spins through the rest. Cross traffic ends here, unread: it has
passed its shaper, which is all that it is for.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import random
import select
import socket
import time
from collections.abc import Mapping, Sequence

import attrs

from emodis.lab import kernel
from emodis.lab.frames import (
    AND,
    JUMP_EQUAL,
    LOAD_HALF,
    LOAD_WORD,
    RETURN,
    WHOLE_FRAME,
    arrivals,
    open_frames,
    put,
)
from emodis.lab.impairment import Impairment
from emodis.lab.plan import SINK_PREFIX, wire_ends
from emodis.lab.topology import Link

NS_PER_S = 1_000_000_000
FIFO_PRIORITY = 20
# Frames read from one socket before others get their turn, and what is due is sent.
BATCH = 64
# An older stamp than this is from before the clock was stepped.
OLDEST_NS = NS_PER_S
# What a frame takes through packet sockets and this process beyond what a plain link takes:
# measured over 8 wires, so 16 passages a round trip (19 us on a busy machine, 28 on an idle one).
PASSAGE_NS = 19_000
FIRST_LATENESS_NS, MOST_LATENESS_NS, STEP_NS = 45_000, 200_000, 500
# Offsets in an Ethernet frame.
ETHERTYPE, IPV4_DESTINATION, ETHERTYPE_IPV4 = 12, 30, 0x0800
NO_CROSS_TRAFFIC = (
    (LOAD_HALF, 0, 0, ETHERTYPE),
    (JUMP_EQUAL, 0, 4, ETHERTYPE_IPV4),
    (LOAD_WORD, 0, 0, IPV4_DESTINATION),
    (AND, 0, 0, int(SINK_PREFIX.netmask)),
    (JUMP_EQUAL, 0, 1, int(SINK_PREFIX.network_address)),
    (RETURN, 0, 0, 0),
    (RETURN, 0, 0, WHOLE_FRAME),
)


@attrs.define
class Lateness:
    """How much before a frame is due to wake: what nine of ten wake-ups are late by.

    It goes nine steps up for each wake-up that was later and one down for each other, so that a
    hiccup of the machine counts no more than any other.
    """

    ns: int = FIRST_LATENESS_NS

    def observe(self, late_ns: int) -> None:
        """Take in how late a wake-up was."""
        step_ns = 9 * STEP_NS if late_ns > self.ns else -STEP_NS
        self.ns = min(max(self.ns + step_ns, 0), MOST_LATENESS_NS)


@attrs.define
class Direction:
    """One direction of a wired link: when each frame is due at the other end."""

    impairment: Impairment
    chance: random.Random
    _last_ns: int = 0

    def dues_ns(self, sent_ns: int) -> list[int]:
        """When the copies of a frame that was sent then are due: one, or two."""
        impairment = self.impairment
        due_ns = sent_ns + impairment.delay_ns
        if impairment.jitter_ns:
            due_ns += round(self.chance.random() * impairment.jitter_ns)
        # Jitter alone keeps the order, as a queue does.
        due_ns = self._last_ns = max(due_ns, self._last_ns)
        if impairment.reorder_ratio and self.chance.random() < impairment.reorder_ratio:
            due_ns += impairment.reorder_by_ns
        copied = bool(impairment.duplicate_ratio) and (
            self.chance.random() < impairment.duplicate_ratio
        )
        return [due_ns] * (1 + copied)


# When it is due (monotonic clock: a stepped wall clock must not hold it up), a number that keeps
# the order of equals, where it goes, and the frame.
Waiting = tuple[int, int, socket.socket, bytes]


@attrs.frozen(kw_only=True)
class End:
    """Where frames come in, and what becomes of them on the way to `out`."""

    direction: Direction
    out: socket.socket


def carry(links: Sequence[Link]) -> None:
    """Carry all wired links of a lab until killed; in the namespace of their inner ends."""
    kernel.set_timer_slack_ns(1)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    gc.disable()
    ends: dict[socket.socket, End] = {}
    for number, link in enumerate(links):
        if link.wired:
            a, b = (open_frames(name, NO_CROSS_TRAFFIC) for name in wire_ends(number))
            ends[a] = End(direction=_direction(link.up, number, "up"), out=b)
            ends[b] = End(direction=_direction(link.down, number, "down"), out=a)
    _carry_on(ends)


def _direction(impairment: Impairment, number: int, way: str) -> Direction:
    return Direction(impairment=impairment, chance=random.Random(f"wire {number} {way}"))


def _carry_on(ends: Mapping[socket.socket, End]) -> None:
    lateness, count = Lateness(), 0
    waiting: list[Waiting] = []
    while True:
        early_ns = waiting[0][0] - lateness.ns if waiting else None
        ready = _sleep(ends, early_ns)
        if not ready and early_ns is not None:
            lateness.observe(time.monotonic_ns() - early_ns)
        for source in ready:
            end = ends[source]
            wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
            for stamp_ns, frame in arrivals(source, BATCH):
                sent_ns = now_ns - min(max(wall_ns - stamp_ns, 0), OLDEST_NS) - PASSAGE_NS
                for due_ns in end.direction.dues_ns(sent_ns):
                    count += 1
                    heapq.heappush(waiting, (due_ns, count, end.out, frame))
        _send_due(waiting, lateness.ns)


def _sleep(ends: Mapping[socket.socket, End], until_ns: int | None) -> Sequence[socket.socket]:
    """Wait for frames, or until that moment of the monotonic clock; returns who has some."""
    if until_ns is None:
        return select.select(ends, [], [])[0]
    return select.select(ends, [], [], max(0, until_ns - time.monotonic_ns()) / NS_PER_S)[0]


def _send_due(waiting: list[Waiting], early_ns: int) -> None:
    """Send what is due, or will be before one could sleep and wake in time."""
    while waiting and waiting[0][0] <= time.monotonic_ns() + early_ns:
        due_ns, _, out, frame = heapq.heappop(waiting)
        while time.monotonic_ns() < due_ns:
            pass
        put(out, frame)
