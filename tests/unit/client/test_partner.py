"""The client's listener: who is let in, who is believed, and that nothing stays open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import implementer

from emodis.client.partner import MOST_BAD_HELLOS, MOST_STRANGERS, Partner
from emodis.packets.paced import PacedTrain
from emodis.techniques import igi_keys
from emodis.techniques.igi_receiver import HELLO_WITHIN_NS
from emodis.techniques.igi_sender import Sender
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.v1.common_pb2 import PeerOffer, Relay, RunKey
from emodis.wire.v1.igi_pb2 import IgiDone, IgiMessage, IgiTrainSent, IgiTrainStart
from tests.support.clock import HOUR_NS, set_clock

TOKEN = bytes(range(16))
TRAIN = PacedTrain(packets=3, size_bytes=200, gap_ns=0)


@implementer(ITCPTransport)
class Transport(StringTransport):
    """With what TCP has beside."""

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        pass

    def getTcpNoDelay(self) -> bool:  # noqa: N802 - Twisted's name
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        pass

    def getTcpKeepAlive(self) -> bool:  # noqa: N802 - Twisted's name
        return False

    def loseWriteConnection(self) -> None:  # noqa: N802 - Twisted's name
        pass


@attrs.define
class Dialled:
    """One connection to the listener, from the far side."""

    protocol: Any
    transport: Transport
    reader: FrameReader = attrs.field(factory=FrameReader)

    def say(self, message: IgiMessage) -> None:
        self.protocol.dataReceived(encode_frame(message.SerializeToString()))

    def heard(self) -> list[IgiMessage]:
        frames = self.reader.feed(self.transport.value())
        found = [IgiMessage.FromString(frame) for frame in frames]
        self.transport.clear()
        return found

    def aborted(self) -> str:
        (message,) = self.heard()
        assert self.transport.disconnecting
        return message.abort.reason


@attrs.define
class Rig:
    reactor: Any = attrs.field(factory=MemoryReactorClock)
    complaints: list[str] = attrs.field(factory=list)
    partner: Partner = attrs.field(init=False)
    offer: PeerOffer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.partner = Partner(self.reactor, TOKEN, self.complaints.append)
        self.offer = self.partner.start()

    def dial(self) -> Dialled | None:
        factory = self.reactor.tcpServers[0][1]
        protocol = factory.buildProtocol(None)
        if protocol is None:
            return None
        transport = Transport()
        protocol.makeConnection(transport)
        return Dialled(protocol, transport)

    def known(self, nonce: bytes = b"n" * 16, agent: str = "a") -> tuple[Dialled, Sender, int]:
        """An agent that has shown who it is; with it the UDP port it may send to."""
        run = RunKey(measurement_id="m", agent_id=agent)
        sender = Sender(run=run, token=igi_keys.run_token(TOKEN, run), nonce=nonce)
        dialled = self.dial()
        assert dialled is not None
        dialled.say(sender.hello())
        (ready,) = dialled.heard()
        return dialled, sender, sender.ready(ready)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.partner.stop()


def forged(nonce: bytes = b"n" * 16) -> IgiMessage:
    return Sender(run=RunKey(measurement_id="m"), token=bytes(16), nonce=nonce).hello()


def send_probes(sender: Sender, port: int, numbers: range, host: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probes:
        probes.bind((host, 0))
        for number in numbers:
            header = igi_keys.probe_header(sender.tag, sender.number, number)
            probes.sendto(header + b"noise", ("127.0.0.1", port))


def test_an_agent_with_the_token_gets_its_trains_reported(rig: Rig) -> None:
    dialled, sender, port = rig.known()
    # StringTransport's peer.
    dialled.protocol.talk.hosts = ("127.0.0.1",)
    dialled.say(sender.start(TRAIN))
    send_probes(sender, port, range(2))
    send_probes(sender, port, range(2, 3), host="127.0.0.2")
    send_probes(sender, port, range(2, 3))
    dialled.say(sender.sent())
    rig.reactor.advance(0.05)
    (report,) = dialled.heard()
    said = sender.report(report, sent_ns=(0, 0, 0), kernel_tx=True, elapsed_ns=1)
    assert [number for number, _ in said.arrivals] == [0, 1, 2]
    assert (said.foreign, said.kernel_rx) == (1, True)


def test_a_forged_hello_is_refused(rig: Rig) -> None:
    dialled = rig.dial()
    assert dialled is not None
    dialled.say(forged())
    assert dialled.aborted() == "auth_failed"


def test_a_replayed_hello_is_refused_also_on_another_connection(rig: Rig) -> None:
    _, sender, _ = rig.known()
    again = rig.dial()
    assert again is not None
    again.say(sender.hello())
    assert again.aborted() == "auth_failed"


def test_after_so_many_forgeries_nobody_is_let_in(rig: Rig) -> None:
    for number in range(MOST_BAD_HELLOS):
        assert rig.complaints == []
        dialled = rig.dial()
        assert dialled is not None
        dialled.say(forged(bytes([number]) * 16))
        dialled.protocol.connectionLost()
    assert len(rig.complaints) == 1
    assert rig.partner._port is None


def test_strangers_do_not_keep_others_out_for_long(rig: Rig) -> None:
    strangers = [rig.dial() for _ in range(MOST_STRANGERS)]
    assert None not in strangers
    assert rig.dial() is None
    for stranger in strangers:
        assert stranger is not None
        stranger.protocol.connectionLost()
    rig.known()


def test_garbage_is_refused(rig: Rig) -> None:
    dialled = rig.dial()
    assert dialled is not None
    dialled.protocol.dataReceived(b"\xff\xff\xff\xff")
    assert dialled.aborted() == "peer_protocol"


def test_a_stranger_who_says_nothing_is_sent_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = rig.dial()
    assert dialled is not None
    dialled.protocol.talk.receiver._last_ns -= HELLO_WITHIN_NS
    rig.reactor.advance(HELLO_WITHIN_NS / 1e9 + 0.1)
    assert dialled.aborted() == "peer_gone"


@pytest.mark.parametrize("lost", [0, 1])
def test_a_clock_that_is_set_while_a_train_arrives_ends_the_run(
    rig: Rig, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled, sender, port = rig.known()
    dialled.protocol.talk.hosts = ("127.0.0.1",)
    dialled.say(sender.start(TRAIN))
    send_probes(sender, port, range(3 - lost))
    set_clock(monkeypatch)
    dialled.say(sender.sent())
    if lost:
        # Its time is over.
        dialled.protocol.talk.receiver._train.close_at_ns = 0
    rig.reactor.advance(0.05)
    assert dialled.aborted() == "clock_step"
    dialled.protocol.connectionLost()
    assert rig.reactor.getDelayedCalls() == []
    # The next run has the clock as it is now.
    dialled, sender, port = rig.known(b"m" * 16)
    dialled.protocol.talk.hosts = ("127.0.0.1",)
    dialled.say(sender.start(TRAIN))
    send_probes(sender, port, range(3))
    dialled.say(sender.sent())
    rig.reactor.advance(0.05)
    (report,) = dialled.heard()
    assert report.HasField("train_report")


def test_a_clock_that_is_set_while_a_train_leaves_ends_the_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacer: Any = FakePacer()
    rig.partner.send_with(pacer)
    dialled, _, _ = rig.known()
    dialled.protocol.talk.receiver.hello.arrival_port = 50000
    dialled.say(IgiMessage(order=IgiTrainStart(train=1, packets=3, size_bytes=200)))
    set_clock(monkeypatch, -HOUR_NS)
    sent = IgiMessage(train_sent=IgiTrainSent(train=1, sent_steps_ns=[0, 0, 0]))
    dialled.protocol.talk.paced(sent)
    assert dialled.aborted() == "clock_step"


def test_an_agent_that_speaks_through_the_master_hears_of_it_too(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Far(rig)
    far.say(far.sender.hello())
    far.sender.ready(*far.heard())
    far.say(far.sender.start(TRAIN))
    set_clock(monkeypatch)
    (talk,) = rig.partner._open
    train: Any = talk.receiver._train
    train.close_at_ns = 0
    rig.reactor.advance(0.05)
    (answer,) = far.heard()
    assert answer.abort.reason == "clock_step"
    assert rig.partner._open == set()
    assert rig.reactor.getDelayedCalls() == []


def test_a_newer_run_ends_the_one_before(rig: Rig) -> None:
    before, _, _ = rig.known()
    rig.known(b"m" * 16, agent="b")
    assert before.aborted() == "superseded"


def test_done_hangs_up(rig: Rig) -> None:
    dialled, _, _ = rig.known()
    done = IgiMessage()
    done.done.SetInParent()
    dialled.say(done)
    assert dialled.transport.disconnecting


def test_nothing_is_left_when_it_stops() -> None:
    rig = Rig()
    dialled, _, _ = rig.known()
    rig.partner.stop()
    assert dialled.transport.disconnecting
    dialled.protocol.connectionLost()
    assert rig.reactor.getDelayedCalls() == []
    assert rig.offer.token == TOKEN


@attrs.define
class Far:
    """An agent that speaks through the master."""

    rig: Rig
    run: RunKey = attrs.field(factory=lambda: RunKey(measurement_id="m", agent_id="a"))
    sender: Sender = attrs.field(init=False)
    said: list[Relay] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        token = igi_keys.run_token(TOKEN, self.run)
        self.sender = Sender(run=self.run, token=token, nonce=b"n" * 16)
        self.rig.partner.connect(self.said.append)

    def say(self, message: IgiMessage) -> None:
        words, address = message.SerializeToString(), bytes([127, 0, 0, 1])
        self.rig.partner.relayed(Relay(run=self.run, words=words, agent_address=address))

    def heard(self) -> list[IgiMessage]:
        found = [IgiMessage.FromString(relay.words) for relay in self.said]
        assert all(relay.run == self.run for relay in self.said)
        self.said.clear()
        return found


DONE = IgiMessage(done=IgiDone())


def test_an_agent_that_cannot_dial_is_measured_with_through_the_master(rig: Rig) -> None:
    assert rig.offer.relay
    far = Far(rig)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probes:
        probes.bind(("127.0.0.1", 0))
        probes.settimeout(20)
        # It says that it is elsewhere, too; the path is opened to both places.
        far.say(far.sender.hello(probes.getsockname()[1], bytes([127, 0, 0, 2])))
        (ready,) = far.heard()
        far.sender.ready(ready)
        rig.reactor.advance(0)
        opener, way = probes.recvfrom(100)
        cookie = igi_keys.opener_cookie(opener, far.sender.tag)
        assert cookie is not None
        far.say(far.sender.opened(cookie))
        far.say(far.sender.start(TRAIN))
        for number in range(3):
            header = igi_keys.probe_header(far.sender.tag, far.sender.number, number)
            probes.sendto(header, way)
    far.say(far.sender.sent())
    rig.reactor.advance(0.05)
    (report,) = far.heard()
    said = far.sender.report(report, sent_ns=(0, 0, 0), kernel_tx=True, elapsed_ns=1)
    assert [number for number, _ in said.arrivals] == [0, 1, 2]
    far.say(DONE)
    assert rig.partner._open == set()


@attrs.define(eq=False)
class FakePacer:
    """Sends nothing, and knows for whom."""

    hosts: list[tuple[str, ...]] = attrs.field(factory=list)

    def order(self, talk: Any, order: IgiMessage) -> None:
        self.hosts.append(talk.hosts)

    def left(self, talk: Any) -> None:
        pass


def test_trains_leave_only_for_where_an_agent_has_been_seen(rig: Rig) -> None:
    pacer: Any = FakePacer()
    rig.partner.send_with(pacer)
    order = IgiMessage(order=IgiTrainStart(train=1, packets=3, size_bytes=200))
    far = Far(rig)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probes:
        probes.bind(("127.0.0.2", 0))
        probes.settimeout(20)
        port = probes.getsockname()[1]
        # It is not where the master sees it, but where it says.
        far.say(far.sender.hello(port, bytes([127, 0, 0, 2]), arrival_port=port))
        rig.reactor.advance(0)
        cookie = igi_keys.opener_cookie(probes.recv(100), far.sender.tag)
    assert cookie is not None
    far.say(far.sender.opened(cookie))
    far.say(order)
    assert pacer.hosts == [("127.0.0.2",)]


def test_one_that_was_seen_nowhere_orders_nothing(rig: Rig) -> None:
    pacer: Any = FakePacer()
    rig.partner.send_with(pacer)
    far = Far(rig)
    far.say(far.sender.hello(50000, bytes([192, 0, 2, 1]), arrival_port=50000))
    far.say(far.sender.opened(b"guessed!"))
    far.heard()
    far.say(IgiMessage(order=IgiTrainStart(train=1, packets=3, size_bytes=200)))
    (answer,) = far.heard()
    assert answer.abort.reason == "peer_protocol"
    assert pacer.hosts == []


def test_a_host_that_does_not_send_says_so(rig: Rig) -> None:
    dialled, _, _ = rig.known()
    rig_order = IgiMessage(order=IgiTrainStart(train=1, packets=3, size_bytes=200))
    dialled.protocol.talk.receiver.hello.arrival_port = 50000
    dialled.say(rig_order)
    assert dialled.aborted() == "sends_nothing"


def test_the_path_is_opened_again_until_the_agent_has_heard_it(rig: Rig) -> None:
    far = Far(rig)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probes:
        probes.bind(("127.0.0.1", 0))
        probes.settimeout(20)
        far.say(far.sender.hello(probes.getsockname()[1]))
        for pause_s in (0, 0.1, 0.2):
            rig.reactor.advance(pause_s)
            assert igi_keys.opener_cookie(probes.recv(100), far.sender.tag) is not None
        far.say(far.sender.opened(b"whatever"))
    # What is left waits for its next words.
    assert len(rig.reactor.getDelayedCalls()) == 1


def test_a_forged_hello_through_the_master_is_refused(rig: Rig) -> None:
    far = Far(rig)
    far.say(forged())
    (answer,) = far.heard()
    assert answer.abort.reason == "auth_failed"
    assert rig.partner._open == set()


def test_nobody_is_told_anything_after_the_end(rig: Rig) -> None:
    far = Far(rig)
    far.say(far.sender.hello())
    far.heard()
    far.say(DONE)
    rig.reactor.advance(30)
    assert far.heard() == []
    assert rig.reactor.getDelayedCalls() == []
