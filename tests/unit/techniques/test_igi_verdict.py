from __future__ import annotations

import pytest

from emodis.techniques.igi_verdict import Way, without_answer
from emodis.wire.v1.common_pb2 import BLAME_AGENT, BLAME_TARGET, END_FAILED, Blame

DOWN, UP = Way(upstream=False, relayed=False), Way(upstream=True, relayed=False)
RELAYED, UP_RELAYED = Way(upstream=False, relayed=True), Way(upstream=True, relayed=True)


@pytest.mark.parametrize(
    ("way", "spoke", "advice"),
    [
        (DOWN, "TCP got through", "on this host must let UDP in."),
        (RELAYED, "through the master", "must let answers to this host's own UDP packets in."),
        (UP, "TCP got through", "reached the agent; a firewall or NAT before it must let UDP in"),
        (UP_RELAYED, "through the master", "reached the agent; a firewall or NAT before it must"),
    ],
)
def test_who_has_to_let_udp_in_depends_on_where_it_went(way: Way, spoke: str, advice: str) -> None:
    found = without_answer("udp_blocked", way)
    assert (found.end, found.reason) == (END_FAILED, "udp_blocked")
    assert spoke in found.hint
    assert ("TCP" in found.hint) != way.relayed
    assert advice in found.hint


@pytest.mark.parametrize(
    ("way", "blame", "who"),
    [(DOWN, BLAME_AGENT, "The sending host was"), (UP, BLAME_TARGET, "This host was")],
)
def test_whoever_sends_is_too_busy(way: Way, blame: Blame.ValueType, who: str) -> None:
    found = without_answer("self_congested", way)
    assert (found.reason, found.blame) == ("self_congested", blame)
    assert found.hint.startswith(who)


@pytest.mark.parametrize(
    ("stopped", "advice"),
    [
        ("max_time", "before max_time_s was reached; raise that"),
        ("min_rate", "before min_rate_bps was reached; lower that"),
    ],
)
def test_a_limit_is_named_with_what_to_do_about_it(stopped: str, advice: str) -> None:
    found = without_answer(stopped, DOWN)
    assert found.reason == "not_converged"
    assert advice in found.hint
