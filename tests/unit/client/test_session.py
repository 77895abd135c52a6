from __future__ import annotations

import itertools
from collections.abc import Callable

import attrs
import pytest

from emodis.client.finish import Finish, Way
from emodis.client.session import CANCEL_TIMEOUT_S, Session, make_session
from emodis.wire.v1.client_pb2 import Refused, ToClient
from emodis.wire.v1.common_pb2 import CODE_POLICY, CODE_VERSION, Goodbye, Refusal, Welcome


@attrs.define(eq=False)
class Rig:
    """A core that writes down what it was told to do."""

    did: list[str] = attrs.field(factory=list)
    left: Finish | None = None
    ended: Finish | None = None
    session: Session = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.session = make_session(self)

    def wait(self, seconds: float) -> None:
        self.did.append(f"wait {seconds:g}")

    def greet(self) -> None:
        self.did.append("greet")

    def ask(self, welcome: Welcome) -> None:
        self.did.append("ask")

    def heard(self) -> None:
        self.did.append("heard")

    def measure(self) -> None:
        self.did.append("measure")

    def tell(self, message: ToClient) -> None:
        self.did.append("tell")

    def cancel(self) -> None:
        self.did.append("cancel")

    def leave(self, finish: Finish) -> None:
        assert self.left is None
        self.left = finish

    def end(self, finish: Finish) -> None:
        assert self.ended is None
        self.ended = self.left or finish


Step = Callable[[Session], None]


def opened(session: Session) -> None:
    session.opened()


def welcomed(session: Session) -> None:
    session.welcomed(Welcome())


def turned_away(session: Session) -> None:
    session.turned_away(Refusal(text="no"))


def begun(session: Session) -> None:
    session.begun(ToClient())


def news(session: Session) -> None:
    session.news(ToClient())


def over(session: Session) -> None:
    session.over(ToClient())


def refused(session: Session) -> None:
    session.refused(Refused(code=CODE_POLICY, text="not there", hint="elsewhere"))


def alive(session: Session) -> None:
    session.alive()


def goodbye(session: Session) -> None:
    session.goodbye(Goodbye(text="shutting down"))


def lost(session: Session) -> None:
    session.lost("the line is dead")


def overdue(session: Session) -> None:
    session.overdue()


def interrupted(session: Session) -> None:
    session.interrupted()


WAY_TO: dict[str, list[Step]] = {
    "connecting": [],
    "greeting": [opened],
    "asking": [opened, welcomed],
    "measuring": [opened, welcomed, begun],
    "cancelling": [opened, welcomed, begun, interrupted],
    "leaving": [opened, turned_away],
    "done": [lost],
}
EVENTS: list[Step] = [
    opened,
    welcomed,
    turned_away,
    begun,
    news,
    over,
    refused,
    alive,
    goodbye,
    lost,
    overdue,
    interrupted,
]


def after(*steps: Step) -> Rig:
    rig = Rig()
    for step in steps:
        step(rig.session)
    return rig


def way(rig: Rig) -> Way | None:
    finish = rig.ended or rig.left
    return finish.way if finish is not None else None


@pytest.mark.parametrize("event", EVENTS, ids=lambda step: step.__name__)
@pytest.mark.parametrize("state", WAY_TO)
def test_every_pair_is_decided(state: str, event: Step) -> None:
    rig = after(*WAY_TO[state], event)
    # However it goes on: being left alone twice more always brings the end, once.
    for step in (overdue, overdue, lost):
        step(rig.session)
    assert rig.ended is not None


@pytest.mark.parametrize("first", EVENTS, ids=lambda step: step.__name__)
@pytest.mark.parametrize("state", WAY_TO)
def test_no_two_events_more_break_it(state: str, first: Step) -> None:
    for second, third in itertools.product(EVENTS, repeat=2):
        after(*WAY_TO[state], first, second, third)


def test_a_whole_conversation() -> None:
    rig = after(opened, welcomed, begun, news, alive, over)
    assert rig.did == [
        "wait 10",
        "greet",
        "wait 30",
        "ask",
        "measure",
        "tell",
        "tell",
        "heard",
        "tell",
    ]
    assert rig.left is not None
    assert rig.left.way is Way.COMPLETE
    lost(rig.session)
    assert rig.ended is rig.left


def test_a_version_refusal_prints_both_versions() -> None:
    rig = after(opened)
    rig.session.turned_away(Refusal(code=CODE_VERSION, protocol_min=7, protocol_max=9))
    assert rig.left is not None
    assert rig.left.text.startswith("the master speaks protocol version 7 to 9, this client 1;")


def test_a_refused_call_keeps_its_code_and_hint() -> None:
    rig = after(opened, welcomed, refused)
    assert rig.left == Finish(way=Way.REFUSED, text="not there", hint="elsewhere", code=CODE_POLICY)


def test_leaving_a_measurement_cancels_it_and_waits_for_what_is_on_its_way() -> None:
    rig = after(opened, welcomed, begun, interrupted)
    assert rig.did[-2:] == [f"wait {CANCEL_TIMEOUT_S:g}", "cancel"]
    assert rig.left is None
    news(rig.session)
    over(rig.session)
    assert rig.did[-2:] == ["tell", "tell"]
    assert way(rig) is Way.INTERRUPTED


def test_a_second_interrupt_leaves_at_once() -> None:
    rig = after(opened, welcomed, begun, interrupted, interrupted)
    assert rig.ended is not None
    assert rig.ended.way is Way.INTERRUPTED


def test_a_refused_cancel_still_waits_for_the_end() -> None:
    rig = after(opened, welcomed, begun, interrupted, refused)
    assert rig.left is None
    over(rig.session)
    assert way(rig) is Way.INTERRUPTED


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([lost], Way.UNREACHABLE),
        ([overdue], Way.UNREACHABLE),
        ([opened, lost], Way.UNREACHABLE),
        ([opened, overdue], Way.UNREACHABLE),
        ([opened, goodbye], Way.UNREACHABLE),
        ([opened, turned_away], Way.TURNED_AWAY),
        ([opened, news], Way.LOST),
        ([opened, welcomed, lost], Way.LOST),
        ([opened, welcomed, overdue], Way.LOST),
        ([opened, welcomed, welcomed], Way.LOST),
        ([opened, welcomed, begun, lost], Way.LOST),
        ([opened, welcomed, begun, goodbye], Way.LOST),
        ([opened, welcomed, begun, overdue], Way.OVERDUE),
        ([opened, welcomed, begun, interrupted, overdue], Way.INTERRUPTED),
        ([opened, welcomed, begun, interrupted, lost], Way.INTERRUPTED),
        ([opened, welcomed, interrupted], Way.INTERRUPTED),
        ([interrupted], Way.INTERRUPTED),
    ],
)
def test_how_it_ends(steps: list[Step], expected: Way) -> None:
    assert way(after(*steps)) is expected
