from __future__ import annotations

import json
from collections.abc import Callable

import attrs
import pytest
from twisted.internet.defer import Deferred

from emodis.client.calls import Call, ResultsCall
from emodis.client.desk import Asking
from emodis.client.exits import Exit, Trouble
from emodis.client.finish import COMPLETE, Finish, Way
from emodis.wire.v1.client_pb2 import (
    DIRECTION_DOWNSTREAM,
    DISCIPLINE_SYN,
    POLICY_LOCK,
    ResultsBegin,
    ToClient,
)
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_BUDGET,
    CODE_FULL,
    CODE_NO_AGENT,
    CODE_POLICY,
    CODE_RATE,
    CODE_UNKNOWN_ID,
    CODE_VERSION,
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_FAILED,
    END_LOST,
    END_REFUSED,
    Code,
    End,
)
from emodis.wire.v1.techniques_pb2 import PingObservations
from tests.unit.client.builders import (
    MS,
    accepted,
    call,
    ended,
    failure,
    pathneck,
    ping,
    result,
    selected,
)
from tests.unit.client.rig import FakeProber, Rig, ScriptedMaster

PATH = ("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.6.0.2")


def pings(*agents: str, median_ns: int = 12 * MS) -> list[ToClient]:
    return [
        accepted(call("ping")),
        selected(*agents),
        *(ToClient(result=result(agent, ping(median_ns))) for agent in agents),
        ended({END_DONE: len(agents)}),
    ]


def test_the_answer_first_and_talk_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    slow = result("ams", pathneck(*PATH, bottleneck=3), owners=True)
    script = [accepted(call("pathneck")), selected("ams"), ToClient(result=slow)]
    rig = Rig(ScriptedMaster([*script, ended({END_DONE: 1})]))
    assert rig.run("request", "--tech", "pathneck", "--agents", "AUTO") == Exit.OK
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == (
        "The bottleneck towards you is the link 10.2.0.1 → 10.3.0.1 (AS 65002 → AS 65003), "
        "at most 9.6 Mbit/s."
    )
    assert "1 agent, about 20 s, about 1.0 MB" in err.splitlines()
    assert "measurement m-1: took 4 s, sent 1.0 MB" in err.splitlines()


def test_what_reaches_the_master() -> None:
    rig = Rig(ScriptedMaster(pings("a", "b")))
    code = rig.run(
        "request",
        *("w1", "10.7.0.2", "--tech", "ping", "-o", "count=5", "--agents", "a,b"),
        *("--schedule", "syn", "--policy", "lock", "--min-agents", "2", "--timeout", "60", "-6"),
    )
    assert code == Exit.OK
    (asked,) = rig.master.asked
    request = asked.request
    assert list(request.destinations) == ["w1", "10.7.0.2"]
    assert list(request.agents.ids.ids) == ["a", "b"]
    assert (request.schedule.discipline, request.schedule.policy) == (DISCIPLINE_SYN, POLICY_LOCK)
    assert (request.min_agents, request.timeout_s, request.family) == (2, 60.0, 6)
    assert (request.direction, request.call) == (DIRECTION_DOWNSTREAM, call("ping", count="5"))
    assert len(request.idempotency) == 16


