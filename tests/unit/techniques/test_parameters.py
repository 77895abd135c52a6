from __future__ import annotations

from typing import Any

import attrs
import pytest

from emodis.techniques import parameters
from emodis.techniques.base import BadParameters
from emodis.techniques.broute_parameters import Parameters as BrouteParameters
from emodis.techniques.igi_search import Parameters as IgiParameters
from emodis.techniques.loss import Parameters as LossParameters
from emodis.techniques.pathneck import Parameters as PathneckParameters
from emodis.techniques.ping import Parameters as PingParameters
from emodis.techniques.traceroute_parameters import Parameters as TracerouteParameters
from emodis.wire.v1 import broute_pb2, igi_pb2, loss_pb2, techniques_pb2

ALL: list[tuple[type[Any], type[Any]]] = [
    (PingParameters, techniques_pb2.PingParameters),
    (TracerouteParameters, techniques_pb2.TracerouteParameters),
    (PathneckParameters, techniques_pb2.PathneckParameters),
    (LossParameters, loss_pb2.LossParameters),
    (IgiParameters, igi_pb2.IgiParameters),
    (BrouteParameters, broute_pb2.BrouteParameters),
]


@pytest.mark.parametrize(("cls", "message"), ALL)
def test_parameters_survive_their_message(cls: type[Any], message: type[Any]) -> None:
    sent = parameters.to_message(cls(), message).SerializeToString()
    assert parameters.from_message(cls, message.FromString(sent)) == cls()


@pytest.mark.parametrize(("cls", "message"), ALL)
def test_message_and_declaration_have_the_same_fields(cls: type[Any], message: type[Any]) -> None:
    declared = {field.name for field in attrs.fields(cls)}
    assert declared == {field.name for field in message.DESCRIPTOR.fields}


@pytest.mark.parametrize(("cls", "message"), ALL)
def test_every_option_has_a_help_text_and_bounds(cls: type[Any], message: type[Any]) -> None:
    for option in parameters.options(cls):
        assert option.help
        assert option.bounds
        assert option.default is not None


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ({"cuont": "3"}, "there is no parameter 'cuont'; there are proto, count, interval_s,"),
        ({"count": "0"}, "count must be 1 to 1000 packets, not 0"),
        ({"count": "1001"}, "count must be 1 to 1000 packets, not 1001"),
        ({"count": "ten"}, "count must be 1 to 1000 packets, not 'ten'"),
        ({"count": "2.5"}, "count must be 1 to 1000 packets, not '2.5'"),
        ({"interval_s": "nan"}, "interval_s must be 0.01 to 60 s, not nan"),
        ({"interval_s": "inf"}, "interval_s must be 0.01 to 60 s, not inf"),
        ({"interval_s": "0.001"}, "interval_s must be 0.01 to 60 s, not 0.001"),
        ({"interval_s": ""}, "interval_s must be 0.01 to 60 s, not ''"),
    ],
)
def test_a_bad_value_is_named_with_its_range(texts: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadParameters) as error:
        parameters.parse(PingParameters, texts)
    assert str(error.value).startswith(complaint)


def test_words_and_switches() -> None:
    chosen = parameters.parse(PathneckParameters, {"mute": "none", "adaptive": "Off"})
    assert (chosen.mute, chosen.adaptive) == ("none", False)
    with pytest.raises(BadParameters, match="mute must be auto, badsum, none, coop, not 'loud'"):
        parameters.parse(PathneckParameters, {"mute": "loud"})
    with pytest.raises(BadParameters, match="adaptive must be on, off, not 'maybe'"):
        parameters.parse(PathneckParameters, {"adaptive": "maybe"})


def test_a_message_out_of_range_is_refused_too() -> None:
    with pytest.raises(BadParameters, match="count must be"):
        parameters.from_message(PingParameters, techniques_pb2.PingParameters())


@pytest.mark.parametrize(
    ("options", "interval_s", "port"),
    [
        ({}, 0.2, 33434),
        ({"proto": "udp"}, 1.0, 33434),
        ({"proto": "tcp"}, 0.2, 443),
        ({"proto": "udp", "interval_s": "0.5", "port": "53"}, 0.5, 53),
    ],
)
def test_a_default_may_hang_on_another_parameter(
    options: dict[str, str], interval_s: float, port: int
) -> None:
    chosen = parameters.parse(PingParameters, options)
    assert (chosen.interval_s, chosen.port) == (interval_s, port)
    shown = {option.name: option.default for option in parameters.options(PingParameters)}
    assert (shown["interval_s"], shown["port"]) == ("0.2, udp 1", "33434, tcp 443")


def test_what_an_older_message_lacks_keeps_its_default() -> None:
    old = techniques_pb2.PingParameters(
        count=7, interval_s=0.5, payload_bytes=56, timeout_s=2, ttl=64
    )
    chosen = parameters.from_message(PingParameters, old)
    assert chosen == PingParameters(count=7, interval_s=0.5)
    assert (chosen.proto, chosen.spacing, chosen.dscp) == ("icmp", "periodic", 0)
