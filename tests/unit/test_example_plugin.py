"""The example of docs/howto/plugin.md as its author would test it: no network, no installation."""

from __future__ import annotations

import importlib
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from emodis.packets.model import Address, Echo, Probe, Reply, ReplyKind, Train, TrainOutcome
from emodis.techniques.base import Context
from emodis.techniques.plugins import Plugins
from emodis.wire.v1.common_pb2 import END_DONE
from tests.support.plugins import point

EXAMPLE = Path(__file__).parents[2] / "docs" / "howto" / "emodis-hopcount"
PROTO = "emodis_hopcount/hopcount.proto"
TARGET = IPv4Address("10.9.9.9")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))


def answer(probe: Probe, hops: int, silent: frozenset[int]) -> Reply | None:
    """What a path of that many hops says."""
    there = probe.ttl >= hops
    if not there and probe.ttl in silent:
        return None
    address: Address = TARGET if there else IPv4Address(0x0A000000 + probe.ttl)
    return Reply(
        received_ns=2_000_000,
        address=address,
        kind=ReplyKind.ECHO_REPLY if there else ReplyKind.TIME_EXCEEDED,
        icmp_type=0 if there else 11,
        icmp_code=0,
        ttl=60,
        quoted_ttl=None if there else 1,
    )


def outcome(train: Train, hops: int, silent: frozenset[int]) -> TrainOutcome:
    echoes = [Echo(sent_ns=1_000_000, reply=answer(p, hops, silent)) for p in train.probes]
    return TrainOutcome(echoes=tuple(echoes), kernel_tx=True, kernel_rx=True)


def measure(hops: int, *, silent: frozenset[int] = frozenset(), **options: str) -> tuple[Any, int]:
    """The end of a run over a simulated path, and how many probes it took."""
    technique = Plugins({"hopcount": point("hopcount", "Hopcount", "emodis_hopcount.technique")})
    hopcount = technique.load("hopcount")
    call = hopcount.call(options)
    talk = hopcount.conversation(call, Context(address=TARGET, seed=1))
    train, sent, measured = next(talk), 0, None
    while measured is None:
        sent += len(train.probes)
        try:
            train = talk.send(outcome(train, hops, silent))
        except StopIteration as stop:
            measured = stop.value
    assert sent * 84 <= hopcount.worst_case(call).sent_bytes
    assert hopcount.estimate(call, measured.observations.SerializeToString()) == measured
    return measured, sent


@pytest.mark.parametrize("hops", [1, 2, 3, 7, 15, 16, 29, 30])
def test_it_counts_any_number_of_hops(hops: int) -> None:
    measured, sent = measure(hops)
    assert (measured.ending.end, measured.result.hops) == (END_DONE, hops)
    assert measured.result.exact
    assert sent <= 6


def test_silent_routers_are_behind_us() -> None:
    measured, _ = measure(9, silent=frozenset({7, 8}))
    assert measured.result.hops == 9
    assert measured.quality.reasons == ["the hop before the last is silent: the host may be nearer"]


def test_what_is_too_far_fails() -> None:
    measured, sent = measure(31)
    assert (measured.result, measured.ending.reason, sent) == (None, "no_reply", 1)


def test_its_generated_code_is_that_of_its_proto(tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert protoc.main(["protoc", f"-I{EXAMPLE}", f"--descriptor_set_out={out}", PROTO]) == 0
    generated = importlib.import_module("emodis_hopcount.hopcount_pb2")
    (wanted,) = FileDescriptorSet.FromString(out.read_bytes()).file
    wanted.ClearField("source_code_info")
    found = FileDescriptorProto.FromString(generated.DESCRIPTOR.serialized_pb)
    for description in (found, wanted):
        for message in description.message_type:
            for field in message.field:
                field.ClearField("json_name")
    assert found == wanted
