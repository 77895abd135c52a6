"""The one interface to the network that conversations are driven over, and how it can fail."""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable
from typing import Protocol

import attrs

from emodis.packets.model import Address, Train, TrainOutcome


class TransportError(Exception):
    """The network of this host would not have it; `reason` is stable, the text is for people."""

    reason = "send_failed"


class NoRoute(TransportError):
    """This host knows no way to the destination."""

    reason = "no_route"


class NotPermitted(TransportError):
    """This host's own firewall or kernel forbids it."""

    reason = "not_permitted"


class SendFailed(TransportError):
    """Any other error of a send call."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.reason = f"send_failed({errno.errorcode.get(number, number)})"


class PacketTooBig(TransportError):
    """A link of this host, or one that a router has just told it of, carries smaller ones only."""

    reason = "packet_too_big"


class FamilyMismatch(TransportError):
    """An address of a family this transport does not speak."""

    reason = "family_mismatch"


class ClockStep(TransportError):
    """Somebody set the clock during the run, so its receive stamps mean nothing."""

    reason = "clock_step"


class Interrupt(Protocol):
    """How a train learns, while in flight, that nobody wants it any more."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when `waiting` may have changed."""
        ...

    def waiting(self) -> bool:
        """Whether to stop now; asked before every send call, so it must be quick."""
        ...


class Stop(enum.Enum):
    """Why a train was cut short."""

    INTERRUPT = "interrupt"
    BYTE_CAP = "byte cap"
    STOP_BY = "stop_by"


@attrs.define(kw_only=True)
class Traffic:
    """What a run has sent and received so far, as whole IP packets; only answers to us count."""

    sent_packets: int = 0
    sent_bytes: int = 0
    recv_packets: int = 0
    recv_bytes: int = 0
    # Send call of the run's first packet, Unix ns.
    started_unix_ns: int | None = None
    # Send call of the latest train's first packet, CLOCK_MONOTONIC.
    train_started_ns: int | None = None
    # When all that was sent has left this host even at 0.5 Mbit/s, CLOCK_BOOTTIME.
    clear_ns: int = 0
    # Why the latest train was cut short, if it was.
    stopped_by: Stop | None = None


class Transport(Protocol):
    """One run at a time: `begin`, any number of `exchange`s, `end`."""

    # The IP versions it speaks: 4, 6 or both.
    families: frozenset[int]
    # "kernel" or "user"; a train's outcome says whether it was so for this train.
    tx_stamp: str
    rx_stamp: str
    # Whether muted probes can be sent: only raw sockets let a checksum be wrong.
    can_mute: bool

    @property
    def traffic(self) -> Traffic:
        """The counters of the current run, or of the last one."""
        ...

    def begin(self, address: Address, *, max_bytes: int) -> None:
        """Draw this run's ports and ids, find the route. `max_bytes` 0 means no limit.

        Raises:
            NoRoute, NotPermitted, FamilyMismatch: before anything was sent.
        """
        ...

    def exchange(
        self, train: Train, *, stop_by_boottime_ns: int, interrupt: Interrupt
    ) -> TrainOutcome:
        """Send one train and collect what comes back (completion rules: `model.Train`).

        Raises:
            ValueError: if the train cannot be built (TTL, size, flow number).
            TransportError: if this host cannot send it.
        """
        ...

    def end(self) -> None:
        """The run is over; answers that still come are not ours any more."""
        ...

    def close(self) -> None:
        """Give the sockets back."""
        ...


@attrs.define
class Gate:
    """Asked before every send call: may these bytes leave now?

    The bytes, and those of earlier calls that may still queue before them, are taken to need their
    time at 0.5 Mbit/s, so that a train that queues in the slowest allowed first link is still
    through when the destination is given to another agent.
    """

    stop_by_boottime_ns: int
    max_bytes: int
    traffic: Traffic
    interrupt: Interrupt
    boottime_ns: Callable[[], int]

    def lets(self, size_bytes: int) -> bool:
        """Whether a send call with this many bytes may be made."""
        self.traffic.stopped_by = self._objection(size_bytes)
        return self.traffic.stopped_by is None

    def sent(self, size_bytes: int) -> None:
        """So many bytes were handed to the kernel; they may be in its queue for a while."""
        self.traffic.sent_bytes += size_bytes
        start_ns = max(self.boottime_ns(), self.traffic.clear_ns)
        self.traffic.clear_ns = start_ns + transmission_ns(size_bytes)

    def all_left(self) -> None:
        """The kernel says that nothing of ours is in its queue any more."""
        self.traffic.clear_ns = 0

    def queue_ns(self) -> int:
        """How much longer what was sent may be in this host's queue."""
        return max(0, self.traffic.clear_ns - self.boottime_ns())

    def _objection(self, size_bytes: int) -> Stop | None:
        if self.interrupt.waiting():
            return Stop.INTERRUPT
        if self.max_bytes and self.traffic.sent_bytes + size_bytes > self.max_bytes:
            return Stop.BYTE_CAP
        start_ns = max(self.boottime_ns(), self.traffic.clear_ns)
        if start_ns + transmission_ns(size_bytes) > self.stop_by_boottime_ns:
            return Stop.STOP_BY
        return None


def transmission_ns(size_bytes: int) -> int:
    """How long the bytes take at 0.5 Mbit/s, the slowest first link that is allowed for."""
    return size_bytes * 16_000
