"""`-o direction=…`: a plan of which this host measures a side itself."""

from __future__ import annotations

import json

import pytest

from emodis.client.exits import Exit
from emodis.client.finish import Finish, Way
from emodis.wire.v1.client_pb2 import AgentEntry, AgentList, ToClient
from emodis.wire.v1.common_pb2 import END_DONE, END_FAILED, Ending, Outcome
from tests.support.edge_world import HOST, World, done, router
from tests.unit.client.builders import accepted, broute, call, ended, result, selected
from tests.unit.client.rig import FakeProber, Rig, ScriptedMaster
from tests.unit.client.schema import load, problems

START = 101
AGENTS = (102, 103)


def entry(asn: int, **more: object) -> AgentEntry:
    address = router(asn, HOST).packed
    known: dict[str, object] = {"online": True, "addresses": [address], "asn": asn, **more}
    return AgentEntry(id=f"a{asn}", place=f"place{asn}", **known)  # type: ignore[arg-type]


def directory(*agents: AgentEntry) -> ToClient:
    return ToClient(agents=AgentList(agents=agents or [entry(asn) for asn in AGENTS]))


def look(*ends: int) -> list[Outcome]:
    """Routes to all landmarks, then trains to them."""
    world = World()
    routes = [done(world.traceroute(START, end)) for end in ends]
    return [*routes, *(done(world.pathneck(START, end)) for end in ends)]


def source_rig(*agents: AgentEntry, own: str = str(router(START, HOST))) -> Rig:
    master = ScriptedMaster([directory(*agents)])
    return Rig(master, prober=FakeProber(look(*AGENTS)), own=own)


def test_the_ways_out_of_this_host_towards_the_masters_agents(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = source_rig()
    assert rig.run("request", "--tech", "broute", "-o", "direction=source") == Exit.OK
    assert [asked.WhichOneof("body") for asked in rig.master.asked] == ["list_agents"]
    names = [(run.call.technique, run.target.name) for run in rig.prober.runs]
    assert names == [
        ("traceroute", "a102"),
        ("traceroute", "a103"),
        ("pathneck", "a102"),
        ("pathneck", "a103"),
    ]
    assert rig.prober.did == ["start", "stop"]
    out, err = capsys.readouterr()
    assert "From this host 2 ways out are known" in out
    assert "ways out of this host (10.101.0.250)" in out
    assert "place102" in out
    assert "--as-map FILE" in out
    assert "about" in err


def test_json_is_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    rig = source_rig()
    arguments = ("--tech", "broute", "--direction", "upstream", "--format", "json")
    assert rig.run("request", *arguments) == Exit.OK
    printed, schema = json.loads(capsys.readouterr().out), load("results-1.json")
    assert problems(printed, schema, schema) == []
    (measurement,) = printed["measurements"]
    assert measurement["direction"] == "upstream"
    assert measurement["parameters"]["direction"] == "source"
    assert measurement["runs"][0]["result"]["source"] is True


def test_without_a_master_the_landmarks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(prober=FakeProber(look(*AGENTS)))
    places = [str(router(asn, HOST)) for asn in AGENTS]
    assert rig.run("measure", "--tech", "broute", *places) == Exit.OK
    assert rig.master.asked == []
    assert [run.target.name for run in rig.prober.runs[:2]] == places
    assert rig.run("measure", "--tech", "broute") == Exit.USAGE
    assert "name at least one destination" in capsys.readouterr().err


def test_this_host_and_agents_that_are_away_or_not_wanted_are_no_landmarks() -> None:
    agents = (entry(102), entry(103, online=False), entry(104), entry(105))
    rig = source_rig(*agents, own=str(router(104, HOST)))
    rig.prober.outcomes = look(102)
    arguments = ("--tech", "broute", "-o", "direction=source", "--agents", "a102,a103,a104")
    assert rig.run("request", *arguments) == Exit.OK
    assert {run.target.name for run in rig.prober.runs} == {"a102"}


@pytest.mark.parametrize(
    ("agents", "code", "words"),
    [
        ((entry(102, online=False),), Exit.NO_AGENT, "no agent is here"),
        ((entry(102, addresses=[]),), Exit.REFUSED, "name landmarks"),
        ((entry(102, addresses=[bytes([8, 8, 8, 8])]),), Exit.NO_AGENT, "no agent is here"),
    ],
)
def test_no_landmark_is_a_line_that_says_what_to_do(
    agents: tuple[AgentEntry, ...], code: Exit, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = source_rig(*agents)
    assert rig.run("request", "--tech", "broute", "-o", "direction=source") == code
    assert words in capsys.readouterr().err
    assert rig.prober.runs == []


def test_a_master_that_does_not_answer_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    finish = Finish(way=Way.UNREACHABLE, text="connection refused")
    rig = Rig(ScriptedMaster(finish=finish))
    assert rig.run("request", "--tech", "broute", "-o", "direction=source") == Exit.UNREACHABLE
    assert "the master is unreachable: connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("measure", "10.6.0.2", "-o", "direction=sink"),
        ("measure", "10.6.0.2", "-o", "direction=both"),
        ("request", "--direction", "upstream", "-o", "direction=both"),
    ],
)
def test_directions_that_contradict_each_other(arguments: tuple[str, ...]) -> None:
    assert Rig().run(*arguments, "--tech", "broute") == Exit.USAGE


def test_both_sides_and_what_they_say_together(capsys: pytest.CaptureFixture[str]) -> None:
    towards = accepted(call("broute", direction="both"))
    script = [directory(), towards, selected("a102"), ToClient(result=result("", broute()))]
    rig = source_rig()
    rig.master.script = [*script, ended({END_DONE: 1})]
    arguments = ("--tech", "broute", "-o", "direction=both", "--format", "json", "w1")
    assert rig.run("request", *arguments) == Exit.OK
    here, there = json.loads(capsys.readouterr().out)["measurements"]
    (found,) = here["runs"][0]["result"]["estimates"]
    assert found["name"] == "w1"
    # There was no map on this host.
    assert found["reason"] == "asmap_missing"
    assert there["runs"][0]["result"]["source"] is False


def test_landmarks_that_do_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Outcome(ending=Ending(end=END_FAILED, reason="no_hop_answered", hint="Nothing."))
    rig = source_rig()
    rig.prober.outcomes = [silent, silent]
    assert rig.run("request", "--tech", "broute", "-o", "direction=source") == Exit.FAILED
    assert "No route to a landmark shows the edge of this host" in capsys.readouterr().out


def test_an_interrupt_leaves_what_there_is() -> None:
    rig = source_rig()
    runs = rig.prober.runs

    class Leaving(list[Outcome]):
        def pop(self, index: int = -1) -> Outcome:  # type: ignore[override]
            rig.interrupts.fire()
            return super().pop(index)

    rig.prober.outcomes = Leaving(look(*AGENTS))
    code = rig.run("request", "--tech", "broute", "-o", "direction=source")
    assert code == Exit.INTERRUPTED
    assert len(runs) == 1
