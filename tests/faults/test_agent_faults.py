"""Agents that are killed, stopped and copied in the middle of their work; real packets decide."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from emodis.lab.deployment import Deployment
from emodis.lab.exclusivity import Visit, overlaps, visits
from tests.support.asking import Asked, ask
from tests.support.processes import (
    alive,
    descendants,
    echo_arrivals,
    eventually,
    signal_all,
    udp_arrivals,
)

pytestmark = [pytest.mark.lab, pytest.mark.faults]

# Long enough to be interrupted, short enough in its worst case to wait for the end of the lock.
SHORT = ("-o", "trains=8", "-o", "max_interval_s=0.5", "-o", "adaptive=false", "-o", "drain_s=0.5")


PING = ("request", "--tech", "ping", "--agents", "ALL")


def pathneck(emodis: Deployment, *agents: str) -> Asked:
    """Ask for pathneck towards the client and return when its packets arrive there."""
    before = udp_arrivals(emodis.lab, "c1")
    asked = ask(emodis, "request", "--tech", "pathneck", "--agents", *agents, *SHORT)
    eventually(lambda: udp_arrivals(emodis.lab, "c1") > before + 100, "a train arrived at c1")
    return asked


def test_an_agent_killed_in_mid_run_takes_its_prober_with_it(emodis: Deployment) -> None:
    agent = emodis.start_agent("a1")
    asked = pathneck(emodis, "ALL")
    probers = descendants(agent.process.pid)
    assert len(probers) >= 2
    agent.signal(signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in probers), "the probers died with the daemon")
    emodis.daemons[0].wait_for("lost")
    quiet = udp_arrivals(emodis.lab, "c1")
    asked.interrupt()
    assert asked.exit_code() == 130
    assert udp_arrivals(emodis.lab, "c1") == quiet
    assert "Traceback" not in asked.output()


def test_a_killed_agent_that_comes_back_is_asked_again(emodis: Deployment) -> None:
    agent = emodis.start_agent("a1")
    asked = pathneck(emodis, "ALL")
    agent.signal(signal.SIGKILL)
    emodis.daemons[0].wait_for("lost")
    emodis.start_agent("a1")
    assert asked.exit_code() == 0
    assert "The bottleneck towards you" in asked.output()


def test_a_stopped_agent_never_probes_what_was_given_away(
    emodis: Deployment, tmp_path: Path
) -> None:
    first = emodis.start_agent("a1")
    second = emodis.start_agent("a2")
    capture = tmp_path / "c1.pcap"
    with emodis.lab.capture("c1", capture):
        asked = pathneck(emodis, "ALL")
        # Whoever is sending now is stopped, all its processes: a laptop whose lid is shut.
        sending = "a1" if udp_is_from(emodis, capture, "a1") else "a2"
        stopped, other = (first, second) if sending == "a1" else (second, first)
        signal_all(stopped.process.pid, signal.SIGSTOP)
        emodis.daemons[0].wait_for("lost")
        address = emodis.lab.address(other.name)
        eventually(
            lambda: any(v.packets > 100 for v in visits(capture, {address})),
            "the destination was given to the other agent",
            deadline_s=90,
        )
        signal_all(stopped.process.pid, signal.SIGCONT)
        stopped.wait_for("online at", times=2, deadline_s=60)
        assert asked.exit_code() == 0
    sources = {emodis.lab.address(name) for name in ("a1", "a2")}
    assert overlaps(visits(capture, sources)) == []


def test_a_new_master_waits_for_what_the_old_one_gave_away(
    emodis: Deployment, tmp_path: Path
) -> None:
    first, second = (emodis.lab.address(name) for name in ("a1", "a2"))
    deaf = emodis.start_agent("a1")
    capture = tmp_path / "c1.pcap"
    with emodis.lab.capture("c1", capture):
        before = echo_arrivals(emodis.lab, "c1")
        asked = ask(emodis, *PING, "-o", "count=50", "-o", "interval_s=0.5")
        eventually(lambda: echo_arrivals(emodis.lab, "c1") > before, "a probe arrived at c1")
        # Only the daemon: it cannot tell its prober that the master is gone.
        deaf.signal(signal.SIGSTOP)
        emodis.daemons[0].signal(signal.SIGKILL)
        assert asked.exit_code() == 3
        emodis.start_master("--config", str(tmp_path / "master.toml")).wait_for("still be probing")
        emodis.start_agent("a2")
        again = ask(emodis, *PING, "-o", "count=3")
        assert again.exit_code() == 0
    deaf.signal(signal.SIGCONT)
    flows = visits(capture, {first, second})
    assert {v.source for v in flows} == {first, second}
    assert overlaps(whole_runs(flows)) == []


def whole_runs(flows: list[Visit]) -> list[Visit]:
    """One visit per source: each did one run, whatever the pauses in it."""
    return [
        Visit(min(v.first_ns for v in own), max(v.last_ns for v in own), source, 0, len(own))
        for source in {v.source for v in flows}
        if (own := [v for v in flows if v.source == source])
    ]


def udp_is_from(emodis: Deployment, capture: Path, agent: str) -> bool:
    flows = visits(capture, {emodis.lab.address(a) for a in ("a1", "a2")})
    return max(flows, key=lambda v: v.last_ns).source == emodis.lab.address(agent)


def test_a_prober_killed_in_mid_train_costs_one_run_and_is_restarted(emodis: Deployment) -> None:
    agent = emodis.start_agent("a1")
    asked = pathneck(emodis, "ALL")
    signal_probers(agent.process.pid)
    assert asked.exit_code() == 1
    assert "prober" in asked.output()
    assert "Traceback" not in "\n".join(agent.lines())
    eventually(lambda: len(descendants(agent.process.pid)) >= 2, "the prober was restarted")
    again = ask(emodis, "request", "--tech", "traceroute", "--agents", "ALL")
    assert again.exit_code() == 0


def signal_probers(daemon: int) -> None:
    for pid in descendants(daemon):
        signal_all(pid, signal.SIGKILL)


def test_two_daemons_with_one_identity_do_not_fight(emodis: Deployment, tmp_path: Path) -> None:
    first = emodis.start_agent("a1")
    copy = tmp_path / "copy"
    copy.mkdir()
    for kept in (tmp_path / "a1").iterdir():
        if kept.is_file() and kept.stat().st_size:
            (copy / kept.name).write_bytes(kept.read_bytes())
    second = emodis.start_agent("a2", "--state-dir", str(copy))
    first.wait_for("another")
    assert len([line for line in first.lines() if "online at" in line]) == 1
    assert second.process.poll() is None
    asked = ask(emodis, "request", "--tech", "ping", "--agents", "ALL", "-o", "count=2")
    assert asked.exit_code() == 0


def test_a_second_daemon_on_the_same_state_directory_says_why_it_leaves(
    emodis: Deployment,
) -> None:
    emodis.start_agent("a1")
    second = emodis.start_agent("a1", wait=False)
    assert second.process.wait(30) == 1
    assert len(second.lines()) == 1


def test_a_client_killed_in_mid_request_stops_the_probing(emodis: Deployment) -> None:
    agent = emodis.start_agent("a1")
    asked = pathneck(emodis, "ALL")
    asked.process.kill()
    assert asked.exit_code() == -signal.SIGKILL
    emodis.daemons[0].wait_for("cancelled")
    quiet = [udp_arrivals(emodis.lab, "c1")]

    def nothing_more() -> bool:
        quiet.append(udp_arrivals(emodis.lab, "c1"))
        return len(quiet) > 20 and len(set(quiet[-20:])) == 1

    eventually(nothing_more, "the probing stopped")
    assert agent.process.poll() is None
    again = ask(emodis, "request", "--tech", "ping", "--agents", "ALL", "-o", "count=2")
    assert again.exit_code() == 0
