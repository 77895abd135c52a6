"""What `doctor` prints, and its exit codes."""

from __future__ import annotations

import pytest

from emodis.client.exits import Exit
from emodis.client.finish import Finish, Way
from emodis.prober.abilities import Ability
from emodis.wire.v1.client_pb2 import Status, ToClient
from tests.unit.client.rig import Rig, ScriptedMaster

RAW = Ability("raw sockets", True, "everything")
NONE = Ability("raw sockets", False, "none", "be root")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> list[Ability]:
    found = [RAW]
    monkeypatch.setattr("emodis.prober.abilities.abilities", lambda: found)
    return found


def test_a_master_that_answers_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig(ScriptedMaster([ToClient(status=Status(software="emodis-master 9"))]))
    assert rig.run("doctor", "--master", "m") == Exit.OK
    raw, master = capsys.readouterr().out.splitlines()
    assert raw == "ok       raw sockets: everything"
    assert master.startswith("ok       master: m answers, emodis-master 9; this is emodis-client ")


def test_a_master_that_does_not_answer_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    gone = Finish(way=Way.UNREACHABLE, text="connection refused")
    rig = Rig(ScriptedMaster([], finish=gone))
    assert rig.run("doctor", "--master", "m") == Exit.UNREACHABLE
    assert "missing  master: m does not answer (connection refused)" in capsys.readouterr().out


def test_a_host_that_cannot_probe_is_exit_1(
    host: list[Ability], capsys: pytest.CaptureFixture[str]
) -> None:
    host[:] = [NONE]
    rig = Rig(ScriptedMaster([ToClient(status=Status(software="emodis-master 9"))]))
    assert rig.run("doctor", "--master", "m") == Exit.FAILED
    assert "missing  raw sockets: none; be root" in capsys.readouterr().out


def test_without_a_master_there_is_none_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert Rig(ScriptedMaster([])).run("doctor") == Exit.OK
    assert "no master is named" in capsys.readouterr().out
