"""`request` for a technique with two ends: this host listens while it is measured."""

from __future__ import annotations

import json

import pytest

from emodis.client.exits import Exit
from emodis.wire.v1.client_pb2 import ToClient
from emodis.wire.v1.common_pb2 import END_DONE, END_FAILED, Relay
from emodis.wire.v1.igi_pb2 import IgiParameters, IgiResult
from tests.unit.client.builders import MBIT, accepted, call, ended, igi, result, selected
from tests.unit.client.rig import FakeProber, Rig, ScriptedMaster
from tests.unit.client.schema import load, problems


def script(*results: ToClient, failed: int = 0) -> list[ToClient]:
    counts = {END_DONE: len(results) - failed, END_FAILED: failed}
    agents = [message.result.run.agent_id for message in results]
    return [accepted(call("igi")), selected(*agents), *results, ended(counts)]


def test_it_listens_before_it_asks_and_stops_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = Rig(ScriptedMaster(script(ToClient(result=result("ams", igi())))))
    assert rig.run("request", "--tech", "igi", "--agents", "ams") == Exit.OK
    (asked,) = rig.master.asked
    assert (asked.request.peer.tcp_port, asked.request.peer.token) == (40000, bytes(16))
    assert rig.partner.did == ["start", "connect", "stop"]
    out = capsys.readouterr().out
    assert "30.0 Mbit/s are available towards you from ams, between 28.0 Mbit/s and 36.0" in out
    assert "capacity" in out


def test_several_agents_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        ToClient(result=result("ams", igi(30 * MBIT))),
        ToClient(result=result("bru", igi(50 * MBIT))),
    ]
    assert Rig(ScriptedMaster(script(*told))).run("request", "--tech", "igi") == Exit.OK
    said = capsys.readouterr().out
    assert "40.0 Mbit/s are available towards you (median of 2 agents), from 30.0" in said
    assert "at ams to 50.0 Mbit/s at bru" in said


def test_much_loss_makes_the_answer_doubtful(capsys: pytest.CaptureFixture[str]) -> None:
    lossy = igi()
    lossy.loss_ratio = 0.32
    assert (
        Rig(ScriptedMaster(script(ToClient(result=result("ams", lossy))))).run(
            "request", "--tech", "igi"
        )
        == Exit.OK
    )
    said = capsys.readouterr().out
    assert "; 32 % of the probes were lost, and unless that is random, it is far less." in said


def test_a_bound_is_shown_where_there_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    bound = result("ams", igi(None), end=END_FAILED, hint="No rate was found.")
    rig = Rig(ScriptedMaster(script(ToClient(result=bound), failed=1)))
    assert rig.run("request", "--tech", "igi") == Exit.FAILED
    out = capsys.readouterr().out
    assert "Nothing could be measured towards you: No rate was found." in out
    assert "36.0" in out


def test_json_is_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster(script(ToClient(result=result("ams", igi())))))
    assert rig.run("request", "--tech", "igi", "--format", "json") == Exit.OK
    printed, schema = json.loads(capsys.readouterr().out), load("results-1.json")
    assert problems(printed, schema, schema) == []
    assert printed["measurements"][0]["runs"][0]["result"]["ptr_bps"] == 30 * MBIT


def test_a_dry_run_listens_to_nobody() -> None:
    rig = Rig(ScriptedMaster([accepted(call("igi")), selected("ams")]))
    assert rig.run("request", "--tech", "igi", "--dry-run") == Exit.OK
    assert rig.partner.did == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("request", "--tech", "igi", "w1"), "name no destination"),
        (("request", "--tech", "igi", "--detach"), "leave --detach out"),
        (("measure", "--tech", "igi", "w1"), "needs an agent at the other end"),
    ],
)
def test_what_cannot_be_meant_is_said(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = Rig()
    assert rig.run(*arguments) == Exit.USAGE
    assert why in capsys.readouterr().err
    assert (rig.partner.did, rig.master.asked) == ([], [])


def test_it_says_that_the_two_ends_spoke_through_the_master(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = igi()
    found.relayed = True
    words = ToClient(relay=Relay(words=b"hello"))
    first, second, *rest = script(ToClient(result=result("ams", found)))
    rig = Rig(ScriptedMaster([first, second, words, *rest]))
    assert rig.run("request", "--tech", "igi", "--agents", "ams") == Exit.OK
    assert rig.partner.did == ["start", "connect", "hear hello", "stop"]
    assert "so the two spoke through the master" in capsys.readouterr().out.replace("\n", " ")


def both_ways() -> IgiResult:
    found = igi()
    found.direction = "downstream"
    found.upstream.CopyFrom(igi(12 * MBIT))
    found.upstream.direction = "upstream"
    return found


def test_both_directions_are_asked_of_agents_and_rendered_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = Rig(ScriptedMaster(script(ToClient(result=result("ams", both_ways())))))
    assert rig.run("request", "--tech", "igi", "--direction", "both") == Exit.OK
    assert rig.partner.did == ["start", "send", "connect", "stop"]
    assert rig.prober.did == ["start", "stop"]
    (asked,) = rig.master.asked
    assert IgiParameters.FromString(asked.request.call.body).direction == "both"
    out = capsys.readouterr().out.replace("\n", " ")
    assert "30.0 Mbit/s are available towards you from ams" in out
    assert "; 12.0 Mbit/s are available from you to ams" in out
    assert "from you" in out.partition("way")[2]


def test_json_of_both_directions_is_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster(script(ToClient(result=result("ams", both_ways())))))
    arguments = ("request", "--tech", "igi", "-o", "direction=both", "--format", "json")
    assert rig.run(*arguments) == Exit.OK
    printed, schema = json.loads(capsys.readouterr().out), load("results-1.json")
    assert problems(printed, schema, schema) == []
    found = printed["measurements"][0]["runs"][0]["result"]
    assert found["upstream"]["ptr_bps"] == 12 * MBIT


def test_a_host_that_cannot_send_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(prober=FakeProber(unavailable="no sockets"))
    assert rig.run("request", "--tech", "igi", "--direction", "upstream") == Exit.FAILED
    assert "this host cannot send: no sockets" in capsys.readouterr().err
    assert rig.partner.did == ["start", "stop"]


def test_two_directions_that_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--tech", "igi", "--direction", "both", "-o", "direction=upstream")
    assert Rig().run("request", *arguments) == Exit.USAGE
    assert "contradict each other" in capsys.readouterr().err
