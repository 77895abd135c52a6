from __future__ import annotations

import json
from ipaddress import ip_address

import pytest
from twisted.internet.defer import Deferred

from emodis.client.exits import Exit
from emodis.client.finish import Way
from emodis.client.report import Report
from emodis.client.upstream import Upstream
from emodis.techniques import registry
from emodis.wire.v1.common_pb2 import END_CANCELLED, Ending, Outcome
from emodis.wire.v1.prober_pb2 import ProberReady
from emodis.wire.v1.techniques_pb2 import PingObservations, TrainRecord
from tests.unit.client.builders import MS, call, failure, pathneck, ping, result, target, traceroute
from tests.unit.client.rig import FakeProber, Rig

PATH = ("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.6.0.2")


def test_an_upstream_bottleneck(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = result("", pathneck(*PATH, bottleneck=1, access=True)).outcome
    rig = Rig(prober=FakeProber([outcome], progress=((1, 10), (10, 10))))
    assert rig.run("measure", "w1", "--tech", "pathneck") == Exit.OK
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == (
        "The bottleneck from you to w1 (10.6.0.2) is your own access link "
        "(this host → 10.1.0.1), at most 9.6 Mbit/s."
    )
    assert err.startswith("this host, about ")
    assert rig.prober.did == ["start", "stop"]


def test_the_prober_gets_deadline_and_budget() -> None:
    rig = Rig(prober=FakeProber([result("", ping()).outcome]))
    rig.run("measure", "w1", "--tech", "ping", "-o", "count=3")
    (run,) = rig.prober.runs
    worst = registry.get("ping").worst_case(call("ping", count="3"))
    assert run.stop_by_boottime_ns == 1_000_000_000 + round(worst.duration_s * 1e9)
    assert (run.max_bytes, run.budget_s) == (worst.sent_bytes, worst.duration_s)
    assert (run.target.name, run.target.address) == ("w1", bytes([10, 6, 0, 2]))


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["both"], "10.8.0.2"),
        (["both", "-6"], "fd00:8::2"),
        (["::1"], "::1"),
        (["::ffff:10.6.0.2"], "10.6.0.2"),
    ],
)
def test_ipv4_is_measured_unless_ipv6_is_wanted(arguments: list[str], address: str) -> None:
    rig = Rig(prober=FakeProber([result("", ping()).outcome]))
    rig.run("measure", *arguments, "--tech", "ping")
    assert [run.target.address for run in rig.prober.runs] == [ip_address(address).packed]


