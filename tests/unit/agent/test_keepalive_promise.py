"""After a silent cut the agent gives up first, then the master, then the agent dials (DESIGN 3)."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.hello import KeepaliveTimes
from emodis.wire.v1.agent_pb2 import FromAgent, ToAgent
from emodis.wire.v1.common_pb2 import KeepaliveReply, Welcome
from tests.support.agents import AgentRig, Line

# A difference that is more than the rounding of floats.
TICK_S = 0.001


@st.composite
def fitting_times(draw: st.DrawFn) -> KeepaliveTimes:
    """Any five times that are allowed, down to the narrowest."""
    seconds = st.integers(1, 8_000).map(lambda ms: ms / 1000)
    interval_s, rtt_max_s, slack_s = 0.1 + draw(seconds), draw(seconds), draw(seconds)
    agent_timeout_s = interval_s + rtt_max_s + draw(seconds)
    master_timeout_s = agent_timeout_s + rtt_max_s + slack_s
    return KeepaliveTimes(
        interval_s=interval_s,
        agent_timeout_s=agent_timeout_s,
        master_timeout_s=master_timeout_s,
        reconnect_floor_s=master_timeout_s + interval_s + rtt_max_s - agent_timeout_s + TICK_S,
        rtt_max_s=rtt_max_s,
    )


@attrs.define(eq=False)
class ModelMaster:
    """The master's half: answers, and gives up `master_timeout_s` after the last sign of life."""

    clock: Clock
    times: KeepaliveTimes
    answer: Callable[[ToAgent], None]
    gave_up_at_s: float | None = None
    _timer: object = None
    _heard: int = 0

    def hear(self, message: FromAgent) -> None:
        if message.WhichOneof("body") == "hello":
            self.answer(ToAgent(welcome=self._welcome()))
        elif message.WhichOneof("body") == "keepalive":
            reply = KeepaliveReply(
                sequence=message.keepalive.sequence,
                master_clock_ns=round(self.clock.seconds() * 1e9),
            )
            self.answer(ToAgent(keepalive_reply=reply))
        else:
            return
        self._heard += 1
        self.clock.callLater(self.times.master_timeout_s, self._expire, self._heard)

    def _expire(self, heard: int) -> None:
        if heard == self._heard and self.gave_up_at_s is None:
            self.gave_up_at_s = self.clock.seconds()

    def _welcome(self) -> Welcome:
        return Welcome(
            protocol=1,
            session_id="s",
            master_clock_ns=round(self.clock.seconds() * 1e9),
            **attrs.asdict(self.times),
        )


@attrs.define(eq=False)
class World:
    """An agent, a master, and a line that delays, keeps the order, and is cut without a word."""

    times: KeepaliveTimes
    delays: Callable[[], float]
    # How much of rtt_max the way up may take; the rest is for the way down.
    share_up: float
    cut_at_s: float
    rig: AgentRig = attrs.field(factory=AgentRig)
    master: ModelMaster = attrs.field(init=False)
    line: Line | None = None
    gave_up_at_s: float | None = None
    _last_up_s: float = 0.0
    _last_down_s: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.master = ModelMaster(self.rig.clock, self.times, self._down)

    def run(self) -> None:
        """Until the agent dials for the second time."""
        reader = FrameReader()
        world = self

        class Transport(StringTransport):
            def write(self, data: bytes) -> None:
                for frame in reader.feed(data):
                    world._up(FromAgent.FromString(frame))

            def abortConnection(self) -> None:  # noqa: N802
                super().abortConnection()
                world.gave_up_at_s = world.gave_up_at_s or world.rig.clock.seconds()

        self.rig.daemon.start()
        transport = Transport(peerAddress=IPv4Address("TCP", "127.0.0.1", 4710))
        self.line = self.rig.endpoint.accept(transport)
        clock = self.rig.clock
        for _ in range(100_000):
            if self.rig.endpoint.attempts or not clock.getDelayedCalls():
                return
            due_s = min(call.getTime() for call in clock.getDelayedCalls())
            clock.advance(max(0.0, due_s - clock.seconds()))
        raise AssertionError("it never came back")

    def _up(self, message: FromAgent) -> None:
        self._last_up_s = self._carry(
            self.share_up, self._last_up_s, lambda: self.master.hear(message)
        )

    def _down(self, message: ToAgent) -> None:
        frame = encode_frame(message.SerializeToString())
        self._last_down_s = self._carry(
            1 - self.share_up, self._last_down_s, lambda: self._deliver(frame)
        )

    def _deliver(self, frame: bytes) -> None:
        assert self.line is not None
        self.line.wire.dataReceived(frame)

    def _carry(self, share: float, last_s: float, deliver: Callable[[], None]) -> float:
        now_s = self.rig.clock.seconds()
        delay_s = self.delays() * share * (self.times.rtt_max_s - TICK_S / 2)
        arrival_s = max(last_s, now_s + delay_s)
        if arrival_s < self.cut_at_s:
            self.rig.clock.callLater(arrival_s - now_s, deliver)
        return arrival_s


@given(
    times=fitting_times(),
    delays=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    share_up=st.floats(0, 1),
    cut_after=st.floats(0.0, 6.0),
)
@settings(max_examples=40)
def test_agent_first_then_master_then_the_agent_again(
    times: KeepaliveTimes, delays: list[float], share_up: float, cut_after: float
) -> None:
    drawn = iter(delays * 10_000)
    # At least late enough for the Welcome to arrive: before it there is no session.
    cut_at_s = times.rtt_max_s + cut_after * times.interval_s
    world = World(times=times, delays=lambda: next(drawn), share_up=share_up, cut_at_s=cut_at_s)
    world.run()
    assert world.gave_up_at_s is not None
    assert world.master.gave_up_at_s is not None
    assert world.gave_up_at_s >= cut_at_s - times.rtt_max_s
    back_at_s = world.rig.clock.seconds()
    assert world.gave_up_at_s < world.master.gave_up_at_s < back_at_s
