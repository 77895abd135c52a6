from __future__ import annotations

import pytest

from emodis.techniques.base import BadParameters, Conversational, Speaking
from emodis.techniques.kinds import needed
from emodis.techniques.plugins import BrokenPlugin, Plugins
from emodis.wire.v1.common_pb2 import PACKET_KIND_TCP, Body
from emodis.wire.v1.techniques_pb2 import PingResult
from tests.support.plugins import point


def plugins(name: str, thing: str, module: str | None = None) -> Plugins:
    made = point(name, thing) if module is None else point(name, thing, module)
    return Plugins({name: made})


def load(name: str, thing: str) -> Conversational:
    return plugins(name, thing).load(name)


@pytest.mark.parametrize("thing", ["Good", "ready_made"])
def test_a_class_or_an_instance_becomes_a_technique(thing: str) -> None:
    technique = load("good", thing)
    assert (technique.NAME, technique.SCHEMA, technique.NEEDS_RAW) == ("good", 1, False)
    call = technique.call({"count": "3"})
    assert call.technique == "good"
    assert (
        technique.worst_case(call).duration_s < technique.worst_case(technique.call({})).duration_s
    )
    assert "count" in {option.name for option in technique.options()}


def test_it_is_loaded_once() -> None:
    installed = plugins("good", "Good")
    assert installed.load("good") is installed.load("good")


def test_what_is_not_installed_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        plugins("good", "Good").load("other")


@pytest.mark.parametrize(
    ("name", "thing", "words"),
    [
        ("good", "NoSuchThing", "AttributeError"),
        ("other", "Good", "it calls itself 'good'"),
        ("x", "Nothing", "it has no method options, call"),
        ("x", "Leaves", "SystemExit: I want to leave"),
        ("needy", "Needy", "LookupError: what"),
        ("endless", "Endless", "says that it would take"),
        ("slow", "Slow", "no run may take more than 120 s"),
        ("liar", "Liar", "ValueError|BadParameters"),
        ("wave", "Wave", "POLICY must be"),
        ("planner", "Planner", "plans have to be built in"),
    ],
)
def test_a_broken_one_is_one_line(name: str, thing: str, words: str) -> None:
    installed = plugins(name, thing)
    # The second time too.
    for _ in range(2):
        with pytest.raises(BrokenPlugin, match=words) as caught:
            installed.load(name)
        assert str(caught.value).startswith(f"plug-in {name!r} (tests.support.plugins:{thing}): ")
        assert str(caught.value).isprintable()


def test_a_module_that_cannot_be_imported_is_one_line() -> None:
    with pytest.raises(BrokenPlugin, match="ModuleNotFoundError: No module named 'nowhere'"):
        plugins("x", "X", "nowhere").load("x")


def test_what_it_raises_later_is_what_its_interface_knows() -> None:
    technique = load("clumsy", "Clumsy")
    with pytest.raises(
        BadParameters, match=r"^plug-in 'clumsy' failed: ZeroDivisionError: oh dear$"
    ):
        technique.call({"count": "3"})
    with pytest.raises(BadParameters, match="count must be"):
        technique.call({"count": "0"})
    for ask in (technique.result, technique.addresses):
        with pytest.raises(ValueError, match="KeyError"):
            ask(Body(technique="clumsy", schema=1))
    tongueless = load("tongueless", "Tongueless")
    assert isinstance(tongueless, Speaking)
    with pytest.raises(ValueError, match="IndexError"):
        tongueless.sentence(PingResult())


def test_words_are_optional() -> None:
    for name, thing, words in (("good", "Good", "1 of 2 came back."), ("silent", "Silent", "")):
        technique = load(name, thing)
        assert isinstance(technique, Speaking)
        assert technique.sentence(PingResult(sent=2, answered=1)) == words


def test_message_types_are_passed_through() -> None:
    assert getattr(load("good", "Good"), "RESULT") is PingResult  # noqa: B009 - beyond the protocol


def test_what_must_be_sent_for_it_is_asked_like_everything_else() -> None:
    technique = load("good", "Good")
    assert needed(technique, technique.call({"proto": "tcp"})) == {PACKET_KIND_TCP}
