from __future__ import annotations

import pytest

from emodis.techniques import registry
from emodis.techniques.base import BadParameters
from emodis.techniques.plugins import Plugins
from emodis.techniques.registry import PLANS, TECHNIQUES, UnknownTechnique, get
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body
from tests.support.plugins import point

NAMES = sorted({*TECHNIQUES, *PLANS})


def test_what_there_is() -> None:
    assert NAMES == ["broute", "igi", "loss", "pathneck", "ping", "traceroute"]
    assert get("ping").NAME == "ping"


def test_an_unknown_one_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownTechnique, match="no technique 'pong'; there are broute, igi, loss, path"
    ):
        get("pong")


def test_trains_have_their_agent_to_themselves() -> None:
    assert [name for name in NAMES if get(name).EXCLUSIVE] == ["igi", "pathneck"]
    assert get("pathneck").POLICY == Policy.POLICY_RING
    assert get("ping").POLICY == Policy.POLICY_LOCK


@pytest.mark.parametrize("name", NAMES)
def test_defaults_cost_less_than_they_may(name: str) -> None:
    technique = get(name)
    call = technique.call({})
    expected, worst = technique.expected(call), technique.worst_case(call)
    assert 0 < expected.duration_s <= worst.duration_s <= 120
    assert 0 < expected.sent_bytes <= worst.sent_bytes


def test_pathneck_defaults_are_those_of_its_specification() -> None:
    worst = get("pathneck").worst_case(get("pathneck").call({}))
    assert round(worst.duration_s) == 84
    assert worst.sent_bytes < 2_900_000


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ping", {"count": "1000", "interval_s": "1"}),
        ("pathneck", {"trains": "50"}),
        ("pathneck", {"max_interval_s": "12"}),
    ],
)
def test_what_may_take_over_two_minutes_is_refused(name: str, options: dict[str, str]) -> None:
    with pytest.raises(BadParameters, match="no run may take more than 120 s"):
        get(name).call(options)


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_or_broken_call_is_refused(name: str) -> None:
    technique = get(name)
    good = technique.call({})
    broken = [
        Body(technique="other", schema=1, body=good.body),
        Body(technique=name, schema=99, body=good.body),
        Body(technique=name, schema=1, body=b"\xff\xff\xff"),
        Body(technique=name, schema=1, body=b""),
    ]
    for call in broken:
        with pytest.raises(BadParameters):
            technique.worst_case(call)


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_or_broken_result_is_refused(name: str) -> None:
    technique = get(name)
    for body in (Body(technique="other", schema=1), Body(technique=name, schema=1, body=b"\xff")):
        with pytest.raises(ValueError, match=name):
            technique.result(body)
        with pytest.raises(ValueError, match=name):
            technique.addresses(body)
    with pytest.raises(ValueError, match="Observations"):
        technique.estimate(technique.call({}), b"\xff")


def installed(monkeypatch: pytest.MonkeyPatch, **things: str) -> None:
    points = {name: point(name, thing) for name, thing in things.items()}
    monkeypatch.setattr(registry, "PLUGINS", Plugins(points))


def test_a_plugin_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, good="Good")
    assert registry.names() == (*TECHNIQUES, *PLANS, "good")
    assert get("good").NAME == "good"


def test_a_broken_one_is_unknown_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, good="Good", broken="Nothing")
    with pytest.raises(UnknownTechnique, match=r"plug-in 'broken' .*no method"):
        get("broken")
    working, (complaint,) = registry.usable(registry.names())
    assert list(working) == [*TECHNIQUES, *PLANS, "good"]
    assert complaint.startswith("plug-in 'broken' (")


def test_what_nobody_wants_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, good="Good", broken="Nothing")
    assert list(registry.usable(["ping", "good"])[0]) == ["ping", "good"]
    assert registry.PLUGINS._loaded.keys() == {"good"}
