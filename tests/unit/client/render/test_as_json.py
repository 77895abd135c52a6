from __future__ import annotations

import json
import re
from typing import Any

import pytest

from emodis.client.finish import Finish, Way
from emodis.client.render import as_json
from emodis.client.report import Report
from emodis.wire.v1 import broute_pb2, techniques_pb2
from emodis.wire.v1.common_pb2 import END_EXPIRED, RunKey
from emodis.wire.v1.techniques_pb2 import (
    PathneckObservations,
    PathneckTrain,
    ProbeRecord,
    TrainRecord,
)
from tests.unit.client.builders import (
    MBIT,
    broute,
    failure,
    packed,
    pathneck,
    ping,
    report,
    result,
    target,
    traceroute,
)
from tests.unit.client.schema import load, problems

PATH = ("10.1.0.1", "", "10.3.0.1", "10.6.0.2")
SCHEMA = load("results-1.json")


def printed(*reports: Report, observations: bool = False) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(as_json.results(reports, observations=observations))
    assert problems(value, SCHEMA, SCHEMA) == []
    return value


def test_a_pathneck_result_with_its_observations() -> None:
    run = result("ams", pathneck(*PATH, bottleneck=3), owners=True)
    probe = ProbeRecord(ttl=1, size_bytes=60, sent_ns=0, received_ns=5, address=packed("10.1.0.1"))
    observations = PathneckObservations(
        trains=[PathneckTrain(train=TrainRecord(probes=[probe]), hops=4)], target=packed("10.6.0.2")
    )
    run.outcome.observations = observations.SerializeToString()
    run.overlapped.append(RunKey(agent_id="bru"))
    (one,) = printed(report("pathneck", run, to_me=True), observations=True)["measurements"]
    assert one["complete"]
    assert one["error"] is None
    (made,) = one["runs"]
    assert made["result"]["bottleneck"]["bound_bps"] == 9_600_000
    assert made["result"]["hops"][1]["address"] is None
    assert made["result"]["hops"][2]["bound"] == "upper"
    assert made["observations"]["trains"][0]["train"]["probes"][0]["address"] == "10.1.0.1"
    assert {"address": "10.2.0.1", "asn": 65002} in [
        {k: owner[k] for k in ("address", "asn")} for owner in one["owners"]
    ]
    assert one["parameters"]["trains"] > 0


def test_a_route_has_its_ases_where_somebody_knows_them() -> None:
    run, same = (result(name, traceroute(*PATH), owners=True) for name in ("a", "b"))
    other = result("c", traceroute(*PATH[1:]), owners=True)
    unknown = result("d", traceroute(*PATH))
    (one,) = printed(report("traceroute", run, same, other, unknown))["measurements"]
    first, second, third, fourth = (made["as_path"] for made in one["runs"])
    assert (first["asns"], first["unmapped_hops"]) == ([65001, 65003], 1)
    assert len(first["path_hash"]) == 16
    assert first["path_hash"] == second["path_hash"] != third["path_hash"]
    assert fourth is None


@pytest.mark.parametrize(
    "made",
    [
        report("ping", result("a", ping()), failure("b"), targets=[target(), target()]),
        report("ping", result("a", ping(None, loss_ratio=1.0))),
        report("traceroute", result("a", traceroute(*PATH)), result("b", traceroute("", ""))),
        report("pathneck", result("", pathneck(*PATH)), upstream=True),
        report("pathneck", failure("a", END_EXPIRED), whole=False),
        report("broute", result("", broute())),
        Report(finish=Finish(way=Way.LOST, text="the other side closed the connection")),
    ],
)
def test_whatever_is_printed_is_as_published(made: Report) -> None:
    printed(made)
    printed(made, made, observations=True)


def test_what_is_missing_is_said() -> None:
    made = report("ping", result("a", ping()), whole=False)
    made.finish = Finish(way=Way.LOST, text="gone")
    (one,) = printed(made)["measurements"]
    assert not one["complete"]
    assert one["error"] == {"code": "lost", "text": "gone"}


def test_a_result_of_a_technique_unknown_here_is_kept_without_its_body() -> None:
    run = result("a", ping())
    run.outcome.result.technique = "newer"
    (one,) = printed(report("ping", run))["measurements"]
    assert one["runs"][0]["result"] is None
    assert one["runs"][0]["end"] == "done"


def test_a_run_that_failed_keeps_its_observations() -> None:
    run = failure("a")
    run.outcome.observations = PathneckObservations(limiting_ttl=3).SerializeToString()
    (one,) = printed(report("pathneck", run), observations=True)["measurements"]
    assert one["runs"][0]["observations"]["limiting_ttl"] == 3


def test_a_broken_body_is_no_traceback() -> None:
    run = result("a", ping())
    run.outcome.result.body = b"\xff\xff"
    run.outcome.observations = b"\xff\xff"
    printed(report("ping", run), observations=True)


def test_not_a_number_becomes_null() -> None:
    value = pathneck(*PATH)
    value.resolution_ratio = float("nan")
    (one,) = printed(report("pathneck", result("a", value)))["measurements"]
    assert one["runs"][0]["result"]["resolution_ratio"] is None


def test_the_schema_is_not_empty_talk() -> None:
    good = json.loads(as_json.results([report("ping", result("a", ping()))]))
    good["measurements"][0]["surprise"] = 1
    good["measurements"][0]["runs"][0]["result"]["rtt_min_ns"] = "fast"
    del good["measurements"][0]["counts"]
    found = problems(good, SCHEMA, SCHEMA)
    assert any("surprise" in problem for problem in found)
    assert any("lacks counts" in problem for problem in found)
    assert any("runs[0].result" in problem for problem in found)


def test_published_numbers_carry_their_units() -> None:
    """A measured double or 64-bit integer without a unit in its name would be a riddle."""
    bare = {"confidence", "coverage"}
    fine = re.compile(r".*_(ns|s|bps|bytes|ratio)$")
    for message in (
        *techniques_pb2.DESCRIPTOR.message_types_by_name.values(),
        *broute_pb2.DESCRIPTOR.message_types_by_name.values(),
    ):
        for field in message.fields:
            if field.type in {field.TYPE_DOUBLE, field.TYPE_INT64, field.TYPE_SINT64}:
                assert fine.match(field.name) or field.name in bare, field.full_name


def test_bits_are_bits() -> None:
    made = report("pathneck", result("a", pathneck(*PATH, bottleneck=3, bound_bps=5 * MBIT)))
    (one,) = printed(made)["measurements"]
    assert one["runs"][0]["result"]["bottleneck"]["bound_bps"] == 5_000_000
