"""A run with a partner over loopback: honest, hostile, absent, or gone in the middle."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from ipaddress import IPv4Address

import attrs
import pytest
from scapy.layers.inet import IP, UDP

from emodis.packets.arrivals import ArrivalSocket
from emodis.packets.clocks import boottime_ns, monotonic_ns
from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.packets.tape import Tape
from emodis.packets.transport import Traffic
from emodis.prober import inlet, meeting, peer
from emodis.prober.follower import Follower
from emodis.prober.links import PeerFailed, PeerStopped
from emodis.prober.peer import Partnership, PeerConversation
from emodis.techniques import igi_keys
from emodis.techniques.base import Context, Measured
from emodis.techniques.igi import Igi
from emodis.techniques.igi_receiver import Receiver
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_TARGET,
    END_FAILED,
    Ending,
    PeerOffer,
    Quality,
    RunKey,
)
from emodis.wire.v1.igi_pb2 import (
    IgiAbort,
    IgiDone,
    IgiMessage,
    IgiObservations,
    IgiTrainSent,
    IgiTrainStart,
)
from emodis.wire.v1.prober_pb2 import ProberFollow, ProberRun
from tests.support.clock import HOUR_NS, set_clock

HERE = IPv4Address("127.0.0.1")
TOKEN = bytes(16)
RUN = RunKey(measurement_id="m", agent_id="a")
TRAIN = PacedTrain(packets=10, size_bytes=200, gap_ns=200_000)
DEADLINE_S = 20

Script = Callable[["Far"], None]


@attrs.define
class Far:
    """The partner's end, blocking."""

    sock: socket.socket
    probes: ArrivalSocket
    receiver: Receiver
    reader: FrameReader = attrs.field(factory=FrameReader)
    frames: list[bytes] = attrs.field(factory=list)

    def hear(self) -> IgiMessage:
        while not self.frames:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError
            self.frames += self.reader.feed(data)
        return IgiMessage.FromString(self.frames.pop(0))

    def say(self, message: IgiMessage | None) -> None:
        if message is not None:
            self.sock.sendall(encode_frame(message.SerializeToString()))

    def greet(self) -> None:
        self.say(self.receiver.heard(self.hear(), monotonic_ns()))


@contextmanager
def listening(script: Script) -> Iterator[int]:
    """Somebody who follows the script with the first who dials."""
    probes = ArrivalSocket()
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(DEADLINE_S)
    receiver = Receiver(
        token=TOKEN,
        udp_port=probes.port,
        kernel_rx=True,
        used_nonces=set(),
        drops=lambda: 0,
        now_ns=0,
    )

    def serve() -> None:
        sock, _ = door.accept()
        sock.settimeout(DEADLINE_S)
        with sock, suppress(ConnectionError):
            script(Far(sock, probes, receiver))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield door.getsockname()[1]
    finally:
        thread.join(DEADLINE_S)
        door.close()
        probes.close()


@attrs.define
class Interrupt:
    ends: tuple[socket.socket, socket.socket] = attrs.field(factory=socket.socketpair)
    wanted: bool = False
    # From the partner, through the master.
    words: list[bytes] = attrs.field(factory=list)

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def waiting(self) -> bool:
        with suppress(BlockingIOError):
            self.ends[0].recv(100, socket.MSG_DONTWAIT)
        return self.wanted

    def relayed(self) -> list[bytes]:
        found, self.words = self.words, []
        return found

    def fire(self) -> None:
        self.wanted = True
        self.ends[1].send(b"!")


@attrs.define
class Rig:
    interrupt: Interrupt = attrs.field(factory=Interrupt)
    traffic: Traffic = attrs.field(factory=Traffic)
    reported: list[PacedTrain] = attrs.field(factory=list)
    outcomes: list[PacedOutcome] = attrs.field(factory=list)
    ways: list[str] = attrs.field(factory=list)
    max_bytes: int = 0
    train: PacedTrain = TRAIN
    tape: Tape | None = None
    # In place of two trains.
    conversation: PeerConversation | None = None

    def begin(self, relayed: bool) -> PeerConversation:
        self.ways.append("relayed" if relayed else "dialled")
        return self.conversation or self.talk()

    def talk(self) -> Generator[PacedTrain, PacedOutcome, Measured]:
        for _ in range(2):
            self.outcomes.append((yield self.train))
        return Measured(
            ending=Ending(), result=None, observations=IgiObservations(), quality=Quality()
        )

    def measure(
        self,
        port: int,
        token: bytes = igi_keys.run_token(TOKEN, RUN),
        relay: Callable[[bytes], None] | None = None,
    ) -> Measured:
        run = ProberRun(
            run=RUN,
            stop_by_boottime_ns=boottime_ns() + 60 * 10**9,
            max_bytes=self.max_bytes,
            peer=PeerOffer(tcp_port=port, token=token, relay=relay is not None),
        )
        partnership = Partnership(
            run=run,
            partner=HERE,
            traffic=self.traffic,
            interrupt=self.interrupt,
            chance=random.Random(1),
            report=self.reported.append,
            steady=nullcontext,
            relay=relay or (lambda words: None),
            receives=self.train.upstream,
            tape=self.tape,
        )
        try:
            return partnership.measure(self.begin)
        finally:
            for end in self.interrupt.ends:
                end.close()


