"""Trains from this host, as the agent of a run orders them: a prober sends, the reactor never does.

A prober has one run at a time. An agent whose conversation ends takes its run along; the next one's
begins when that has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import attrs
from twisted.internet.defer import Deferred

from emodis.client.desk import Prober
from emodis.client.talk import Talk
from emodis.techniques.base import Spend
from emodis.wire.v1.common_pb2 import END_DONE, Body, Outcome, Relay, RunKey, Target
from emodis.wire.v1.igi_pb2 import IgiDone, IgiMessage
from emodis.wire.v1.prober_pb2 import ProberFollow, ProberProgress, ProberRun

NS_PER_S = 1_000_000_000


@attrs.define(eq=False, kw_only=True)
class Pacer:
    """Of one measurement; `prober` is started already."""

    prober: Prober
    call: Body
    # No agent may have more sent, or take longer.
    worst: Spend
    boottime_ns: Callable[[], int]
    _talk: Talk | None = attrs.field(default=None, init=False)
    _run: RunKey | None = attrs.field(default=None, init=False)
    _waiting: tuple[Talk, IgiMessage] | None = attrs.field(default=None, init=False)
    _runs: int = attrs.field(default=0, init=False)

    def order(self, talk: Talk, order: IgiMessage) -> None:
        """An agent wants a train; the talk hears when it has left."""
        if self._run is None:
            self._begin(talk)
        if talk is not self._talk:
            # The run before is on its way out.
            self._waiting = (talk, order)
            return
        self._say(order)

    def left(self, talk: Talk) -> None:
        """Its conversation is over."""
        if talk is self._talk:
            self._talk = None
            self._say(IgiMessage(done=IgiDone()))
        if self._waiting is not None and talk is self._waiting[0]:
            self._waiting = None

    def _begin(self, talk: Talk) -> None:
        hello = talk.receiver.hello
        self._runs += 1
        self._talk, self._run = talk, RunKey(destination=self._runs)
        run = ProberRun(
            run=self._run,
            call=self.call,
            target=Target(address=ip_address(talk.hosts[0]).packed),
            stop_by_boottime_ns=self.boottime_ns() + round(self.worst.duration_s * NS_PER_S),
            max_bytes=self.worst.sent_bytes,
            budget_s=self.worst.duration_s,
            follow=ProberFollow(udp_port=hello.arrival_port, tag=talk.receiver.tag),
        )
        ending: Deferred[Outcome] = self.prober.run(run, _unheard, self._heard)
        _ = ending.addCallback(self._ended)

    def _say(self, message: IgiMessage) -> None:
        if self._run is not None:
            self.prober.relay(Relay(run=self._run, words=message.SerializeToString()))

    def _heard(self, relay: Relay) -> None:
        if self._talk is not None:
            self._talk.paced(IgiMessage.FromString(relay.words))

    def _ended(self, outcome: Outcome) -> None:
        talk, self._talk, self._run = self._talk, None, None
        if talk is not None and outcome.ending.end != END_DONE:
            talk.refuse(outcome.ending.reason)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.order(*waiting)


def _unheard(progress: ProberProgress) -> None:
    """The agent says how far the run is."""