def test_an_address_is_not_written_with_a_capital(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(prober=FakeProber([result("", traceroute(*PATH)).outcome]))
    rig.run("measure", "fd00:8::2", "--tech", "traceroute")
    assert capsys.readouterr().out.startswith("fd00:8::2 is 4 hops away.")


def test_several_destinations_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [result("", ping()).outcome, failure("").outcome]
    rig = Rig(prober=FakeProber(outcomes))
    assert rig.run("measure", "w1", "w2", "--tech", "ping", "--format", "json") == Exit.PARTIAL
    (measurement,) = json.loads(capsys.readouterr().out)["measurements"]
    assert [run["end"] for run in measurement["runs"]] == ["done", "failed"]
    assert [place["name"] for place in measurement["destinations"]] == ["w1", "w2"]


def test_observations_are_printed_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = result("", ping()).outcome
    outcome.observations = PingObservations(
        trains=[TrainRecord(cut_short=True)]
    ).SerializeToString()
    arguments = ["measure", "w1", "--tech", "ping", "--observations"]
    assert Rig(prober=FakeProber([outcome])).run(*arguments, "--format", "json") == Exit.OK
    (measurement,) = json.loads(capsys.readouterr().out)["measurements"]
    assert measurement["runs"][0]["observations"]["trains"][0]["cut_short"]
    rig = Rig()
    assert rig.run(*arguments) == Exit.USAGE
    assert rig.prober.did == []


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (["nowhere", "--tech", "ping"], Exit.USAGE, "cannot resolve 'nowhere'"),
        (["far", "--tech", "ping"], Exit.REFUSED, "8.8.8.8 is outside"),
        (["224.0.0.1", "--tech", "ping"], Exit.REFUSED, "multicast"),
        (["fe80::1", "--tech", "ping"], Exit.REFUSED, "fe80::1 is outside"),
        (["ff02::1", "--tech", "ping"], Exit.REFUSED, "multicast"),
        (["w1", "-6", "--tech", "ping"], Exit.USAGE, "w1: it has no IPv6 address; leave out -6"),
        (["10.6.0.2", "-6", "--tech", "ping"], Exit.USAGE, "no IPv6 address"),
        (["w1", "--tech", "zing"], Exit.USAGE, "pathneck, ping, traceroute"),
        (["w1", "--tech", "ping", "-o", "ttl=0"], Exit.USAGE, "ttl must be"),
        (["--tech", "ping"], Exit.USAGE, "at least one destination"),
        (["w1", "--tech", "ping", "--as-map", "/nonexistent.mmdb"], Exit.USAGE, "AS map"),
    ],
)
def test_bad_input_sends_nothing(
    arguments: list[str], expected: Exit, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig()
    assert rig.run("measure", *arguments) == expected
    out, err = capsys.readouterr()
    assert (out, rig.prober.did) == ("", [])
    assert words in err


def test_a_host_that_may_not_send_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(prober=FakeProber(unavailable="raw sockets are not permitted; run it as root"))
    assert rig.run("measure", "w1", "--tech", "ping") == Exit.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last == (
        "emodis-client: this host cannot measure: raw sockets are not permitted; run it as root"
    )
    assert rig.prober.did == ["start", "stop"]


def upstream(rig: Rig) -> tuple[list[Report], Deferred[None]]:
    reports: list[Report] = []
    work = Upstream(
        rig.desk(),
        registry.get("ping"),
        call("ping"),
        [target(), target("10.7.0.2", "w2")],
        None,
        lambda message: None,
    )
    ending = Deferred.fromCoroutine(work.measure()).addCallback(reports.append)
    return reports, ending


def test_an_interrupt_aborts_the_run_and_takes_what_comes() -> None:
    pending: Deferred[Outcome] = Deferred()
    rig = Rig(prober=FakeProber(pending=pending))
    reports, _ = upstream(rig)
    assert rig.interrupts.fire()
    assert rig.prober.did == ["start", "abort"]
    pending.callback(Outcome(ending=Ending(end=END_CANCELLED)))
    assert len(rig.prober.runs) == 1
    assert reports[0].finish.way is Way.INTERRUPTED
    assert not rig.interrupts.fire()


def test_a_second_interrupt_does_not_wait() -> None:
    rig = Rig(prober=FakeProber(pending=Deferred()))
    reports, _ = upstream(rig)
    rig.interrupts.fire()
    rig.interrupts.fire()
    assert reports[0].finish.way is Way.INTERRUPTED
    assert rig.prober.did == ["start", "abort", "stop"]


def test_an_interrupt_while_the_prober_starts() -> None:
    starting: Deferred[ProberReady] = Deferred()
    rig = Rig(prober=FakeProber(starting=starting))
    reports, _ = upstream(rig)
    rig.interrupts.fire()
    assert reports[0].finish.way is Way.INTERRUPTED
    assert (rig.prober.did, rig.prober.runs) == (["start", "stop"], [])


def test_a_threshold_on_a_missing_number_does_not_hold() -> None:
    rig = Rig(prober=FakeProber([result("", pathneck(*PATH)).outcome]))
    code = rig.run("measure", "w1", "--tech", "pathneck", "--fail-if", "bottleneck<5Mbit/s")
    assert code == Exit.OK
    slow = result("", pathneck(*PATH, bottleneck=3, bound_bps=4 * MS)).outcome
    rig = Rig(prober=FakeProber([slow]))
    code = rig.run("measure", "w1", "--tech", "pathneck", "--fail-if", "bottleneck<5Mbit/s")
    assert code == Exit.FAILED