def honest(far: Far) -> None:
    """Report every train once all of it is in, until the sender is done."""
    far.greet()
    while True:
        message = far.hear()
        far.say(far.receiver.heard(message, monotonic_ns()))
        if far.receiver.done:
            return
        if far.receiver.through:
            for arrival in far.probes.arrived(100):
                far.say(far.receiver.datagram(arrival.payload, arrival.at_ns, from_peer=True))


def test_trains_are_sent_and_reported() -> None:
    rig = Rig()
    with listening(honest) as port:
        rig.measure(port)
    assert rig.reported == [TRAIN, TRAIN]
    for outcome in rig.outcomes:
        assert [number for number, _ in outcome.arrivals] == list(range(10))
        assert len(outcome.sent_ns) == 10
    assert rig.outcomes[0].elapsed_ns < rig.outcomes[1].elapsed_ns
    assert (rig.traffic.sent_packets, rig.traffic.sent_bytes) == (20, 4000)


def taped(rig: Rig) -> list[tuple[int, IP]]:
    assert rig.tape is not None
    return [(at_ns, IP(packet)) for at_ns, packet in rig.tape.take()]


def test_what_left_is_on_the_tape() -> None:
    rig = Rig(tape=Tape())
    with listening(honest) as port:
        rig.measure(port)
    packets = taped(rig)
    told_ns = [at_ns for outcome in rig.outcomes for at_ns in outcome.sent_ns]
    assert [at_ns for at_ns, _ in packets] == told_ns
    assert {(packet.dst, packet.len) for _, packet in packets} == {(str(HERE), TRAIN.size_bytes)}
    numbers = [igi_keys.PROBE_HEADER.unpack_from(packet[UDP].load)[-1] for _, packet in packets]
    assert numbers == [*range(10)] * 2


def failure(script: Script) -> PeerFailed:
    rig = Rig()
    with listening(script) as port, pytest.raises(PeerFailed) as caught:
        rig.measure(port)
    return caught.value


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with pytest.raises(PeerFailed) as caught:
        Rig().measure(port)
    assert caught.value.reason == "client_unreachable"


def test_a_partner_that_hangs_up_in_the_middle_of_a_train() -> None:
    def vanish(far: Far) -> None:
        far.greet()
        far.hear()

    assert failure(vanish).reason == "peer_gone"


def test_a_partner_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "READY_WITHIN_NS", 100_000_000)

    def silent(far: Far) -> None:
        far.hear()
        assert far.sock.recv(1) == b""

    assert failure(silent).reason == "peer_gone"


def test_a_partner_that_greets_and_never_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "REPORT_WITHIN_NS", 100_000_000)
    said: list[str | None] = []

    def lose_interest(far: Far) -> None:
        far.greet()
        said.extend(far.hear().WhichOneof("body") for _ in range(2))
        assert far.sock.recv(1) == b""

    assert failure(lose_interest).reason == "peer_gone"
    assert said == ["train_start", "train_sent"]


@pytest.mark.parametrize(
    "words", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x04\xff\xff\xff\xff", encode_frame(b"")]
)
def test_a_partner_that_talks_nonsense(words: bytes) -> None:
    def babble(far: Far) -> None:
        far.greet()
        far.hear()
        far.sock.sendall(words)

    found = failure(babble)
    assert found.reason == "peer_protocol"
    assert "update the older side" in str(found)


