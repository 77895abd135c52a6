"""The sending side of a conversation about trains, without I/O: what to say, what answers mean.

The partner may be anybody: whatever it says is checked here, and what no honest one would say
raises PeerProtocol.
"""

from __future__ import annotations

import itertools

import attrs

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques import igi_keys
from emodis.techniques.stats import NS_PER_S
from emodis.wire.v1.common_pb2 import RunKey
from emodis.wire.v1.igi_pb2 import (
    IgiHello,
    IgiMessage,
    IgiOpened,
    IgiReady,
    IgiTrainReport,
    IgiTrainSent,
    IgiTrainStart,
)

VERSION = 1
# No report may span more time than a run may take.
LONGEST_REPORT_NS = 120 * NS_PER_S


class PeerProtocol(Exception):
    """The partner said what the conversation does not allow; the text says what."""


class PeerAborted(Exception):
    """The partner ended the conversation."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.define
class Sender:
    """One conversation. `token` is this run's own."""

    run: RunKey
    token: bytes
    nonce: bytes
    _number: int = attrs.field(default=0, init=False)
    _train: PacedTrain | None = attrs.field(default=None, init=False)
    _max_packets: int = attrs.field(default=0, init=False)

    @property
    def tag(self) -> bytes:
        """What every probe carries."""
        return igi_keys.probe_tag(self.token, self.nonce)

    @property
    def number(self) -> int:
        """The train under way."""
        return self._number

    def hello(self, udp_port: int = 0, address: bytes = b"", arrival_port: int = 0) -> IgiMessage:
        """The first message; the port and address wait for the datagram that opens the path."""
        return IgiMessage(
            hello=IgiHello(
                version=VERSION,
                run=self.run,
                nonce=self.nonce,
                proof=igi_keys.sender_proof(self.token, self.nonce),
                udp_port=udp_port,
                address=address,
                arrival_port=arrival_port,
            )
        )

    def ready(self, message: IgiMessage) -> int:
        """The answer to it: the partner's UDP port.

        Raises:
            PeerProtocol, PeerAborted: if it is another one.
        """
        ready: IgiReady = self._expect(message, "ready").ready
        if not igi_keys.same(ready.proof, igi_keys.receiver_proof(self.token, self.nonce)):
            raise PeerProtocol("whoever listens there does not know the run's token")
        if not igi_keys.LOWEST_PORT <= ready.udp_port <= igi_keys.HIGHEST_PORT:
            raise PeerProtocol(f"UDP port {ready.udp_port} is none for probes")
        self._max_packets = ready.max_packets
        return ready.udp_port

    def opened(self, cookie: bytes) -> IgiMessage:
        """The partner's datagram has arrived."""
        return IgiMessage(opened=IgiOpened(cookie=cookie))

    def start(self, train: PacedTrain) -> IgiMessage:
        """Announce the next train (PeerProtocol where the partner has no room for it)."""
        if train.packets > self._max_packets:
            raise PeerProtocol(f"it takes {self._max_packets} probes only, not {train.packets}")
        self._number += 1
        self._train = train
        start = IgiTrainStart(
            train=self._number,
            packets=train.packets,
            size_bytes=train.size_bytes,
            gap_ns=train.gap_ns,
        )
        # An upstream one is announced to whoever shall send it.
        return IgiMessage(order=start) if train.upstream else IgiMessage(train_start=start)

    def sent(self) -> IgiMessage:
        """All of it has left."""
        return IgiMessage(train_sent=IgiTrainSent(train=self._number))

    def report(
        self, message: IgiMessage, *, sent_ns: tuple[int, ...], kernel_tx: bool, elapsed_ns: int
    ) -> PacedOutcome:
        """What the partner says of the train.

        Raises:
            PeerProtocol, PeerAborted: if it says anything else, or what cannot be.
        """
        report: IgiTrainReport = self._expect(message, "train_report").train_report
        assert self._train is not None
        _check(report, self._number, self._train)
        times_ns = itertools.accumulate(report.received_steps_ns)
        return PacedOutcome(
            sent_ns=sent_ns,
            arrivals=tuple(zip(report.received, times_ns, strict=True)),
            kernel_tx=kernel_tx,
            kernel_rx=report.kernel_rx,
            duplicates=report.duplicates,
            foreign=report.foreign,
            socket_drops=report.socket_drops,
            elapsed_ns=elapsed_ns,
        )

    def sent_by_partner(self, message: IgiMessage) -> tuple[tuple[int, ...], bool]:
        """When it sent the probes that were ordered, and whether its kernel says so.

        Raises:
            PeerProtocol, PeerAborted: if it says anything else, or what cannot be.
        """
        sent: IgiTrainSent = self._expect(message, "train_sent").train_sent
        assert self._train is not None
        if sent.train != self._number or len(sent.sent_steps_ns) != self._train.packets:
            raise PeerProtocol(f"it did not send train {self._number} as ordered")
        if sum(sent.sent_steps_ns) > LONGEST_REPORT_NS:
            raise PeerProtocol("it reports times that cannot be")
        return tuple(itertools.accumulate(sent.sent_steps_ns)), sent.kernel_tx

    def _expect(self, message: IgiMessage, kind: str) -> IgiMessage:
        found = message.WhichOneof("body")
        if found == "abort":
            raise PeerAborted(message.abort.reason[:80])
        if found != kind:
            raise PeerProtocol(f"it said {found}, not {kind}")
        return message


def _check(report: IgiTrainReport, number: int, train: PacedTrain) -> None:
    if report.train != number:
        raise PeerProtocol(f"it reports train {report.train}, not {number}")
    if len(report.received) > train.packets:
        raise PeerProtocol(f"it reports {len(report.received)} of {train.packets} probes")
    if len(report.received) != len(report.received_steps_ns):
        raise PeerProtocol("it reports another number of times than of probes")
    if any(probe >= train.packets for probe in report.received):
        raise PeerProtocol("it reports a probe that was not sent")
    if len(set(report.received)) != len(report.received):
        raise PeerProtocol("it reports a probe twice")
    if sum(report.received_steps_ns) > LONGEST_REPORT_NS:
        raise PeerProtocol("it reports times that cannot be")
