from __future__ import annotations

import pytest

from emodis.client.exits import Exit, Trouble
from emodis.client.request import Wishes, agents, build, check_name, option_lines, technique_named
from emodis.wire.v1.client_pb2 import DISCIPLINE_UNSPECIFIED, POLICY_UNSPECIFIED
from tests.unit.client.builders import call


def test_what_was_not_said_is_left_to_the_master() -> None:
    request = build(Wishes(technique="ping"), call("ping"), bytes(16))
    assert list(request.destinations) == []
    assert request.agents.WhichOneof("how") == "auto"
    assert request.schedule.discipline == DISCIPLINE_UNSPECIFIED
    assert request.schedule.policy == POLICY_UNSPECIFIED
    assert (request.min_agents, request.timeout_s, request.detach) == (0, 0.0, False)


def test_ids_may_have_spaces_around_them() -> None:
    assert list(agents("a, b").ids.ids) == ["a", "b"]
    with pytest.raises(Trouble):
        agents("")


@pytest.mark.parametrize("name", ["w1", "a.example.net", "10.0.0.1", "2001:db8::1", "fe80::1%eth0"])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "http://a", "a\x1b[2J", "x" * 254])
def test_no_names(name: str) -> None:
    with pytest.raises(Trouble, match="neither a host name nor an address"):
        check_name(name)


def test_a_request_above_the_frame_cap_is_never_sent() -> None:
    names = tuple(f"host-{n}.{'x' * 200}.example.net" for n in range(3000))
    with pytest.raises(Trouble, match="split it") as caught:
        build(Wishes(technique="ping", destinations=names), call("ping"), bytes(16))
    assert caught.value.code == Exit.USAGE


def test_options_are_listed_with_range_and_default() -> None:
    lines = option_lines(technique_named("ping").options())
    assert lines[0].startswith("proto ")
    assert "(1 to 1000 packets; default 10)" in lines[1]
    assert "(0.01 to 60 s; default 0.2, udp 1)" in lines[2]
