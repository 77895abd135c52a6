"""The prober's end of a two-ended technique: dial the partner, pace trains, hear its reports.

Control is one TCP connection that this host opens; the probes are ordinary UDP. No root is needed.
Every wait has an end, and ends early when nobody wants the run any more.
"""

from __future__ import annotations

import errno
import os
import random
import select
import socket
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager

import attrs
from google.protobuf.message import DecodeError

from emodis.packets.clocks import boottime_ns, monotonic_ns
from emodis.packets.model import Address
from emodis.packets.paced import PacedOutcome, PacedTrain, headers_bytes
from emodis.packets.pacing import PacedSocket, Sent
from emodis.packets.transport import Gate, Interrupt, Traffic
from emodis.techniques import igi_keys
from emodis.techniques.base import Measured
from emodis.techniques.igi_sender import PeerAborted, PeerProtocol, Sender
from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, FrameReader, FrameTooLarge, encode_frame
from emodis.wire.v1.common_pb2 import BLAME_TARGET, BLAME_US, Blame, PeerOffer
from emodis.wire.v1.igi_pb2 import IgiDone, IgiMessage
from emodis.wire.v1.prober_pb2 import ProberRun

NS = 1_000_000_000
CONNECT_WITHIN_NS = 5 * NS
READY_WITHIN_NS = 5 * NS
# The partner itself ends a train 2 s after it should have, if it has to.
REPORT_WITHIN_NS = 10 * NS
_CHUNK_BYTES = 1 << 16

PeerConversation = Generator[PacedTrain, PacedOutcome, Measured]


class PeerFailed(Exception):
    """The run ends here; the text is for people."""

    def __init__(self, reason: str, hint: str, blame: Blame.ValueType = BLAME_TARGET) -> None:
        super().__init__(hint)
        self.reason = reason
        self.blame = blame


class PeerStopped(Exception):
    """Interrupted, out of time or out of bytes: `traffic` and the interrupt know which."""


@attrs.define
class PeerLink:
    """Frames to and from the partner, without Twisted."""

    _socket: socket.socket
    _interrupt: Interrupt
    _reader: FrameReader = attrs.field(
        factory=lambda: FrameReader(cap_bytes=CAP_BEFORE_WELCOME_BYTES), init=False
    )
    _frames: list[bytes] = attrs.field(factory=list, init=False)

    @classmethod
    def dial(cls, partner: Address, port: int, interrupt: Interrupt) -> PeerLink:
        """Connect (PeerFailed, PeerStopped)."""
        family = socket.AF_INET6 if partner.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        link = cls(sock, interrupt)
        try:
            link._connect(str(partner), port)
        except (PeerFailed, PeerStopped):
            link.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def _connect(self, host: str, port: int) -> None:
        number = self._socket.connect_ex((host, port))
        if number == errno.EINPROGRESS:
            try:
                self._wait(monotonic_ns() + CONNECT_WITHIN_NS, writing=True)
            except TimeoutError:
                raise _unreachable("no answer") from None
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise _unreachable(os.strerror(number))

    def say(self, message: IgiMessage) -> None:
        """Messages are small: a partner that reads none of them is gone."""
        try:
            self._socket.sendall(encode_frame(message.SerializeToString()))
        except OSError as error:
            raise _gone(error.strerror or str(error)) from error

    def hear(self, within_ns: int) -> IgiMessage:
        """The next message (PeerFailed, PeerStopped, PeerProtocol)."""
        end_ns = monotonic_ns() + within_ns
        try:
            while not self._frames:
                self._wait(end_ns, writing=False)
                self._frames.extend(self._reader.feed(self._read()))
            return IgiMessage.FromString(self._frames.pop(0))
        except TimeoutError:
            raise _gone(f"it said nothing for {within_ns // NS} s") from None
        except (FrameTooLarge, DecodeError) as error:
            raise PeerProtocol("it sent what is no message") from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _wait(self, end_ns: int, *, writing: bool) -> None:
        interrupt, own = self._interrupt.fileno(), self._socket.fileno()
        reading, watched = ([interrupt], [own]) if writing else ([interrupt, own], [])
        while True:
            left_ns = end_ns - monotonic_ns()
            if left_ns <= 0:
                raise TimeoutError
            readable, writable, _ = select.select(reading, watched, [], left_ns / NS)
            if self._interrupt.waiting():
                raise PeerStopped
            if writable or own in readable:
                return

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except OSError as error:
            raise _gone(error.strerror or str(error)) from error
        if not data:
            raise _gone("it closed the connection")
        return data


