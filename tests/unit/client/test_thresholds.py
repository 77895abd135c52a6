from __future__ import annotations

import pytest

from emodis.client import thresholds
from emodis.client.exits import Exit, Trouble
from emodis.client.thresholds import METRICS, held, parse
from emodis.techniques import registry
from emodis.wire.v1.common_pb2 import END_FAILED
from emodis.wire.v1.loss_pb2 import LossResult
from tests.unit.client.builders import MS, broute, igi, pathneck, ping, report, result, traceroute


@pytest.mark.parametrize(
    ("text", "metric", "compare", "limit"),
    [
        ("loss_ratio>0.01", "loss_ratio", ">", 0.01),
        ("loss>1%", "loss_ratio", ">", 0.01),
        ("loss > 0.5", "loss_ratio", ">", 0.5),
        ("rtt_median_ns>50000000", "rtt_median_ns", ">", 50e6),
        ("rtt_median>50ms", "rtt_median_ns", ">", 50e6),
        ("rtt_p95_ns >= 0.1 s", "rtt_p95_ns", ">=", 1e8),
        ("duplicates!=0", "duplicates", "!=", 0),
    ],
)
def test_ping_expressions(text: str, metric: str, compare: str, limit: float) -> None:
    found = parse(text, "ping")
    assert (found.metric, found.compare) == (metric, compare)
    assert found.limit == pytest.approx(limit)


def test_rates() -> None:
    assert parse("bottleneck<5Mbit/s", "pathneck").limit == 5e6
    assert parse("bottleneck_bps<5000000", "pathneck").limit == 5e6


@pytest.mark.parametrize(
    ("text", "technique", "words"),
    [
        ("lost>1", "ping", "there are loss_ratio"),
        ("bottleneck_bps<1", "ping", "knows no 'bottleneck_bps' of ping"),
        ("loss", "ping", "NAME OP NUMBER"),
        ("loss=>1", "ping", "NAME OP NUMBER"),
        ("", "ping", "NAME OP NUMBER"),
        ("rtt_median>50", "ping", "needs a unit here; there are ns, us"),
        ("rtt_median>50Mbit/s", "ping", "no unit of rtt_median_ns"),
        ("duplicates>5ms", "ping", "duplicates has no unit"),
        ("loss>1e999", "ping", "not a number"),
        ("loss>--", "ping", "not a number"),
        ("x>1", "newer", "there are none"),
    ],
)
def test_what_is_not_understood_is_said(text: str, technique: str, words: str) -> None:
    with pytest.raises(Trouble, match="--fail-if") as caught:
        parse(text, technique)
    assert caught.value.code == Exit.USAGE
    assert words in str(caught.value)


def test_one_agent_is_enough_and_is_named() -> None:
    made = report("ping", result("ams", ping()), result("bru", ping(90 * MS)))
    assert held([parse("rtt_median>50ms", "ping")], [made]) == [
        "--fail-if rtt_median>50ms holds at bru"
    ]
    assert held([parse("rtt_median>100ms", "ping")], [made]) == []


def test_either_direction_is_enough() -> None:
    both = igi(30_000_000)
    both.upstream.CopyFrom(igi(2_000_000))
    both.upstream.direction = "upstream"
    made = report("igi", result("ams", both))
    assert held([parse("ptr<5Mbit/s", "igi")], [made])
    assert held([parse("ptr>20Mbit/s", "igi")], [made])
    assert not held([parse("ptr<1Mbit/s", "igi")], [made])


def test_a_destination_that_rations_its_answers_has_no_loss_to_compare() -> None:
    rationed = ping(loss_ratio=0.6)
    rationed.rate_limited_suspected = True
    made = report("ping", result("ams", rationed))
    assert held([parse("loss>1%", "ping")], [made]) == []


def test_a_failed_ping_still_has_its_loss() -> None:
    made = report("ping", result("ams", ping(None, loss_ratio=1.0), end=END_FAILED))
    assert held([parse("loss>50%", "ping")], [made])
    assert not held([parse("rtt_median>1ns", "ping")], [made])


def test_every_metric_can_be_read_of_an_empty_and_of_a_full_result() -> None:
    full = {
        "igi": igi(),
        "ping": ping(),
        "traceroute": traceroute("10.1.0.1"),
        "pathneck": pathneck("10.1.0.1", "10.2.0.1", bottleneck=2),
        "broute": broute(),
        "loss": LossResult(sent=300, loss_ratio=0.1, rtt_median_ns=12 * MS, hop_count=4),
    }
    assert set(METRICS) == {*registry.TECHNIQUES, *registry.PLANS}
    for technique, metrics in METRICS.items():
        for name, read in metrics.items():
            read(type(full[technique])())
            value = read(full[technique])
            assert value is None or isinstance(value, float), name


def test_metric_names_are_fields_or_name_their_unit() -> None:
    units = tuple(thresholds._UNITS)
    for name in METRICS["pathneck"]:
        assert name.endswith(units) or name in {"bottleneck_ttl", "trains_used"}
