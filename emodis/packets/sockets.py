"""The two raw sockets of a prober: whole IPv4 packets out, filtered ICMP in, stamps of both.

Opening them needs root or CAP_NET_RAW; using them does not.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

from emodis.packets import bpf
from emodis.packets.mmsg import ReceiveBatch, SendBatch
from emodis.packets.timestamps import (
    MSG_ERRQUEUE,
    TransmitStamp,
    drops,
    enable_receive,
    enable_transmit,
    received_ns,
    transmit_stamps,
)
from emodis.packets.transport import NoRoute, NotPermitted, SendFailed

RECEIVE_BUFFER_BYTES = 1 << 20
# Two transmit stamps a packet, about 1.7 kB each in the queue's accounting.
STAMP_BUFFER_BYTES = 4 << 20
# Else a long train would block behind the first link's shaper, and the stamps of queueing would
# show the shaper's pace instead of ours.
SEND_BUFFER_BYTES = 4 << 20
LARGEST_ANSWER_BYTES = 2048
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33


class RawSockets:
    """Opened once, used for many runs."""

    def __init__(self) -> None:
        """Open both (PermissionError without CAP_NET_RAW)."""
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        bpf.attach(self.receiver, bpf.NOTHING)
        _enlarge(self.receiver, socket.SO_RCVBUF, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        _enlarge(self.sender, socket.SO_RCVBUF, _SO_RCVBUFFORCE, STAMP_BUFFER_BYTES)
        _enlarge(self.sender, socket.SO_SNDBUF, _SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        self.stamps_arrivals = enable_receive(self.receiver)
        self.stamps_departures = enable_transmit(self.sender)
        self._answers = ReceiveBatch(64, LARGEST_ANSWER_BYTES)
        # Stamps come without their packets.
        self._stamps = ReceiveBatch(128, 1)
        # The key that the next packet's transmit stamps will carry.
        self.next_key = 0

    def close(self) -> None:
        """Give both back."""
        self.sender.close()
        self.receiver.close()

    def let_in(self, program: bytes) -> None:
        """Let answers in by this filter, and none that were queued before."""
        self.let_nothing_in()
        self._answers.discard(self.receiver.fileno())
        bpf.attach(self.receiver, program)

    def let_nothing_in(self) -> None:
        """Leave nothing to fill the queue between runs."""
        bpf.attach(self.receiver, bpf.NOTHING)

    def send(self, batch: SendBatch, start: int, end: int) -> int:
        """Send packets start..end-1, or as many as the socket takes; 0 if its buffer is full.

        Raises:
            TransportError: if the first of them cannot be sent.
        """
        try:
            sent = batch.send(self.sender.fileno(), start, end)
        except BlockingIOError:
            return 0
        except OSError as error:
            # Nobody knows whether the packet that failed has used up a key: count anew.
            enable_transmit(self.sender)
            self.next_key = 0
            raise send_error(error) from error
        self.next_key = (self.next_key + sent) % (1 << 32)
        return sent

    def answers(self) -> Iterator[tuple[bytes, int | None]]:
        """Packets that passed the filter, with their arrival in Unix ns (None: not stamped)."""
        for message in self._answers.receive(self.receiver.fileno()):
            yield message.data, received_ns(message)

    def stamps(self) -> Iterator[TransmitStamp]:
        """Transmit stamps that have come since the last call."""
        return transmit_stamps(self._stamps.receive(self.sender.fileno(), MSG_ERRQUEUE))

    def forget_stamps(self) -> None:
        """Throw away what is left of the train before."""
        self._stamps.discard(self.sender.fileno(), MSG_ERRQUEUE)

    def drops(self) -> int:
        """Answers lost since the socket was opened because its queue was full."""
        return drops(self.receiver)


def source_towards(target: IPv4Address) -> IPv4Address:
    """The own address that packets to the target carry; nothing is sent.

    Raises:
        NoRoute, NotPermitted: if the kernel would not let a packet go there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(target), 9))
        except OSError as error:
            if error.errno == errno.EINVAL:
                # What a blackhole route answers.
                raise NoRoute("this host throws away what goes to the destination") from error
            raise send_error(error) from error
        return IPv4Address(probe.getsockname()[0])


def send_error(error: OSError) -> NoRoute | NotPermitted | SendFailed:
    """Say what an error of connect or send means to a run."""
    number, text = error.errno or 0, error.strerror or str(error)
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return NoRoute(f"this host has no route to the destination ({text}); check its routes")
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"this host does not let the probes out ({text}); check its firewall")
    return SendFailed(number, f"sending a probe failed: {text}")


def _enlarge(sock: socket.socket, option: int, force: int, size_bytes: int) -> None:
    """Ask for a buffer beyond the host's limit; without CAP_NET_ADMIN take what the limit gives."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, option, size_bytes)