def test_a_partner_that_does_not_know_the_token() -> None:
    def pretend(far: Far) -> None:
        hello = far.hear()
        ready = IgiMessage()
        ready.ready.udp_port, ready.ready.max_packets = 40000, 512
        ready.ready.proof = hello.hello.proof
        far.say(ready)

    assert failure(pretend).reason == "peer_protocol"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("auth_failed", "auth_failed"),
        ("superseded", "client_refused"),
        ("clock_step", "clock_step"),
    ],
)
def test_a_partner_that_breaks_it_off(said: str, reason: str) -> None:
    def refuse(far: Far) -> None:
        far.hear()
        far.say(IgiMessage(abort=IgiAbort(reason=said)))

    found = failure(refuse)
    assert (found.reason, found.blame) == (reason, BLAME_TARGET)


@pytest.mark.parametrize(
    ("port", "token", "advice"),
    [
        (80, bytes(16), "ask for it by"),
        (0, bytes(16), "ask for it by"),
        (40000, b"", "update the older side"),
    ],
)
def test_an_offer_that_is_none_is_not_followed(port: int, token: bytes, advice: str) -> None:
    with pytest.raises(PeerFailed) as caught:
        Rig().measure(port, token)
    assert caught.value.reason == "bad_params"
    assert advice in str(caught.value)


def test_a_run_that_nobody_wants_any_more_ends_while_it_waits() -> None:
    rig = Rig()

    def interrupt(far: Far) -> None:
        far.greet()
        far.hear()
        rig.interrupt.fire()
        while far.sock.recv(65536):
            pass

    with listening(interrupt) as port, pytest.raises(PeerStopped):
        rig.measure(port)


def test_no_more_bytes_than_allowed() -> None:
    rig = Rig(max_bytes=3000)
    with listening(honest) as port, pytest.raises(PeerStopped):
        rig.measure(port)
    assert rig.traffic.sent_bytes <= 3000


def deaf(far: Far) -> None:
    """TCP gets through, UDP does not."""
    far.greet()
    while not far.receiver.done:
        far.say(far.receiver.heard(far.hear(), monotonic_ns()))
        if far.receiver.through:
            far.say(far.receiver.time_passed(far.receiver.wake_at_ns))


def test_a_partner_that_no_udp_reaches_ends_the_run_after_three_trains() -> None:
    technique = Igi()
    rig = Rig(
        conversation=technique.talk_to_peer(technique.call({}), Context(address=HERE, seed=1))
    )
    with listening(deaf) as port:
        measured = rig.measure(port)
    assert (measured.ending.end, measured.ending.reason) == (END_FAILED, "udp_blocked")
    assert len(rig.reported) == 3


@attrs.define
class Distant:
    """A partner behind the master: hears words, and lets them in to `interrupt`."""

    interrupt: Interrupt
    opens: bool = True
    probes: ArrivalSocket = attrs.field(factory=ArrivalSocket)
    receiver: Receiver = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.receiver = Receiver(
            token=TOKEN,
            udp_port=self.probes.port,
            kernel_rx=True,
            used_nonces=set(),
            drops=lambda: 0,
            now_ns=0,
        )

    def hear(self, words: bytes) -> None:
        self.answer(self.receiver.heard(IgiMessage.FromString(words), monotonic_ns()))
        if not self.receiver.opened and self.opens:
            opener = self.receiver.opener(b"c" * igi_keys.COOKIE_BYTES)
            # What is none comes before the right one.
            self.probes.send(opener[::-1], str(HERE), self.receiver.hello.udp_port)
            self.probes.send(opener, str(HERE), self.receiver.hello.udp_port)
        if self.receiver.through:
            for arrival in self.probes.arrived(100):
                self.answer(self.receiver.datagram(arrival.payload, arrival.at_ns, from_peer=True))

    def answer(self, message: IgiMessage | None) -> None:
        if message is not None:
            self.interrupt.words.append(message.SerializeToString())
            self.interrupt.ends[1].send(b"!")


@pytest.mark.parametrize("listens", [False, True])
def test_where_its_connection_does_not_arrive_the_master_carries_the_words(listens: bool) -> None:
    rig, port = Rig(), 0
    distant = Distant(rig.interrupt)
    if listens:
        with socket.create_server((str(HERE), 0)) as door:
            port = door.getsockname()[1]
    rig.measure(port, relay=distant.hear)
    distant.probes.close()
    assert rig.ways == ["relayed"]
    for outcome in rig.outcomes:
        assert [number for number, _ in outcome.arrivals] == list(range(10))
    assert distant.receiver.done


