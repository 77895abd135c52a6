"""All cross traffic of a lab in one process: five processes disturb a prober more than one.

Packets go to an address that the far end of the link blackholes, so they cross exactly one link and
nobody answers. Due packets of a flow leave in one system call; a flow that was not let run for
`LOST_NS` does not make up for it, or a stalled machine would end in a flood.

It runs in real time, above any prober: a train that is over in a few milliseconds must not keep the
traffic it is to meet from the processor. Where that is not allowed (a lab without root), a busy
machine's trains meet less traffic than the truth says.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import heapq
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from emodis.lab import kernel
from emodis.lab.plan import Flow
from emodis.lab.topology import ETHERNET_BYTES, Model, Traffic, Wake

# Above probers (1), below the wires that carry what is on its way already.
FIFO_PRIORITY = 10
HEADERS_BYTES = 28
BATCH = 64
TICK_NS = 1_000_000
LOST_NS = 100_000_000
NS_PER_S = 1_000_000_000

# Sends packets of these sizes (IP bytes) at once.
Send = Callable[[Sequence[int]], None]
DISCARD_PORT = 9
SEND_BUFFER_BYTES = 4 << 20
SO_SNDBUFFORCE = 32

_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),  # ends the inner struct msghdr
        ("sent_bytes", ctypes.c_uint),
    )


_libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.POINTER(_Message), ctypes.c_uint, ctypes.c_int]


@attrs.frozen(kw_only=True)
class Packet:
    """When a packet is due, counted from the flow's start, and how large it is."""

    due_ns: float
    size_bytes: int


def schedule(traffic: Traffic) -> Iterator[Packet]:
    """The packets of one flow for ever; the same seed gives the same packets. Pure.

    The mean gap is that of the mean packet at the wanted rate in Ethernet bits, whatever the sizes
    drawn, so gaps and sizes are independent.
    """
    chance = random.Random(traffic.seed)
    mean_bytes = sum(traffic.packet_bytes) / len(traffic.packet_bytes) + ETHERNET_BYTES
    gap_ns = mean_bytes * 8 * NS_PER_S / traffic.rate_bps
    due_ns = gap_ns * chance.random()  # flows of one rate must not beat in step
    while True:
        yield Packet(due_ns=due_ns, size_bytes=chance.choice(traffic.packet_bytes))
        due_ns += gap_ns * (chance.expovariate(1) if traffic.model is Model.POISSON else 1)


class Sender:
    """Sends UDP packets of given sizes from the present namespace to one address."""

    def __init__(self, sink: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._socket.connect((sink, DISCARD_PORT))
        self._payload = ctypes.create_string_buffer(1 << 11)
        self._vectors = (_Vector * BATCH)()
        self._messages = (_Message * BATCH)()
        for vector, message in zip(self._vectors, self._messages, strict=True):
            vector.base = ctypes.addressof(self._payload)
            message.vectors = ctypes.pointer(vector)
            message.vector_count = 1

    def send(self, sizes_bytes: Sequence[int]) -> None:
        """One system call for at most `BATCH` packets; what a full queue drops is dropped."""
        for vector, size_bytes in zip(self._vectors, sizes_bytes, strict=False):
            vector.length = size_bytes - HEADERS_BYTES
        _libc.sendmmsg(self._socket.fileno(), self._messages, len(sizes_bytes), socket.MSG_DONTWAIT)


class Generator:
    """One flow under way."""

    def __init__(self, traffic: Traffic, send: Send, start_ns: int) -> None:
        self._packets = schedule(traffic)
        self._tick_ns = TICK_NS if traffic.wake is Wake.TICK else 1
        self._send = send
        self._start_ns = start_ns
        self._next = next(self._packets)

    def wake_ns(self) -> int:
        """When to be called next, on the clock of `start_ns`."""
        return -(-self._due_ns() // self._tick_ns) * self._tick_ns

    def _due_ns(self) -> int:
        return self._start_ns + int(self._next.due_ns)

    def run(self, now_ns: int) -> None:
        """Send what is due."""
        late_ns = now_ns - self._due_ns()
        if late_ns > LOST_NS:
            self._start_ns += late_ns
        sizes_bytes: list[int] = []
        while self._due_ns() <= now_ns and len(sizes_bytes) < BATCH:
            sizes_bytes.append(self._next.size_bytes)
            self._next = next(self._packets)
        if sizes_bytes:
            self._send(sizes_bytes)


def generate(flows: Sequence[Flow], networks: Mapping[str, int]) -> None:
    """Run all flows until killed; `networks` holds the namespace of each node."""
    kernel.set_timer_slack_ns(1)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    gc.disable()
    generators = []
    for flow in flows:
        kernel.setns(networks[flow.traffic.sender], kernel.NEWNET)
        sender = Sender(str(flow.sink))
        generators.append(Generator(flow.traffic, sender.send, time.perf_counter_ns()))
    queue = [(generator.wake_ns(), k) for k, generator in enumerate(generators)]
    heapq.heapify(queue)
    while True:
        wake_ns, k = queue[0]
        if (wait_ns := wake_ns - time.perf_counter_ns()) > 0:
            time.sleep(wait_ns / NS_PER_S)
        generators[k].run(time.perf_counter_ns())
        heapq.heapreplace(queue, (generators[k].wake_ns(), k))
