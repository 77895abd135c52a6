"""The raw sockets of a prober: whole packets out, filtered answers in, stamps of both.

Opening them needs root or CAP_NET_RAW; using them does not.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from emodis.packets import bpf
from emodis.packets.families import IPV4, IPV6, PMTUDISC_PROBE
from emodis.packets.headers import enable_header, with_header
from emodis.packets.mmsg import ReceiveBatch, SendBatch
from emodis.packets.model import Address, Kind
from emodis.packets.quotes import Expectation
from emodis.packets.templates import ICMP, ICMPV6
from emodis.packets.timestamps import (
    MSG_ERRQUEUE,
    TransmitStamp,
    drops,
    enable_receive,
    enable_transmit,
    received_ns,
    transmit_stamps,
)
from emodis.packets.transport import (
    NoRoute,
    NotPermitted,
    PacketTooBig,
    SendFailed,
    TransportError,
)

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
    """Those of one IP version; opened once, used for many runs."""

    # Answers and stamps come on sockets of their own.
    holds_answers = False

    def __init__(self, version: int = 4) -> None:
        """Open them (PermissionError without CAP_NET_RAW, other OSErrors without the version)."""
        self._version = version
        self._family = socket.AF_INET if version == 4 else socket.AF_INET6
        self.sender = socket.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        # What a router once said about a narrow link is no reason not to ask again: else the kernel
        # refuses the next probes itself, and the router that says so is not in the result.
        family = IPV4 if version == 4 else IPV6
        self.sender.setsockopt(family.level, family.mtu_discovery, PMTUDISC_PROBE)
        _enlarge(self.sender, socket.SO_RCVBUF, _SO_RCVBUFFORCE, STAMP_BUFFER_BYTES)
        _enlarge(self.sender, socket.SO_SNDBUF, _SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
        self.stamps_departures = enable_transmit(self.sender)
        self._answers = ReceiveBatch(64, LARGEST_ANSWER_BYTES)
        # Stamps come without their packets.
        self._stamps = ReceiveBatch(128, 1)
        # The key that the next packet's transmit stamps will carry.
        self.next_key = 0
        self._listeners: dict[int, socket.socket] = {}
        # Readable when any of the listeners is.
        self.receiver = select.epoll()
        self._icmp = self._listen(ICMP if version == 4 else ICMPV6)
        self.stamps_arrivals = enable_receive(self._icmp)

    def close(self) -> None:
        """Give all back."""
        self.receiver.close()
        self.sender.close()
        for listener in self._listeners.values():
            listener.close()

    def let_in(self, expected: Expectation) -> None:
        """Let answers to such probes in, and none that were queued before."""
        self.let_nothing_in()
        self._answers.discard(self._icmp.fileno())
        bpf.attach(self._icmp, bpf.icmp_answers(expected))
        if expected.kind is not Kind.ICMP_ECHO:
            listener = self._listen(expected.protocol)
            # What came before the filter of `_listen` was in place.
            self._answers.discard(listener.fileno())
            bpf.attach(listener, bpf.own_words(expected))

    def let_nothing_in(self) -> None:
        """Leave nothing to fill the queue between runs.

        A raw TCP or UDP socket costs the host something for every packet that it receives, so it
        exists only while it is needed.
        """
        bpf.attach(self._icmp, bpf.NOTHING)
        for protocol in [p for p, sock in self._listeners.items() if sock is not self._icmp]:
            with self._listeners.pop(protocol) as listener:
                self.receiver.unregister(listener)

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
        """Packets that passed the filters, with their arrival in Unix ns (None: not stamped)."""
        for protocol, listener in self._listeners.items():
            for message in self._answers.receive(listener.fileno()):
                whole = message.data if self._version == 4 else with_header(message, protocol)
                if whole is not None:
                    yield whole, received_ns(message)

    def stamps(self) -> Iterator[TransmitStamp]:
        """Transmit stamps that have come since the last call."""
        return transmit_stamps(self._stamps.receive(self.sender.fileno(), MSG_ERRQUEUE))

    def forget_stamps(self) -> None:
        """Throw away what is left of the train before."""
        self._stamps.discard(self.sender.fileno(), MSG_ERRQUEUE)

    def drops(self) -> int:
        """Answers lost because a queue was full; only differences within a train mean anything."""
        return sum(drops(listener) for listener in self._listeners.values())

    def _listen(self, protocol: int) -> socket.socket:
        listener = socket.socket(self._family, socket.SOCK_RAW, protocol)
        bpf.attach(listener, bpf.NOTHING)
        _enlarge(listener, socket.SO_RCVBUF, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        enable_receive(listener)
        if self._version == 6:
            enable_header(listener)
        self._listeners[protocol] = listener
        self.receiver.register(listener, select.EPOLLIN)
        return listener


def open_sockets() -> dict[int, RawSockets]:
    """Those of every IP version that works on this host.

    Raises:
        PermissionError: without CAP_NET_RAW.
    """
    found = {4: RawSockets(4)}
    try:
        # Where IPv6 is compiled in but switched off, sockets can be opened all the same.
        source_towards(IPv6Address("::1"))
        found[6] = RawSockets(6)
    except (OSError, TransportError):
        return found
    return found


def source_towards(target: Address) -> Address:
    """The own address that packets to the target carry; nothing is sent.

    Raises:
        NoRoute, NotPermitted: if the kernel would not let a packet go there.
    """
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(target), 9))
        except OSError as error:
            if error.errno == errno.EINVAL:
                # What a blackhole route answers.
                raise NoRoute("this host throws away what goes to the destination") from error
            raise send_error(error) from error
        return ip_address(probe.getsockname()[0])


def send_error(error: OSError) -> NoRoute | NotPermitted | PacketTooBig | SendFailed:
    """Say what an error of connect or send means to a run."""
    number, text = error.errno or 0, error.strerror or str(error)
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return NoRoute(f"this host has no route to the destination ({text}); check its routes")
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"this host does not let the probes out ({text}); check its firewall")
    if number == errno.EMSGSIZE:
        return PacketTooBig(
            "a link on the way carries only smaller packets than these probes; make them smaller "
            "(-o help lists the sizes)"
        )
    return SendFailed(number, f"sending a probe failed: {text}")


def _enlarge(sock: socket.socket, option: int, force: int, size_bytes: int) -> None:
    """Ask for a buffer beyond the host's limit; without CAP_NET_ADMIN take what the limit gives."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, option, size_bytes)