@attrs.define
class Partnership:
    """One run with a partner. `report` is told of every train that is over."""

    run: ProberRun
    partner: Address
    traffic: Traffic
    interrupt: Interrupt
    chance: random.Random
    report: Callable[[PacedTrain], None]
    # Held while a train leaves.
    steady: Callable[[], AbstractContextManager[None]]
    _started_ns: int = attrs.field(default=0, init=False)

    def measure(self, conversation: PeerConversation) -> Measured:
        """Drive the conversation to its end.

        Raises:
            PeerFailed, PeerStopped: where it has to end before.
            TransportError: where this host cannot send.
        """
        try:
            return self._measure(conversation)
        except PeerProtocol as error:
            hint = f"What listens at the other end does not keep to the protocol: {error}."
            raise PeerFailed("peer_protocol", hint) from error
        except PeerAborted as error:
            hint = f"The other end broke it off ({error.reason}); try again."
            reason = "auth_failed" if error.reason == "auth_failed" else "client_refused"
            raise PeerFailed(reason, hint) from error

    def _measure(self, conversation: PeerConversation) -> Measured:
        offer = _checked(self.run.peer)
        nonce = self.chance.randbytes(igi_keys.NONCE_BYTES)
        sender = Sender(run=self.run.run, token=offer.token, nonce=nonce)
        link = PeerLink.dial(self.partner, offer.tcp_port, self.interrupt)
        probes = None
        try:
            link.say(sender.hello())
            port = sender.ready(link.hear(READY_WITHIN_NS))
            probes = PacedSocket(self.partner, port)
            self._started_ns = monotonic_ns()
            return self._converse(conversation, sender, link, probes)
        finally:
            if probes is not None:
                probes.close()
            link.close()

    def _converse(
        self, conversation: PeerConversation, sender: Sender, link: PeerLink, probes: PacedSocket
    ) -> Measured:
        gate = Gate(
            stop_by_boottime_ns=self.run.stop_by_boottime_ns,
            max_bytes=self.run.max_bytes,
            traffic=self.traffic,
            interrupt=self.interrupt,
            boottime_ns=boottime_ns,
        )
        try:
            train = next(conversation)
            while True:
                outcome = self._exchange(train, sender, link, probes, gate)
                # Whatever of it is still on its way has left this host's queue.
                gate.all_left()
                self.report(train)
                train = conversation.send(outcome)
        except StopIteration as stop:
            link.say(IgiMessage(done=IgiDone()))
            measured: Measured = stop.value
            return measured

    def _exchange(
        self, train: PacedTrain, sender: Sender, link: PeerLink, probes: PacedSocket, gate: Gate
    ) -> PacedOutcome:
        announcement = sender.start(train)
        payloads = self._payloads(train, sender)
        link.say(announcement)
        with self.steady():
            sent: Sent | None = probes.send(payloads, train.gap_ns, gate)
        if sent is None:
            raise PeerStopped
        link.say(sender.sent())
        report = link.hear(REPORT_WITHIN_NS)
        return sender.report(
            report,
            sent_ns=sent.times_ns,
            kernel_tx=sent.kernel,
            elapsed_ns=monotonic_ns() - self._started_ns,
        )

    def _payloads(self, train: PacedTrain, sender: Sender) -> list[bytes]:
        """Noise behind the header, so that a link that compresses gains nothing."""
        noise_bytes = (
            train.size_bytes - headers_bytes(self.partner.version) - igi_keys.PROBE_HEADER.size
        )
        tag, number = sender.tag, sender.number
        return [
            igi_keys.probe_header(tag, number, probe) + self.chance.randbytes(noise_bytes)
            for probe in range(train.packets)
        ]


def _checked(offer: PeerOffer) -> PeerOffer:
    """An agent is not sent to any service, nor without a secret to show."""
    if not igi_keys.LOWEST_PORT <= offer.tcp_port <= igi_keys.HIGHEST_PORT:
        hint = "igi needs a partner that listens; ask for it by `emodis-client request --tech igi`."
        raise PeerFailed("bad_params", hint, BLAME_US)
    if len(offer.token) != igi_keys.TOKEN_BYTES:
        raise PeerFailed("bad_params", "The partner's token has the wrong length.", BLAME_US)
    return offer


def _unreachable(why: str) -> PeerFailed:
    hint = (
        f"The agent could not connect to the client ({why}); a firewall or NAT before the client "
        "has to let it in."
    )
    return PeerFailed("client_unreachable", hint)


def _gone(why: str) -> PeerFailed:
    return PeerFailed("peer_gone", f"The other end went away during the run ({why}); try again.")
