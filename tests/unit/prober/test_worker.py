"""The worker with a transport that sends nothing and techniques made for the occasion."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any, cast

import attrs
import pytest
from google.protobuf.message import Message

from emodis.packets.clocks import boottime_ns, monotonic_ns
from emodis.packets.model import Address, Echo, Kind, Probe, Train, TrainOutcome
from emodis.packets.transport import (
    ClockStep,
    Interrupt,
    NoRoute,
    PacketTooBig,
    SendFailed,
    Stop,
    Traffic,
    Transport,
)
from emodis.prober.access import NO_RAW_SOCKETS
from emodis.prober.capture import UNABLE
from emodis.prober.protocol import Channel
from emodis.prober.worker import LARGEST_OBSERVATIONS_BYTES, Worker
from emodis.techniques.base import (
    BadParameters,
    Context,
    Conversation,
    Conversational,
    Measured,
)
from emodis.techniques.registry import UnknownTechnique
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.v1.common_pb2 import (
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    TRANSPORT_UNPRIVILEGED,
    Body,
    Ending,
    Outcome,
    Quality,
    RunKey,
    Target,
)
from emodis.wire.v1.prober_pb2 import FromProber, ProberAbort, ProberRun, ToProber

THERE = IPv4Address("203.0.113.9")
KEY = RunKey(measurement_id="m", destination=3)
TRAIN = Train(kind=Kind.UDP, probes=(Probe(ttl=1, size_bytes=60),), wait_ns=1)


@attrs.define
class FakeTransport:
    """Every probe leaves and none is answered, unless `fails` says otherwise."""

    fails: Exception | None = None
    stops: Stop | None = None
    trains: list[tuple[int, Train]] = attrs.field(factory=list)
    during: Callable[[], None] = attrs.field(default=lambda: None)
    log: list[str] = attrs.field(factory=list)
    traffic: Traffic = attrs.field(factory=Traffic)
    tx_stamp: str = "kernel"
    rx_stamp: str = "kernel"
    families: frozenset[int] = frozenset({4, 6})
    can_mute: bool = True

    def begin(self, address: Address, *, max_bytes: int) -> None:
        self.traffic = Traffic()
        self.log.append(f"begin {address} {max_bytes}")

    def exchange(
        self, train: Train, *, stop_by_boottime_ns: int, interrupt: Interrupt
    ) -> TrainOutcome:
        self.trains.append((monotonic_ns(), train))
        self.during()
        if self.fails is not None:
            raise self.fails
        self.traffic.sent_packets += len(train.probes)
        self.traffic.started_unix_ns = self.traffic.started_unix_ns or 1
        self.traffic.train_started_ns = monotonic_ns()
        self.traffic.stopped_by = self.stops
        echoes = tuple(Echo(sent_ns=1, reply=None) for _ in train.probes)
        return TrainOutcome(
            echoes=echoes, kernel_tx=True, kernel_rx=True, cut_short=self.stops is not None
        )

    def end(self) -> None:
        self.log.append("end")

    def close(self) -> None:
        self.log.append("close")


Talk = Callable[[Body, Context], Conversation]


@attrs.define
class FakeTechnique:
    talk: Talk
    NAME: str = "fake"
    SCHEMA: int = 2

    def conversation(self, call: Body, context: Context) -> Conversation:
        return self.talk(call, context)


def measured(observations: Message | None = None) -> Measured:
    return Measured(
        ending=Ending(end=END_DONE),
        result=Target(name="the result"),
        observations=observations or Target(name="seen"),
        quality=Quality(word=Quality.WORD_GOOD),
    )


def trains(*wanted: Train, end: Measured | None = None) -> Talk:
    def talk(call: Body, context: Context) -> Conversation:
        for train in wanted:  # noqa: UP028 - a tuple's iterator takes no outcome
            yield train
        return end or measured()

    return talk


class OneRun(Channel):
    """A daemon that is gone as soon as its run is done."""

    def send(self, message: FromProber) -> None:
        super().send(message)
        self.closed = self.closed or message.HasField("done")


@attrs.define
class Rig:
    daemon: socket.socket
    channel: Channel
    transport: FakeTransport = attrs.field(factory=FakeTransport)
    chance: random.Random = attrs.field(factory=lambda: random.Random(1))

    def messages(self, talk: Talk, **run: Any) -> list[FromProber]:
        """Have one run done; all that the worker said."""
        fields: dict[str, Any] = {
            "run": KEY,
            "call": Body(technique="fake", schema=2),
            "target": Target(address=THERE.packed),
            "stop_by_boottime_ns": boottime_ns() + 60_000_000_000,
            **run,
        }

        def lookup(name: str) -> Conversational:
            if name != "fake":
                raise UnknownTechnique(f"there is no technique {name!r}")
            return cast("Conversational", FakeTechnique(talk))

        self.tell(ToProber(run=ProberRun(**fields)))
        transport = cast("Transport", self.transport)
        Worker(self.channel, transport, lookup, self.chance).serve()
        data = b""
        with suppress(BlockingIOError):
            while chunk := self.daemon.recv(1 << 20, socket.MSG_DONTWAIT):
                data += chunk
        return [FromProber.FromString(frame) for frame in FrameReader().feed(data)]

    def tell(self, message: ToProber) -> None:
        self.daemon.sendall(encode_frame(message.SerializeToString()))

    def outcome(self, talk: Talk, **run: Any) -> Outcome:
        """How the run ended."""
        last = self.messages(talk, **run)[-1]
        assert last.done.run == KEY
        return last.done.outcome


@pytest.fixture
def rig() -> Iterator[Rig]:
    daemon, worker = socket.socketpair()
    with daemon, worker:
        # The whole outcome fits, for nobody reads while the worker writes.
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        yield Rig(daemon, OneRun(worker))


def test_it_says_that_it_is_ready_before_anything_else(rig: Rig) -> None:
    ready = rig.messages(trains(TRAIN))[0].ready
    assert (ready.tx_stamp, ready.rx_stamp, ready.families) == ("kernel", "kernel", 3)
    assert ready.pid > 0


def test_a_conversation_is_driven_to_its_end(rig: Rig) -> None:
    seen: list[object] = []

    def talk(call: Body, context: Context) -> Conversation:
        seen.append(context.address)
        outcome = yield TRAIN
        seen.append(len(outcome.echoes))
        return measured()

    outcome = rig.outcome(talk, max_bytes=500)
    assert seen == [THERE, 1]
    assert outcome.ending.end == END_DONE
    assert (outcome.result.technique, outcome.result.schema) == ("fake", 2)
    assert Target.FromString(outcome.result.body).name == "the result"
    assert Target.FromString(outcome.observations).name == "seen"
    assert outcome.cost.sent_packets == 1
    assert outcome.started_unix_ns == 1
    assert outcome.duration_ns > 0
    assert rig.transport.log == [f"begin {THERE} 500", "end"]


def test_seeds_differ_between_runs(rig: Rig) -> None:
    seeds: list[int] = []

    def talk(call: Body, context: Context) -> Conversation:
        seeds.append(context.seed)
        yield TRAIN
        return measured()

    rig.messages(talk)
    rig.channel.closed = False
    rig.messages(talk)
    assert len(set(seeds)) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoRoute("no way"), "no_route"),
        (SendFailed(105, "no room"), "send_failed(ENOBUFS)"),
        (PacketTooBig("too long"), "packet_too_big"),
        (ClockStep("set"), "clock_step"),
        (ValueError("a TTL of 0"), "prober_crashed"),
        (MemoryError(), "prober_crashed"),
    ],
)
def test_whatever_the_transport_raises_is_an_outcome(
    rig: Rig, error: Exception, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.transport.fails = error
    outcome = rig.outcome(trains(TRAIN))
    assert (outcome.ending.end, outcome.ending.reason) == (END_FAILED, reason)
    assert outcome.ending.hint
    assert rig.transport.log[-1] == "end"
    assert len(capfd.readouterr().err.splitlines()) <= 1


def test_a_technique_that_raises_costs_one_line(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    def talk(call: Body, context: Context) -> Conversation:
        yield TRAIN
        raise RuntimeError("two\nlines")

    outcome = rig.outcome(talk)
    assert outcome.ending.reason == "prober_crashed"
    assert "RuntimeError: two lines" in outcome.ending.hint
    assert outcome.cost.sent_packets == 1
    assert capfd.readouterr().err == "prober: fake: RuntimeError: two lines\n"


def test_bad_parameters_say_which(rig: Rig) -> None:
    def talk(call: Body, context: Context) -> Conversation:
        raise BadParameters("count 0 is outside 1..1000")

    ending = rig.outcome(talk).ending
    assert (ending.reason, ending.hint) == ("bad_params", "count 0 is outside 1..1000")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"call": Body(technique="nonsense", schema=2)}, "unknown_technique"),
        ({"call": Body(technique="fake", schema=3)}, "unknown_schema"),
        ({"target": Target(address=b"abc")}, "bad_params"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(
    rig: Rig, fields: dict[str, Any], reason: str
) -> None:
    outcome = rig.outcome(trains(TRAIN), **fields)
    assert (outcome.ending.end, outcome.ending.reason) == (END_FAILED, reason)
    assert rig.transport.trains == []


def test_the_cost_of_the_run_before_is_not_charged_again(rig: Rig) -> None:
    rig.messages(trains(TRAIN))
    rig.channel.closed = False
    outcome = rig.outcome(trains(TRAIN), target=Target(address=b"abc"))
    assert outcome.cost.sent_packets == 0
    assert outcome.started_unix_ns == 0


@pytest.mark.parametrize(
    ("stop", "end", "reason"),
    [
        (Stop.STOP_BY, END_EXPIRED, "stop_by"),
        (Stop.BYTE_CAP, END_FAILED, "budget_exceeded"),
    ],
)
def test_a_train_cut_short_ends_the_run(rig: Rig, stop: Stop, end: int, reason: str) -> None:
    rig.transport.stops = stop
    outcome = rig.outcome(trains(TRAIN, TRAIN))
    assert (outcome.ending.end, outcome.ending.reason) == (end, reason)
    assert len(rig.transport.trains) == 1


def test_an_abort_during_a_train_ends_the_run(rig: Rig) -> None:
    rig.transport.during = lambda: rig.tell(ToProber(abort=ProberAbort(run=KEY)))
    outcome = rig.outcome(trains(TRAIN, TRAIN))
    assert outcome.ending.end == END_CANCELLED
    assert len(rig.transport.trains) == 1


def test_an_abort_ends_the_wait_for_the_next_train(rig: Rig) -> None:
    later = attrs.evolve(TRAIN, not_before_ns=10**12)
    rig.tell(ToProber(abort=ProberAbort(run=RunKey(measurement_id="another"))))
    rig.transport.during = lambda: rig.tell(ToProber(abort=ProberAbort(run=KEY)))
    assert rig.outcome(trains(TRAIN, later)).ending.end == END_CANCELLED


def test_a_daemon_that_is_gone_ends_the_run(rig: Rig) -> None:
    rig.transport.during = lambda: rig.daemon.shutdown(socket.SHUT_WR)
    rig.messages(trains(TRAIN, TRAIN))
    assert len(rig.transport.trains) == 1


def test_a_train_is_held_back_until_its_time(rig: Rig) -> None:
    later = attrs.evolve(TRAIN, not_before_ns=3_000_000)
    rig.messages(trains(TRAIN, later))
    (first_ns, _), (second_ns, _) = rig.transport.trains
    assert second_ns - first_ns >= 3_000_000


def test_a_train_whose_time_is_after_stop_by_is_not_waited_for(rig: Rig) -> None:
    later = attrs.evolve(TRAIN, not_before_ns=10**12)
    outcome = rig.outcome(trains(TRAIN, later), stop_by_boottime_ns=boottime_ns() + 5_000_000)
    assert (outcome.ending.end, outcome.ending.reason) == (END_EXPIRED, "stop_by")


def test_progress_is_told_at_most_once_a_second(rig: Rig) -> None:
    many = [attrs.evolve(TRAIN, progress=(index, 50)) for index in range(50)]
    messages = rig.messages(trains(*many))
    assert not any(message.HasField("progress") for message in messages)


def test_progress_carries_what_it_has_cost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emodis.prober.worker.PROGRESS_INTERVAL_NS", 0)
    silent = attrs.evolve(TRAIN)
    told = attrs.evolve(TRAIN, progress=(2, 3))
    progress = [m.progress for m in rig.messages(trains(silent, told)) if m.HasField("progress")]
    assert [(p.done, p.total, p.cost.sent_packets) for p in progress] == [(2, 3, 2)]
    assert progress[0].run == KEY


def test_observations_that_are_too_large_are_left_out_and_it_says_so(rig: Rig) -> None:
    end = measured(Target(address=bytes(LARGEST_OBSERVATIONS_BYTES)))
    outcome = rig.outcome(trains(TRAIN, end=end))
    assert outcome.ending.end == END_DONE
    assert outcome.observations == b""
    assert outcome.quality.reasons == ["The raw observations were too large to be kept."]


def test_a_result_that_fits_no_frame_is_a_failure(rig: Rig) -> None:
    end = attrs.evolve(measured(), result=Target(address=bytes(1 << 20)))
    assert rig.outcome(trains(TRAIN, end=end)).ending.reason == "prober_crashed"


@pytest.mark.parametrize("pcap_path", ["/nowhere", ""])
def test_what_is_wrong_with_a_capture_is_said_beside_the_outcome(rig: Rig, pcap_path: str) -> None:
    """Whoever asked for the run must not learn that the operator of this host captures it."""
    done = rig.messages(trains(TRAIN), pcap_path=pcap_path)[-1].done
    assert done.outcome.ending.end == END_DONE
    assert not done.outcome.quality.reasons
    assert done.capture_remark == (UNABLE if pcap_path else "")


def test_a_remark_on_one_capture_is_none_on_the_next(rig: Rig) -> None:
    rig.messages(trains(TRAIN), pcap_path="/nowhere")
    rig.channel.closed = False
    assert not rig.messages(trains(TRAIN))[-1].done.capture_remark


def test_without_raw_sockets_it_says_so_in_every_word(rig: Rig) -> None:
    rig.transport.can_mute = False
    mutes: list[bool] = []

    def talk(call: Body, context: Context) -> Conversation:
        mutes.append(context.can_mute)
        yield TRAIN
        return measured()

    ready, *_, last = rig.messages(talk)
    assert list(ready.ready.transports) == [TRANSPORT_UNPRIVILEGED]
    assert ready.ready.remarks[0] == NO_RAW_SOCKETS
    assert last.done.outcome.transport == TRANSPORT_UNPRIVILEGED
    assert mutes == [False]
