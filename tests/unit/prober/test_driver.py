"""The driver against a real process that stands in for the worker and misbehaves in many ways."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel, capturedLogs, formatEvent

from emodis.packets.clocks import boottime_ns
from emodis.prober import driver
from emodis.prober.driver import Prober, ProberUnavailable
from emodis.wire.v1.common_pb2 import (
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    Relay,
    RunKey,
)
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberRun
from tests.support.reactor import on_reactor

T = TypeVar("T")
FAKE = Path(__file__).with_name("fake_worker.py")
PATIENCE_S = 30


def the_reactor() -> object:
    from twisted.internet import reactor  # noqa: TID251 - real processes need the real one

    return reactor


def prober(mode: str) -> Prober:
    return Prober(the_reactor(), label="test", command=(sys.executable, str(FAKE), mode))


def a_run(number: int = 0, stop_in_s: float = 600.0) -> ProberRun:
    return ProberRun(
        run=RunKey(measurement_id="m", destination=number),
        stop_by_boottime_ns=boottime_ns() + int(stop_in_s * 1e9),
    )


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """No test waits for ever."""
    return deferred.addTimeout(PATIENCE_S, IReactorTime(the_reactor()))


def is_gone(pid: int | None) -> bool:
    assert pid is not None
    return not Path(f"/proc/{pid}").exists()


@on_reactor
async def test_a_run_is_done_and_its_progress_is_heard() -> None:
    made = prober("good")
    ready = await soon(made.start())
    assert (ready.pid, ready.tx_stamp) == (made.pid, "kernel")
    heard: list[ProberProgress] = []
    waiting = made.run(a_run(), heard.append)
    during = made.busy
    outcome = await soon(waiting)
    assert outcome.ending.end == END_DONE
    assert [progress.done for progress in heard] == [1, 2]
    assert during == a_run().run
    assert made.busy is None
    pid = made.pid
    await soon(made.stop())
    assert is_gone(pid)


@on_reactor
async def test_remarks_on_captures_are_heard_once_and_are_no_part_of_the_outcome() -> None:
    heard: list[str] = []
    command = (sys.executable, str(FAKE), "good")
    made = Prober(the_reactor(), label="test", command=command, on_remark=heard.append)
    await soon(made.start())
    for path in ("x", "x", "", "x"):
        run = a_run()
        run.pcap_path = path
        outcome = await soon(made.run(run))
        assert not outcome.quality.reasons
    await soon(made.stop())
    assert heard == ["the disk is full, says x"] * 2


@on_reactor
async def test_remarks_on_captures_are_logged_where_nobody_else_hears_them() -> None:
    made = prober("good")
    await soon(made.start())
    run = a_run()
    run.pcap_path = "x"
    with capturedLogs() as logged:
        await soon(made.run(run))
    await soon(made.stop())
    (event,) = [event for event in logged if event["log_level"] is LogLevel.warn]
    assert formatEvent(event) == "the test prober: the disk is full, says x"


@on_reactor
async def test_many_runs_use_one_process() -> None:
    made = prober("good")
    await soon(made.start())
    pid = made.pid
    for number in range(5):
        assert (await soon(made.run(a_run(number)))).ending.end == END_DONE
    assert made.pid == pid
    await soon(made.stop())


@on_reactor
async def test_a_listener_that_raises_does_no_harm() -> None:
    def raises(progress: ProberProgress) -> None:
        raise ValueError("not our fault")

    made = prober("good")
    await soon(made.start())
    assert (await soon(made.run(a_run(), raises))).ending.end == END_DONE
    await soon(made.stop())


@on_reactor
async def test_a_host_without_raw_sockets_is_told_in_one_line() -> None:
    made = prober("no-start")
    with pytest.raises(ProberUnavailable, match=r"^raw sockets need root or CAP_NET_RAW$"):
        await soon(made.start())
    assert (await made.run(a_run())).ending.reason == "prober_unavailable"
    await soon(made.stop())


@on_reactor
async def test_a_command_that_does_not_exist_is_told() -> None:
    made = Prober(the_reactor(), label="test", command=("/nonexistent/python",))
    with pytest.raises(ProberUnavailable):
        await soon(made.start())


@on_reactor
async def test_a_process_that_never_gets_ready_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "START_DEADLINE_S", 0.1)
    made = prober("never-ready")
    waiting = soon(made.start())
    pid = made.pid
    with pytest.raises(ProberUnavailable, match="not ready within"):
        await waiting
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("mode", "detail"),
    [
        ("crash", "something broke"),
        ("garbage", "garbage"),
        ("oversized", "garbage"),
        ("empty", "garbage"),
        ("hang-up", "died"),
    ],
)
@on_reactor
async def test_a_process_that_breaks_down_fails_its_run_and_is_replaced(
    mode: str, detail: str
) -> None:
    made = prober(mode)
    await soon(made.start())
    for _ in range(2):
        # The second round waits for another process.
        pid = made.pid
        outcome = await soon(made.run(a_run()))
        assert (outcome.ending.end, outcome.ending.reason) == (END_FAILED, "prober_crashed")
        assert detail in outcome.ending.hint
        assert outcome.cost.sent_packets == (5 if mode == "crash" else 0)
        assert pid is None or is_gone(pid)
    await soon(made.stop())


@on_reactor
async def test_one_that_is_killed_is_replaced() -> None:
    made = prober("deaf")
    await soon(made.start())
    waiting = made.run(a_run())
    assert made.pid is not None
    os.kill(made.pid, 9)
    assert (await soon(waiting)).ending.reason == "prober_crashed"
    await soon(made.stop())


@on_reactor
async def test_an_abort_is_confirmed_by_the_process() -> None:
    made = prober("obedient")
    await soon(made.start())
    pid = made.pid
    waiting = made.run(a_run(1))
    made.abort(a_run(2).run)
    made.abort(a_run(1).run)
    made.abort(a_run(1).run)
    assert (await soon(waiting)).ending.end == END_CANCELLED
    assert made.pid == pid
    await soon(made.stop())


@on_reactor
async def test_one_that_does_not_confirm_an_abort_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "ABORT_DEADLINE_S", 0.1)
    made = prober("deaf")
    await soon(made.start())
    pid = made.pid
    waiting = made.run(a_run())
    made.abort(a_run().run)
    assert (await soon(waiting)).ending.end == END_CANCELLED
    assert is_gone(pid)
    await soon(made.stop())


@on_reactor
async def test_one_that_is_silent_past_its_deadline_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "STUCK_GRACE_S", 0.1)
    made = prober("deaf")
    await soon(made.start())
    outcome = await soon(made.run(a_run(stop_in_s=0.1)))
    await soon(made.stop())
    assert (outcome.ending.end, outcome.ending.reason) == (END_EXPIRED, "prober_stuck")


@on_reactor
async def test_a_second_run_is_turned_away_and_the_first_goes_on() -> None:
    made = prober("obedient")
    await soon(made.start())
    first = made.run(a_run(1))
    assert (await made.run(a_run(2))).ending.reason == "prober_busy"
    made.abort(a_run(1).run)
    assert (await soon(first)).ending.end == END_CANCELLED
    await soon(made.stop())


@on_reactor
async def test_a_run_may_be_given_while_the_process_starts() -> None:
    made = prober("good")
    started = made.start()
    outcome = await soon(made.run(a_run()))
    assert outcome.ending.end == END_DONE
    await started
    await soon(made.stop())


@on_reactor
async def test_a_run_that_waits_for_the_process_can_be_called_off() -> None:
    made = prober("good")
    started = made.start()
    waiting = made.run(a_run())
    made.abort(a_run().run)
    assert (await soon(waiting)).ending.end == END_CANCELLED
    await soon(started)
    await soon(made.stop())


@on_reactor
async def test_stopping_ends_the_run_in_work() -> None:
    made = prober("obedient")
    await soon(made.start())
    waiting = made.run(a_run())
    pid = made.pid
    await soon(made.stop())
    assert (await soon(waiting)).ending.end == END_CANCELLED
    assert is_gone(pid)
    assert (await made.run(a_run())).ending.reason == "prober_unavailable"
    await soon(made.stop())


@on_reactor
async def test_one_that_does_not_exit_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "STOP_DEADLINE_S", 0.1)
    made = prober("clinging")
    await soon(made.start())
    pid = made.pid
    await soon(made.stop())
    assert is_gone(pid)


@on_reactor
async def test_starting_twice_is_a_mistake() -> None:
    made = prober("good")
    await soon(made.start())
    with pytest.raises(RuntimeError, match="started already"):
        _ = made.start()
    await soon(made.stop())
    await soon(made.start())
    await soon(made.stop())


@on_reactor
async def test_stopping_while_starting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "STOP_DEADLINE_S", 0.1)
    made = prober("never-ready")
    waiting = soon(made.start())
    stopped = made.stop()
    with pytest.raises(ProberUnavailable):
        await waiting
    await soon(stopped)


@on_reactor
async def test_a_run_and_its_partner_talk_through_it() -> None:
    made = prober("talkative")
    await soon(made.start())
    heard: list[bytes] = []

    def answer(relay: Relay) -> None:
        heard.append(relay.words)
        if len(heard) == 1:
            made.relay(Relay(run=RunKey(measurement_id="other"), words=b"lost"))
            made.relay(Relay(run=relay.run, words=b"and so on"))

    outcome = await soon(made.run(a_run(), on_relay=answer))
    assert outcome.ending.end == END_DONE
    assert heard == [b"hello", b"and so on"]
    await soon(made.stop())
