"""Both sides of a conversation about trains, and what they do with a partner who is not honest."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.techniques import igi_keys
from emodis.techniques.igi_receiver import (
    HELLO_WITHIN_NS,
    IDLE_WITHIN_NS,
    MAX_PACKETS,
    SETTLE_NS,
    AuthFailed,
    Receiver,
)
from emodis.techniques.igi_sender import PeerAborted, PeerProtocol, Sender
from emodis.wire.v1.common_pb2 import RunKey
from emodis.wire.v1.igi_pb2 import (
    IgiAbort,
    IgiDone,
    IgiHello,
    IgiMessage,
    IgiReady,
    IgiTrainReport,
    IgiTrainSent,
    IgiTrainStart,
)

TOKEN = bytes(range(16))
RUN = RunKey(measurement_id="m1", agent_id="a1", destination=0)
NONCE = b"n" * 16
TRAIN = PacedTrain(packets=3, size_bytes=528, gap_ns=1000)
MS = 1_000_000


def sender(nonce: bytes = NONCE) -> Sender:
    return Sender(run=RUN, token=igi_keys.run_token(TOKEN, RUN), nonce=nonce)


@attrs.define
class Rig:
    """A receiver, and how many packets its socket has dropped so far."""

    dropped: int = 0
    used: set[bytes] = attrs.field(factory=set)

    def receiver(self) -> Receiver:
        return Receiver(
            token=TOKEN,
            udp_port=40000,
            kernel_rx=True,
            used_nonces=self.used,
            drops=lambda: self.dropped,
            now_ns=0,
        )

    def greeted(self) -> tuple[Sender, Receiver]:
        """Both, once they know each other."""
        sending, receiving = sender(), self.receiver()
        answer = receiving.heard(sending.hello(), 1 * MS)
        assert answer is not None
        assert sending.ready(answer) == 40000
        return sending, receiving


def probe(sending: Sender, number: int, train: int = 1) -> bytes:
    return igi_keys.probe_header(sending.tag, train, number) + b"noise"


def outcome(sending: Sender, report: IgiMessage) -> PacedOutcome:
    return sending.report(report, sent_ns=(0, 1000, 2000), kernel_tx=True, elapsed_ns=5)


def test_a_train_is_reported_when_its_last_probe_is_in() -> None:
    rig = Rig()
    sending, receiving = rig.greeted()
    assert receiving.heard(sending.start(TRAIN), 2 * MS) is None
    assert receiving.datagram(probe(sending, 0), 100, from_peer=True) is None
    assert receiving.datagram(probe(sending, 2), 900, from_peer=True) is None
    rig.dropped = 4
    report = receiving.datagram(probe(sending, 1), 500, from_peer=True)
    assert report is not None
    said = outcome(sending, report)
    assert said.arrivals == ((0, 0), (1, 400), (2, 800))
    assert (said.socket_drops, said.kernel_rx) == (4, True)
    # Too late to matter.
    assert receiving.heard(sending.sent(), 3 * MS) is None


def test_what_is_lost_is_waited_for_a_little_after_the_sender_is_through() -> None:
    sending, receiving = Rig().greeted()
    receiving.heard(sending.start(TRAIN), 11 * MS)
    receiving.datagram(probe(sending, 2), 900, from_peer=True)
    receiving.heard(sending.sent(), 12 * MS)
    # The round trip took 10 ms.
    end_ns = 12 * MS + 2 * 10 * MS + SETTLE_NS
    assert receiving.wake_at_ns == end_ns
    assert receiving.time_passed(end_ns - 1) is None
    report = receiving.time_passed(end_ns)
    assert report is not None
    assert outcome(sending, report).arrivals == ((2, 0),)


def test_a_train_of_which_nothing_arrives_ends_even_if_nobody_says_so() -> None:
    sending, receiving = Rig().greeted()
    receiving.heard(sending.start(TRAIN), 2 * MS)
    report = receiving.time_passed(receiving.wake_at_ns)
    assert report is not None
    assert outcome(sending, report).arrivals == ()


def test_probes_that_overtake_their_announcement_count() -> None:
    sending, receiving = Rig().greeted()
    for number in (0, 1, 2):
        assert receiving.datagram(probe(sending, number), number, from_peer=True) is None
    report = receiving.heard(sending.start(TRAIN), 2 * MS)
    assert report is not None
    assert len(outcome(sending, report).arrivals) == 3


def test_duplicates_and_strangers_are_counted_and_ignored() -> None:
    sending, receiving = Rig().greeted()
    receiving.heard(sending.start(TRAIN), 2 * MS)
    receiving.datagram(probe(sending, 0), 1, from_peer=True)
    receiving.datagram(probe(sending, 0), 2, from_peer=True)
    foreign = [
        (probe(sending, 1), False),
        (probe(sending, 7), True),
        (probe(sending, 1, train=2), True),
        (igi_keys.probe_header(b"guessing", 1, 1), True),
        (b"short", True),
    ]
    for payload, from_peer in foreign:
        receiving.datagram(payload, 3, from_peer=from_peer)
    receiving.datagram(probe(sending, 1), 4, from_peer=True)
    report = receiving.datagram(probe(sending, 2), 5, from_peer=True)
    assert report is not None
    said = outcome(sending, report)
    assert (said.duplicates, said.foreign) == (1, 5)
    assert said.arrivals == ((0, 0), (1, 3), (2, 4))


# -- a hostile sender ---------------------------------------------------------------------------


def test_a_hello_needs_the_token_of_its_own_run() -> None:
    other = RunKey(measurement_id="m1", agent_id="a2", destination=0)
    forged = Sender(run=other, token=igi_keys.run_token(TOKEN, RUN), nonce=NONCE)
    with pytest.raises(AuthFailed):
        Rig().receiver().heard(forged.hello(), 0)


@pytest.mark.parametrize("nonce", [b"", b"n" * 15, b"n" * 1000])
def test_a_hello_needs_a_proper_nonce(nonce: bytes) -> None:
    with pytest.raises(AuthFailed):
        Rig().receiver().heard(sender(nonce).hello(), 0)


def test_a_hello_is_good_once_also_on_another_connection() -> None:
    rig = Rig()
    rig.greeted()
    with pytest.raises(AuthFailed, match="before"):
        rig.receiver().heard(sender().hello(), 0)


def test_another_version_is_told_apart_from_a_wrong_proof() -> None:
    hello = sender().hello()
    hello.hello.version = 2
    with pytest.raises(PeerProtocol, match="version 2"):
        Rig().receiver().heard(hello, 0)


@pytest.mark.parametrize(
    "start",
    [
        IgiTrainStart(train=1, packets=2**32 - 1, size_bytes=528),
        IgiTrainStart(train=1, packets=1, size_bytes=528),
        IgiTrainStart(train=1, packets=60, size_bytes=65_000),
        IgiTrainStart(train=1, packets=60, size_bytes=528, gap_ns=2**63),
        IgiTrainStart(train=2, packets=60, size_bytes=528),
        IgiTrainStart(train=0, packets=60, size_bytes=528),
    ],
)
def test_an_impossible_train_ends_the_conversation(start: IgiTrainStart) -> None:
    _, receiving = Rig().greeted()
    with pytest.raises(PeerProtocol):
        receiving.heard(IgiMessage(train_start=start), 2 * MS)


ORDER = IgiTrainStart(train=1, packets=3, size_bytes=528, gap_ns=1000)


def ordering(arrival_port: int = 50000) -> Receiver:
    """A receiver whose partner wants trains, too, or not."""
    receiving = Rig().receiver()
    receiving.heard(sender().hello(arrival_port=arrival_port), 1 * MS)
    return receiving


def test_a_train_may_be_ordered_and_is_waited_for() -> None:
    receiving = ordering()
    assert receiving.heard(IgiMessage(order=ORDER), 2 * MS) is None
    assert not receiving.receiving


@pytest.mark.parametrize(
    "order",
    [
        IgiTrainStart(train=1, packets=2**32 - 1, size_bytes=528),
        IgiTrainStart(train=1, packets=60, size_bytes=65_000),
        IgiTrainStart(train=1, packets=60, size_bytes=20),
        IgiTrainStart(train=1, packets=60, size_bytes=528, gap_ns=2**63),
        IgiTrainStart(train=2, packets=60, size_bytes=528),
    ],
)
def test_an_impossible_order_ends_the_conversation(order: IgiTrainStart) -> None:
    with pytest.raises(PeerProtocol):
        ordering().heard(IgiMessage(order=order), 2 * MS)


def test_nobody_orders_trains_who_has_no_place_for_them() -> None:
    with pytest.raises(PeerProtocol, match="out of order"):
        ordering(arrival_port=0).heard(IgiMessage(order=ORDER), 2 * MS)


def test_a_train_number_is_used_once() -> None:
    sending, receiving = Rig().greeted()
    receiving.heard(sending.start(TRAIN), 2 * MS)
    receiving.time_passed(receiving.wake_at_ns)
    again = IgiTrainStart(train=1, packets=3, size_bytes=528, gap_ns=1000)
    with pytest.raises(PeerProtocol, match="after 1"):
        receiving.heard(IgiMessage(train_start=again), 3 * MS)


@pytest.mark.parametrize(
    "message",
    [
        IgiMessage(hello=IgiHello()),
        IgiMessage(ready=IgiReady()),
        IgiMessage(train_report=IgiTrainReport()),
        IgiMessage(train_sent=IgiTrainSent(train=9)),
        IgiMessage(train_start=IgiTrainStart(train=2, packets=3, size_bytes=528)),
        IgiMessage(),
    ],
)
def test_what_is_out_of_order_ends_the_conversation(message: IgiMessage) -> None:
    sending, receiving = Rig().greeted()
    receiving.heard(sending.start(TRAIN), 2 * MS)
    with pytest.raises(PeerProtocol):
        receiving.heard(message, 3 * MS)


def test_nothing_is_heard_before_hello() -> None:
    with pytest.raises(PeerProtocol, match="first"):
        Rig().receiver().heard(IgiMessage(done=IgiDone()), 0)


def test_who_says_nothing_is_not_waited_for() -> None:
    receiving = Rig().receiver()
    assert receiving.wake_at_ns == HELLO_WITHIN_NS
    with pytest.raises(PeerProtocol, match="silent"):
        receiving.time_passed(HELLO_WITHIN_NS)
    _, receiving = Rig().greeted()
    assert receiving.wake_at_ns == 1 * MS + IDLE_WITHIN_NS


def test_a_flood_before_a_train_is_bounded() -> None:
    sending, receiving = Rig().greeted()
    for _ in range(3 * MAX_PACKETS):
        receiving.datagram(b"x" * 1400, 1, from_peer=True)
    assert receiving.heard(sending.start(TRAIN), 2 * MS) is None


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_datagram_is_too_odd(payloads: list[bytes]) -> None:
    sending, receiving = Rig().greeted()
    receiving.heard(sending.start(TRAIN), 2 * MS)
    for payload in payloads:
        receiving.datagram(payload, 1, from_peer=True)


# -- a hostile receiver -------------------------------------------------------------------------


def started() -> Sender:
    sending, _ = Rig().greeted()
    sending.start(TRAIN)
    return sending


def report(
    train: int = 1, received: tuple[int, ...] = (0,), steps: tuple[int, ...] = (0,)
) -> IgiMessage:
    return IgiMessage(
        train_report=IgiTrainReport(train=train, received=received, received_steps_ns=steps)
    )


@pytest.mark.parametrize(
    "message",
    [
        report(train=2),
        report(received=(0, 1, 2, 0), steps=(0, 1, 1, 1)),
        report(received=(0, 1)),
        report(received=(3,)),
        report(received=(2**32 - 1,)),
        report(received=(1, 1), steps=(0, 1)),
        report(received=(0, 1), steps=(0, 2**64 - 1)),
        IgiMessage(train_sent=IgiTrainSent(train=1)),
        IgiMessage(done=IgiDone()),
        IgiMessage(),
    ],
)
def test_a_report_that_cannot_be_is_refused(message: IgiMessage) -> None:
    with pytest.raises(PeerProtocol):
        outcome(started(), message)


def test_a_partner_may_end_it() -> None:
    with pytest.raises(PeerAborted) as caught:
        outcome(started(), IgiMessage(abort=IgiAbort(reason="peer_protocol")))
    assert caught.value.reason == "peer_protocol"


def test_a_listener_without_the_token_gets_no_train() -> None:
    ready = IgiReady(udp_port=40000, max_packets=512, proof=b"x" * 32)
    with pytest.raises(PeerProtocol, match="token"):
        sender().ready(IgiMessage(ready=ready))


@pytest.mark.parametrize("port", [0, 53, 1023, 65_536])
def test_probes_go_to_no_service(port: int) -> None:
    sending = sender()
    proof = igi_keys.receiver_proof(sending.token, NONCE)
    ready = IgiReady(udp_port=port, max_packets=512, proof=proof)
    with pytest.raises(PeerProtocol, match="port"):
        sending.ready(IgiMessage(ready=ready))


def test_a_train_too_long_for_the_partner_is_not_sent() -> None:
    sending, _ = Rig().greeted()
    with pytest.raises(PeerProtocol, match="512"):
        sending.start(attrs.evolve(TRAIN, packets=513))