def test_a_partner_that_opens_no_path_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "OPEN_RELAYED_NS", 50_000_000)
    rig = Rig()
    distant = Distant(rig.interrupt, opens=False)
    with pytest.raises(PeerFailed) as caught:
        rig.measure(0, relay=distant.hear)
    distant.probes.close()
    assert caught.value.reason == "udp_blocked"


def test_a_partner_that_the_master_does_not_reach_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "READY_RELAYED_NS", 50_000_000)
    said: list[bytes] = []
    with pytest.raises(PeerFailed, match="nor get an answer through the master") as caught:
        Rig().measure(0, relay=said.append)
    assert caught.value.reason == "client_unreachable"
    assert len(said) == 1


def test_a_dialled_partner_is_sent_to_where_its_opener_came_from() -> None:
    def elsewhere(far: Far) -> None:
        far.greet()
        # As a router would show it: another port than the one it names.
        named = far.probes.port
        far.probes = ArrivalSocket()
        assert far.probes.port != named
        opener = far.receiver.opener(bytes(igi_keys.COOKIE_BYTES))
        far.probes.send(opener, str(HERE), far.receiver.hello.udp_port)
        while not far.receiver.done:
            far.say(far.receiver.heard(far.hear(), monotonic_ns()))
            if far.receiver.through:
                for arrival in far.probes.arrived(100):
                    far.say(far.receiver.datagram(arrival.payload, arrival.at_ns, from_peer=True))
        far.probes.close()

    rig = Rig()
    with listening(elsewhere) as port:
        rig.measure(port)
    assert rig.ways == ["dialled"]
    assert [len(outcome.arrivals) for outcome in rig.outcomes] == [10, 10]


UPSTREAM = attrs.evolve(TRAIN, upstream=True)


