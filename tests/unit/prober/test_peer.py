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

from emodis.packets.arrivals import ArrivalSocket
from emodis.packets.clocks import boottime_ns, monotonic_ns
from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.packets.transport import Traffic
from emodis.prober import peer
from emodis.prober.peer import Partnership, PeerConversation, PeerFailed, PeerStopped
from emodis.techniques import igi_keys
from emodis.techniques.base import Context, Measured
from emodis.techniques.igi import Igi
from emodis.techniques.igi_receiver import Receiver
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.v1.common_pb2 import END_FAILED, Ending, PeerOffer, Quality, RunKey
from emodis.wire.v1.igi_pb2 import IgiAbort, IgiMessage, IgiObservations
from emodis.wire.v1.prober_pb2 import ProberRun

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

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def waiting(self) -> bool:
        return self.wanted

    def fire(self) -> None:
        self.wanted = True
        self.ends[1].send(b"!")


@attrs.define
class Rig:
    interrupt: Interrupt = attrs.field(factory=Interrupt)
    traffic: Traffic = attrs.field(factory=Traffic)
    reported: list[PacedTrain] = attrs.field(factory=list)
    outcomes: list[PacedOutcome] = attrs.field(factory=list)
    max_bytes: int = 0
    # In place of two trains.
    conversation: PeerConversation | None = None

    def talk(self) -> Generator[PacedTrain, PacedOutcome, Measured]:
        for _ in range(2):
            self.outcomes.append((yield TRAIN))
        return Measured(
            ending=Ending(), result=None, observations=IgiObservations(), quality=Quality()
        )

    def measure(self, port: int, token: bytes = igi_keys.run_token(TOKEN, RUN)) -> Measured:
        run = ProberRun(
            run=RUN,
            stop_by_boottime_ns=boottime_ns() + 60 * 10**9,
            max_bytes=self.max_bytes,
            peer=PeerOffer(tcp_port=port, token=token),
        )
        partnership = Partnership(
            run=run,
            partner=HERE,
            traffic=self.traffic,
            interrupt=self.interrupt,
            chance=random.Random(1),
            report=self.reported.append,
            steady=nullcontext,
        )
        try:
            return partnership.measure(self.conversation or self.talk())
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


def failure(script: Script, **given: bytes) -> PeerFailed:
    rig = Rig()
    with listening(script) as port, pytest.raises(PeerFailed) as caught:
        rig.measure(port, **given)
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
    monkeypatch.setattr(peer, "READY_WITHIN_NS", 100_000_000)

    def silent(far: Far) -> None:
        far.hear()
        assert far.sock.recv(1) == b""

    assert failure(silent).reason == "peer_gone"


@pytest.mark.parametrize(
    "words", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x04\xff\xff\xff\xff", encode_frame(b"")]
)
def test_a_partner_that_talks_nonsense(words: bytes) -> None:
    def babble(far: Far) -> None:
        far.greet()
        far.hear()
        far.sock.sendall(words)

    assert failure(babble).reason == "peer_protocol"


def test_a_partner_that_does_not_know_the_token() -> None:
    def pretend(far: Far) -> None:
        hello = far.hear()
        ready = IgiMessage()
        ready.ready.udp_port, ready.ready.max_packets = 40000, 512
        ready.ready.proof = hello.hello.proof
        far.say(ready)

    assert failure(pretend).reason == "peer_protocol"


@pytest.mark.parametrize(
    ("said", "reason"), [("auth_failed", "auth_failed"), ("superseded", "client_refused")]
)
def test_a_partner_that_breaks_it_off(said: str, reason: str) -> None:
    def refuse(far: Far) -> None:
        far.hear()
        far.say(IgiMessage(abort=IgiAbort(reason=said)))

    assert failure(refuse).reason == reason


@pytest.mark.parametrize(("port", "token"), [(80, bytes(16)), (0, bytes(16)), (40000, b"")])
def test_an_offer_that_is_none_is_not_followed(port: int, token: bytes) -> None:
    with pytest.raises(PeerFailed) as caught:
        Rig().measure(port, token)
    assert caught.value.reason == "bad_params"


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