@pytest.mark.parametrize("how", ["auto", "all", "any"])
def test_words_for_agents_in_any_case(how: str) -> None:
    rig = Rig(ScriptedMaster(pings("a")))
    rig.run("request", "--tech", "ping", "--agents", how)
    assert rig.master.asked[0].request.agents.WhichOneof("how") == how


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tech", "zing"], ["'zing'", "pathneck, ping, traceroute"]),
        (["--tech", "ping", "-o", "kount=3"], ["'kount'", "count", "interval_s", "default"]),
        (["--tech", "ping", "-o", "count=0"], ["count must be 1 to 1000"]),
        (["--tech", "ping", "-o", "count"], ["not NAME=VALUE"]),
        (["--tech", "ping", "-o", "count=1", "-o", "count=2"], ["given twice"]),
        (["--tech", "ping", "--agents", "a,,b"], ["empty id"]),
        (["--tech", "ping", "w 1"], ["neither a host name nor an address"]),
        (["--tech", "ping", "--fail-if", "lost>1"], ["'lost'", "loss_ratio", "rtt_median_ns"]),
        (["--tech", "ping", "--direction", "both"], ["at least one destination"]),
        (["--tech", "ping", "w1", "--direction", "both", "--detach"], ["--detach"]),
        (["--tech", "ping", "--policy", "wave"], ["wave"]),
        (["--tech", "ping", "--detach", "--plot"], ["--plot", "emodis-client results"]),
        (["--tech", "ping", "--plot", "--format", "json"], ["--plot"]),
        (["--tech", "ping", "--observations"], ["--format json"]),
        ([], ["--tech"]),
    ],
)
def test_usage_never_reaches_the_master(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig(ScriptedMaster(pings("a")))
    assert rig.run("request", *arguments) == Exit.USAGE
    out, err = capsys.readouterr()
    assert (out, rig.master.asked) == ("", [])
    assert all(word in err for word in words), err


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (CODE_POLICY, Exit.REFUSED),
        (CODE_RATE, Exit.REFUSED),
        (CODE_BUDGET, Exit.REFUSED),
        (CODE_FULL, Exit.REFUSED),
        (CODE_NO_AGENT, Exit.NO_AGENT),
        (CODE_BAD_REQUEST, Exit.USAGE),
        (CODE_UNKNOWN_ID, Exit.USAGE),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_has_its_exit_code_also_when_it_comes_late(
    code: Code.ValueType, expected: Exit, late: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if late:
        script = [accepted(call("ping")), ended({}, code=code, text="there is none")]
        master = ScriptedMaster(script)
    else:
        finish = Finish(way=Way.REFUSED, text="there is none", hint="start one", code=code)
        master = ScriptedMaster(finish=finish)
    assert Rig(master).run("request", "--tech", "ping") == expected
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is none" in err


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({END_DONE: 2}, Exit.OK),
        ({END_DONE: 1, END_LOST: 1}, Exit.PARTIAL),
        ({END_DONE: 1, END_FAILED: 1}, Exit.PARTIAL),
        ({END_FAILED: 2}, Exit.FAILED),
        ({END_LOST: 1, END_FAILED: 1}, Exit.FAILED),
        ({END_EXPIRED: 2}, Exit.PARTIAL),
        ({END_EXPIRED: 1, END_CANCELLED: 1}, Exit.PARTIAL),
        ({END_REFUSED: 2}, Exit.REFUSED),
    ],
)
def test_exit_code_by_what_became_of_the_runs(
    counts: dict[End.ValueType, int], expected: Exit
) -> None:
    ends = [end for end, runs in counts.items() for _ in range(runs)]
    results = [
        result(f"a{n}", ping()) if end == END_DONE else failure(f"a{n}", end)
        for n, end in enumerate(ends)
    ]
    script = [accepted(call("ping")), selected("a0", "a1")]
    script += [ToClient(result=one) for one in results]
    rig = Rig(ScriptedMaster([*script, ended(counts)]))
    assert rig.run("request", "--tech", "ping") == expected


