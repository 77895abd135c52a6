from __future__ import annotations

import io

import attrs
import pytest

from emodis.client.live import LiveView, PlainView, State, view
from emodis.wire.v1.client_pb2 import (
    RUN_STATE_ASSIGNED,
    RUN_STATE_RUNNING,
    Progress,
    RunState,
    ToClient,
)
from emodis.wire.v1.common_pb2 import RunKey
from tests.unit.client.builders import accepted, call, ping, result, selected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@attrs.define
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def progress(
    agent: str,
    done: int,
    total: int,
    state: RunState.ValueType = RUN_STATE_RUNNING,
    *,
    discovery: bool = False,
) -> ToClient:
    run = RunKey(agent_id=agent)
    return ToClient(
        progress=Progress(run=run, state=state, done=done, total=total, discovery=discovery)
    )


def one(agent: str) -> ToClient:
    return ToClient(result=result(agent, ping()))


def test_what_the_line_says() -> None:
    state = State()
    assert state.words() == "waiting for the master…"
    told = accepted(call("ping"))
    told.accepted.discovery_s = 12
    state.take(told)
    assert state.words() == "looking at the routes to choose agents…"
    state.take(progress("a", 3, 3, discovery=True))
    state.take(selected("a", "b"))
    assert state.words() == "0 of 2 runs in"
    state.take(progress("a", 0, 0, RUN_STATE_ASSIGNED))
    assert state.words() == "0 of 2 runs in"
    state.take(progress("a", 3, 10))
    state.take(progress("b", 0, 10))
    assert state.words() == "0 of 2 runs in, 2 running, 15 %"
    state.take(one("a"))
    assert state.words() == "1 of 2 runs in, 1 running, 0 %"
    state.take(one("b"))
    assert state.words() == "2 of 2 runs in"


def test_results_that_are_read_back_have_no_plan() -> None:
    state = State()
    state.take(one("a"))
    assert state.words() == "1 run in"


def test_plain_lines_come_seldom() -> None:
    out, clock = io.StringIO(), Clock()
    shown = PlainView(out, clock)
    shown.take(selected("a", "b", "c", "d"))
    for agent in "abc":
        shown.take(one(agent))
        clock.now_s += 0.5
    shown.take(one("d"))
    shown.close()
    assert out.getvalue().splitlines() == [
        "4 agents, about 20 s, about 1.0 MB",
        "they cover 3 of 3 known edge routes",
        "1 of 4 runs in",
        "4 of 4 runs in",
    ]


def test_verbose_says_who_and_why() -> None:
    out = io.StringIO()
    shown = PlainView(out, Clock(), verbose=True)
    shown.take(accepted(call("ping")))
    shown.take(selected("ams"))
    assert "measurement m-1" in out.getvalue()
    assert "ams (AS 65001): covers 1 of 3 branches" in out.getvalue()


def test_what_no_agent_covers_is_said_to_everybody() -> None:
    out = io.StringIO()
    told = selected("a")
    told.selected.branches_known, told.selected.branches_covered = 3, 2
    told.selected.uncovered.append("10.9.0.1 → w1")
    PlainView(out, Clock()).take(told)
    assert "they cover 2 of 3 known edge routes" in out.getvalue()
    assert "not covered: 10.9.0.1 → w1" in out.getvalue()


def test_a_terminal_gets_its_line_and_gets_it_back() -> None:
    out = Terminal()
    shown = view(out, {"TERM": "xterm"}, Clock())
    assert isinstance(shown, LiveView)
    shown.take(selected("a"))
    shown.take(one("a"))
    shown.close()
    shown.close()
    text = out.getvalue()
    assert "1 agent, about 20 s" in text
    assert "\x1b[2K" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


@pytest.mark.parametrize(
    ("terminal", "environ"),
    [
        (False, {"TERM": "xterm"}),
        (True, {"TERM": "xterm", "CI": "true"}),
        (True, {"TERM": "dumb"}),
        (True, {}),
    ],
)
def test_elsewhere_lines_are_plain(terminal: bool, environ: dict[str, str]) -> None:
    out = Terminal() if terminal else io.StringIO()
    shown = view(out, environ, Clock())
    shown.take(selected("a"))
    shown.take(one("a"))
    shown.close()
    assert "\x1b" not in out.getvalue()


def test_ci_can_be_denied() -> None:
    assert isinstance(view(Terminal(), {"TERM": "xterm", "CI": "false"}, Clock()), LiveView)


def test_a_place_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    told = selected("a")
    told.selected.agents[0].place = "\x1b[2Jnowhere\r\n"
    PlainView(out, Clock(), verbose=True).take(told)
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 3


def test_what_a_plan_has_asked_for_is_over_when_its_last_step_is_done() -> None:
    state = State()
    state.take(selected("a", runs_total=1))
    state.take(progress("a", 2, 5))
    assert state.words() == "0 of 1 run in, 1 running, 40 %"
    state.take(progress("a", 5, 5))
    assert state.words() == "0 of 1 run in"


def test_explained_it_says_what_each_agent_covers() -> None:
    out = io.StringIO()
    told = view(out, {}, Clock(), explain=True)
    message = selected("a")
    message.selected.agents[0].new_branches.append("to w1: 10.1.0.1 → 10.6.0.2")
    told.take(message)
    assert "  a (AS 65001): covers 1 of 3 branches\n    to w1: 10.1.0.1" in out.getvalue()
