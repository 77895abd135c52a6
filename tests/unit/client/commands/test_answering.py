"""`request` where this host is the destination: it answers probes while it is measured."""

from __future__ import annotations

import pytest

from emodis.client.exits import Exit
from emodis.wire.v1.client_pb2 import ToClient
from emodis.wire.v1.common_pb2 import END_DONE
from tests.unit.client.builders import accepted, call, ended, pathneck, result, selected
from tests.unit.client.rig import FakePartner, Rig, ScriptedMaster


def script() -> ScriptedMaster:
    found = ToClient(result=result("ams", pathneck("10.1.0.1", "10.2.0.1", bottleneck=2)))
    return ScriptedMaster(
        [accepted(call("pathneck")), selected("ams"), found, ended({END_DONE: 1})]
    )


def test_it_answers_as_long_as_it_is_measured() -> None:
    rig = Rig(script())
    assert rig.run("request", "--tech", "pathneck") == Exit.OK
    assert rig.master.asked[0].request.peer.answering_port == 40001
    assert (rig.answerer.did, rig.partner.did) == (["start", "stop"], [])


def test_a_host_that_may_not_listen_is_measured_all_the_same() -> None:
    rig = Rig(script(), answerer=FakePartner(None))
    assert rig.run("request", "--tech", "pathneck") == Exit.OK
    assert not rig.master.asked[0].request.HasField("peer")


@pytest.mark.parametrize(
    "arguments",
    [("--tech", "pathneck", "w1"), ("--tech", "ping"), ("--tech", "pathneck", "--dry-run")],
)
def test_it_does_not_listen_for_nothing(arguments: tuple[str, ...]) -> None:
    rig = Rig(script())
    rig.run("request", *arguments)
    assert rig.answerer.did == []