def test_a_threshold_that_holds_is_exit_1_and_says_where(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = Rig(ScriptedMaster(pings("ams")))
    assert rig.run("request", "--tech", "ping", "--fail-if", "rtt_median>10ms") == Exit.FAILED
    assert "--fail-if rtt_median>10ms holds at ams" in capsys.readouterr().err
    rig = Rig(ScriptedMaster(pings("ams")))
    assert rig.run("request", "--tech", "ping", "--fail-if", "rtt_median>20ms") == Exit.OK


def test_a_master_gone_in_mid_measurement_prints_what_has_arrived(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = [accepted(call("ping")), selected("a", "b"), ToClient(result=result("a", ping()))]
    gone = Finish(way=Way.LOST, text="the other side closed the connection")
    assert Rig(ScriptedMaster(script, gone)).run("request", "--tech", "ping") == Exit.UNREACHABLE
    out, err = capsys.readouterr()
    assert out.startswith("The round trip to you takes 12.0 ms")
    assert "the master is gone: the other side closed the connection" in err


def test_interrupted_prints_what_has_arrived(capsys: pytest.CaptureFixture[str]) -> None:
    script = [accepted(call("ping")), selected("a", "b"), ToClient(result=result("a", ping()))]
    finish = Finish(way=Way.INTERRUPTED, text="interrupted")
    assert Rig(ScriptedMaster(script, finish)).run("request", "--tech", "ping") == Exit.INTERRUPTED
    out, err = capsys.readouterr()
    assert "12.0" in out
    assert "interrupted" in err


def test_turned_away_for_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    text = "the master speaks protocol version 7, this client 1; update the older of the two"
    finish = Finish(way=Way.TURNED_AWAY, text=text, code=CODE_VERSION)
    assert Rig(ScriptedMaster(finish=finish)).run("request", "--tech", "ping") == Exit.UNREACHABLE
    assert text in capsys.readouterr().err


def test_no_master_named(capsys: pytest.CaptureFixture[str]) -> None:
    master = ScriptedMaster(trouble=Trouble("no master is named; say --master", Exit.USAGE))
    assert Rig(master).run("request", "--tech", "ping") == Exit.USAGE
    assert capsys.readouterr().err == "emodis-client: no master is named; say --master\n"


def test_a_dry_run_lists_who_would_measure(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([accepted(call("ping")), selected("ams", "bru")]))
    assert rig.run("request", "--tech", "ping", "--dry-run") == Exit.OK
    out, err = capsys.readouterr()
    assert "ams (AS 65001): covers 1 of 3 branches" in out
    assert "2 agents, about 20 s" in err
    assert rig.master.asked[0].request.dry_run


def test_detached_prints_the_id_alone(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([accepted(call("ping")), selected("ams")]))
    assert rig.run("request", "--tech", "ping", "--detach") == Exit.OK
    assert capsys.readouterr().out == "m-1\n"


@attrs.define(eq=False)
class Keeper(ScriptedMaster):
    """Has kept what it sent, and more."""

    kept: list[ToClient] = attrs.field(factory=list)
    kept_finish: Finish = COMPLETE

    def asking(self, call: Call, on_message: Callable[[ToClient], None]) -> Deferred[Asking]:
        if isinstance(call, ResultsCall):
            self.script, self.finish = self.kept, self.kept_finish
        return ScriptedMaster.asking(self, call, on_message)


def with_observations() -> list[ToClient]:
    kept = result("ams", ping())
    observed = PingObservations(target=bytes([10, 6, 0, 2]))
    observed.trains.add(t0_unix_ns=1).probes.add(ttl=64, sent_ns=7)
    kept.outcome.observations = observed.SerializeToString()
    begin = ResultsBegin(measurement_id="m-1", call=call("ping"))
    return [ToClient(results_begin=begin), ToClient(result=kept), ended({END_DONE: 1})]


def test_what_each_probe_met_is_fetched_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(Keeper(pings("ams"), kept=with_observations()))
    words = ("request", "--tech", "ping", "--observations", "--format", "json")
    assert rig.run(*words) == Exit.OK
    asked, fetched = rig.master.asked
    assert asked.HasField("request")
    wanted = fetched.get_results
    assert (wanted.measurement_id, wanted.with_observations) == ("m-1", True)
    (measurement,) = json.loads(capsys.readouterr().out)["measurements"]
    (train,) = measurement["runs"][0]["observations"]["trains"]
    assert train["probes"][0]["sent_ns"] == 7


def test_a_plot_draws_it(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(Keeper(pings("ams"), kept=with_observations()))
    assert rig.run("request", "--tech", "ping", "--plot") == Exit.OK
    out = capsys.readouterr().out
    assert "ams → you" in out
    assert "was not kept" not in out


def test_nothing_is_fetched_that_nobody_wants_to_see() -> None:
    rig = Rig(ScriptedMaster(pings("ams")))
    assert rig.run("request", "--tech", "ping") == Exit.OK
    assert len(rig.master.asked) == 1


def test_what_had_arrived_is_drawn_where_the_rest_cannot_be_fetched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = Finish(way=Way.LOST, text="the other side closed the connection")
    rig = Rig(Keeper(pings("ams"), kept_finish=gone))
    assert rig.run("request", "--tech", "ping", "--plot") == Exit.UNREACHABLE
    out, err = capsys.readouterr()
    assert out.startswith("The round trip to you takes 12.0 ms")
    assert "the master is gone" in err


def test_both_directions_this_host_first(capsys: pytest.CaptureFixture[str]) -> None:
    prober = FakeProber([result("", ping(5 * MS)).outcome])
    rig = Rig(ScriptedMaster(pings("ams")), prober)
    arguments = ("request", "w1", "--tech", "ping", "--direction", "both", "--format", "json")
    assert rig.run(*arguments) == Exit.OK
    printed = json.loads(capsys.readouterr().out)
    assert [one["direction"] for one in printed["measurements"]] == ["upstream", "downstream"]
    assert prober.did == ["start", "stop"]


def test_options_may_stand_before_or_after_the_command() -> None:
    for arguments in (
        ["--master", "m:1", "--insecure", "request", "--tech", "ping"],
        ["request", "--tech", "ping", "--master", "m:1", "--insecure"],
    ):
        rig = Rig(ScriptedMaster(pings("a")))
        assert rig.run(*arguments) == Exit.OK
        assert rig.settings is not None
        assert (rig.settings.master, rig.settings.insecure) == ("m:1", True)


def test_the_parameters_of_a_technique_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert Rig().run("request", "--tech", "pathneck", "-o", "help") == Exit.OK
    assert "trains" in capsys.readouterr().out


def test_an_error_nobody_expected_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_it(*_: object) -> None:
        raise RuntimeError("boom\nand more")

    monkeypatch.setattr(ScriptedMaster, "asking", break_it)
    assert Rig().run("request", "--tech", "ping") == Exit.FAILED
    err = capsys.readouterr().err
    assert err == "emodis-client: internal error: boom; run with -v for details\n"
    assert Rig().run("-v", "request", "--tech", "ping") == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err