def sending(far: Far, order: IgiMessage) -> IgiMessage:
    """Send as ordered, and something stray."""
    words = order.order
    place = (str(HERE), far.receiver.hello.arrival_port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(words.packets):
            sock.sendto(igi_keys.probe_header(far.receiver.tag, words.train, number), place)
        sock.sendto(b"stray", place)
    steps_ns = [0] + [1000] * (words.packets - 1)
    return IgiMessage(
        train_sent=IgiTrainSent(train=words.train, sent_steps_ns=steps_ns, kernel_tx=True)
    )


def following(answer: Callable[[Far, IgiMessage], IgiMessage]) -> Script:
    """A partner that is asked to send."""

    def script(far: Far) -> None:
        far.greet()
        while not far.receiver.done:
            message = far.hear()
            far.receiver.heard(message, monotonic_ns())
            if message.HasField("order"):
                far.say(answer(far, message))

    return script


def test_whatever_comes_from_the_partner_is_on_the_tape() -> None:
    rig = Rig(train=UPSTREAM, tape=Tape())
    with listening(following(sending)) as port:
        rig.measure(port)
    packets = taped(rig)
    assert [packet[UDP].load for _, packet in packets].count(b"stray") == 2
    told_ns = [at_ns for outcome in rig.outcomes for _, at_ns in outcome.arrivals]
    assert {at_ns for at_ns, _ in packets} >= set(told_ns)
    assert len(packets) == len(told_ns) + 2
    assert len({packet[UDP].dport for _, packet in packets}) == 1


def test_trains_of_the_partner_are_received() -> None:
    rig = Rig(train=UPSTREAM)
    with listening(following(sending)) as port:
        rig.measure(port)
    for outcome in rig.outcomes:
        assert [number for number, _ in outcome.arrivals] == list(range(10))
        assert outcome.sent_ns == tuple(range(0, 10_000, 1000))
        assert (outcome.kernel_tx, outcome.kernel_rx) == (True, True)
    # The stray datagram may come after the last probe: then nobody counts it.
    assert {outcome.foreign for outcome in rig.outcomes} <= {0, 1}
    assert rig.outcomes[0].elapsed_ns < rig.outcomes[1].elapsed_ns
    traffic = rig.traffic
    assert (traffic.sent_packets, traffic.recv_packets, traffic.recv_bytes) == (20, 20, 4000)


@pytest.mark.parametrize(
    "sent",
    [
        IgiTrainSent(train=2, sent_steps_ns=[0] * 10),
        IgiTrainSent(train=1, sent_steps_ns=[0] * 11),
        IgiTrainSent(train=1),
        IgiTrainSent(train=1, sent_steps_ns=[0] * 9 + [1 << 62]),
    ],
)
def test_a_partner_that_did_not_send_what_was_ordered(sent: IgiTrainSent) -> None:
    rig = Rig(train=UPSTREAM)
    script = following(lambda far, order: IgiMessage(train_sent=sent))
    with listening(script) as port, pytest.raises(PeerFailed) as caught:
        rig.measure(port)
    assert caught.value.reason == "peer_protocol"


def clock_fails(rig: Rig, script: Script) -> None:
    """That of the agent's own host."""
    with listening(script) as port, pytest.raises(PeerFailed) as caught:
        rig.measure(port)
    assert (caught.value.reason, caught.value.blame) == ("clock_step", BLAME_AGENT)
    assert "measure again" in str(caught.value)


@pytest.mark.parametrize("upstream", [False, True])
def test_a_clock_that_is_set_while_a_train_flies_ends_the_run(
    upstream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setting(far: Far, order: IgiMessage) -> IgiMessage:
        set_clock(monkeypatch)
        return sending(far, order)

    def set_and_report(far: Far) -> None:
        far.greet()
        far.receiver.heard(far.hear(), monotonic_ns())
        set_clock(monkeypatch, -HOUR_NS)
        far.receiver.heard(far.hear(), monotonic_ns())
        far.say(far.receiver.time_passed(far.receiver.wake_at_ns))

    rig = Rig(train=UPSTREAM if upstream else TRAIN)
    clock_fails(rig, following(setting) if upstream else set_and_report)
    assert rig.outcomes == []


def test_a_clock_that_is_set_between_two_trains_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def talk() -> PeerConversation:
        rig.outcomes.append((yield TRAIN))
        set_clock(monkeypatch)
        rig.outcomes.append((yield TRAIN))
        raise AssertionError("it goes on")

    rig = Rig()
    rig.conversation = talk()
    clock_fails(rig, honest)
    assert len(rig.outcomes) == 1


def test_a_partner_that_does_not_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inlet, "SENT_WITHIN_NS", 50_000_000)

    def idle(far: Far) -> None:
        far.greet()
        far.hear()
        far.sock.recv(1)

    rig = Rig(train=UPSTREAM)
    with listening(idle) as port, pytest.raises(PeerFailed) as caught:
        rig.measure(port)
    assert caught.value.reason == "peer_gone"


def test_no_more_is_ordered_than_allowed() -> None:
    rig = Rig(train=UPSTREAM, max_bytes=3000)
    with listening(following(sending)) as port, pytest.raises(PeerStopped):
        rig.measure(port)
    assert rig.traffic.sent_bytes == 2000


@pytest.fixture
def calm() -> Iterator[Rig]:
    """Whose run nobody calls off."""
    rig = Rig()
    yield rig
    for end in rig.interrupt.ends:
        end.close()


def follow(rig: Rig, port: int, *, left_s: int) -> list[IgiMessage]:
    """Order a train and be done; what the follower says."""
    said: list[bytes] = []
    order = IgiTrainStart(train=1, packets=10, size_bytes=200, gap_ns=100_000)
    words = [IgiMessage(order=order), IgiMessage(done=IgiDone())]
    rig.interrupt.words = [message.SerializeToString() for message in words]
    follower = Follower(
        run=ProberRun(
            stop_by_boottime_ns=boottime_ns() + left_s * 10**9,
            follow=ProberFollow(udp_port=port, tag=TAG),
        ),
        partner=HERE,
        traffic=rig.traffic,
        interrupt=rig.interrupt,
        chance=random.Random(1),
        steady=nullcontext,
        say=said.append,
    )
    follower.follow()
    return [IgiMessage.FromString(one) for one in said]


TAG = b"t" * igi_keys.TAG_BYTES


def test_a_follower_sends_what_is_ordered_until_its_partner_is_done(calm: Rig) -> None:
    arrivals = ArrivalSocket()
    (said,) = follow(calm, arrivals.port, left_s=60)
    found = list(arrivals.arrived(100))
    arrivals.close()
    assert (said.train_sent.train, len(said.train_sent.sent_steps_ns)) == (1, 10)
    heads = [igi_keys.probe_header(TAG, 1, number) for number in range(10)]
    assert [one.payload[: len(heads[0])] for one in found] == heads
    assert {len(one.payload) for one in found} == {200 - 28}


def test_a_follower_sends_nothing_after_its_time(calm: Rig) -> None:
    with pytest.raises(PeerStopped):
        follow(calm, 40000, left_s=0)
    assert calm.traffic.sent_packets == 0
