"""Trains from this host: whom a prober sends for, and what becomes of one whose agent leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed

from emodis.client.pacer import Pacer
from emodis.techniques.base import Spend
from emodis.techniques.igi import Igi
from emodis.wire.v1.common_pb2 import END_DONE, END_FAILED, End, Ending, Outcome, Relay, RunKey
from emodis.wire.v1.igi_pb2 import IgiHello, IgiMessage, IgiTrainSent, IgiTrainStart
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberReady, ProberRun

HERE = bytes([127, 0, 0, 1])


@attrs.define(eq=False)
class FakeProber:
    """Keeps what it is told; runs end when the test says so."""

    runs: list[ProberRun] = attrs.field(factory=list)
    heard: list[str] = attrs.field(factory=list)
    say: Callable[[Relay], None] | None = None
    ending: Deferred[Outcome] | None = None

    def start(self) -> Deferred[ProberReady]:
        raise AssertionError("it is started already")

    def run(
        self,
        run: ProberRun,
        on_progress: Callable[[ProberProgress], None],
        on_relay: Callable[[Relay], None] | None = None,
    ) -> Deferred[Outcome]:
        assert self.ending is None, "one run at a time"
        self.runs.append(run)
        self.say, self.ending = on_relay, Deferred()
        return self.ending

    def relay(self, relay: Relay) -> None:
        assert relay.run == self.runs[-1].run
        self.heard.append(str(IgiMessage.FromString(relay.words).WhichOneof("body")))

    def end(self, end: End.ValueType = END_DONE, reason: str = "") -> None:
        ending, self.ending = self.ending, None
        assert ending is not None
        ending.callback(Outcome(ending=Ending(end=end, reason=reason)))

    def abort(self, run: RunKey) -> None:
        raise AssertionError("a run ends by itself")

    def stop(self) -> Deferred[None]:
        return succeed(None)


@attrs.define(eq=False)
class Talk:
    """With an agent at this host."""

    port: int = 40000
    told: list[str] = attrs.field(factory=list)
    hosts: tuple[str, ...] = ("127.0.0.1",)

    @property
    def receiver(self) -> Any:
        return self

    @property
    def hello(self) -> IgiHello:
        return IgiHello(arrival_port=self.port)

    @property
    def tag(self) -> bytes:
        return b"12345678"

    def paced(self, message: IgiMessage) -> None:
        self.told.append(str(message.WhichOneof("body")))

    def refuse(self, reason: str) -> None:
        self.told.append(reason)


ORDER = IgiMessage(order=IgiTrainStart(train=1, packets=60, size_bytes=528))


@attrs.define
class Rig:
    prober: FakeProber = attrs.field(factory=FakeProber)
    pacer: Pacer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pacer = Pacer(
            prober=self.prober,
            call=Igi().call({"direction": "upstream"}),
            worst=Spend(duration_s=2.0, sent_bytes=5000),
            boottime_ns=lambda: 1_000_000_000,
        )

    def order(self, talk: Any) -> None:
        self.pacer.order(talk, ORDER)

    def left(self, talk: Any) -> None:
        self.pacer.left(talk)


def test_trains_of_one_agent_are_one_run_within_the_bounds_of_the_call() -> None:
    rig, talk = Rig(), Talk()
    rig.order(talk)
    rig.order(talk)
    (run,) = rig.prober.runs
    assert (run.target.address, run.follow.udp_port, run.follow.tag) == (HERE, 40000, talk.tag)
    assert (run.max_bytes, run.stop_by_boottime_ns) == (5000, 3_000_000_000)
    assert rig.prober.heard == ["order", "order"]
    assert rig.prober.say is not None
    sent = IgiMessage(train_sent=IgiTrainSent(train=1))
    rig.prober.say(Relay(run=run.run, words=sent.SerializeToString()))
    assert talk.told == ["train_sent"]


def test_the_next_agent_waits_until_the_run_of_the_one_before_has_ended() -> None:
    rig, before, after = Rig(), Talk(), Talk(port=50000)
    rig.order(before)
    rig.left(before)
    rig.order(after)
    assert rig.prober.heard == ["order", "done"]
    rig.prober.end()
    assert rig.prober.runs[-1].follow.udp_port == 50000
    assert rig.prober.heard == ["order", "done", "order"]
    assert before.told == []


def test_one_that_left_while_it_waited_gets_no_run() -> None:
    rig, before, after = Rig(), Talk(), Talk()
    rig.order(before)
    rig.left(before)
    rig.order(after)
    rig.left(after)
    rig.prober.end()
    assert len(rig.prober.runs) == 1


@pytest.mark.parametrize("reason", ["no_route", "budget_exceeded"])
def test_an_agent_is_told_that_this_host_cannot_send(reason: str) -> None:
    rig, talk = Rig(), Talk()
    rig.order(talk)
    rig.prober.end(END_FAILED, reason)
    assert talk.told == [reason]
