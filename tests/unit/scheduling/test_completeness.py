"""Any number of agents and destinations, any durations: all is measured, nobody meets anybody."""

from __future__ import annotations

import heapq
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emodis.scheduling.model import Policy
from tests.unit.scheduling.rig import EXPIRED_NS, STOP_NS, WORST_NS, Rig

AGENTS = "abcdefgh"
DESTINATIONS = "stuvwxyz"
# None never ends: its deadline ends it.
DURATIONS = st.one_of(st.none(), st.integers(0, WORST_NS), st.just(0))


@given(
    policy=st.sampled_from(Policy),
    agents=st.integers(1, 8),
    destinations=st.integers(1, 8),
    data=st.data(),
)
def test_every_pair_ends_once_and_the_visits_of_a_destination_do_not_overlap(
    policy: Policy, agents: int, destinations: int, data: st.DataObject
) -> None:
    rig = Rig()
    rig.join(*AGENTS[:agents])
    heard = rig.admit(AGENTS[:agents], DESTINATIONS[:destinations], policy=policy)
    pending: list[tuple[int, str | None]] = []
    visits: dict[str, tuple[int, int]] = {}
    expired: list[str] = []
    for _ in range(3 * agents * destinations + 1):
        for text in rig.starts.keys() - visits.keys():
            duration_ns = data.draw(DURATIONS)
            last_ns = STOP_NS if duration_ns is None else duration_ns
            visits[text] = (rig.now_ns, rig.now_ns + last_ns)
            wake_ns = EXPIRED_NS if duration_ns is None else duration_ns
            heapq.heappush(pending, (rig.now_ns + wake_ns, text))
        if "over m" in heard:
            break
        rig.now_ns, ended = heapq.heappop(pending)
        silent = visits[str(ended)][0] + EXPIRED_NS == rig.now_ns
        heard = rig.at(rig.now_ns) if silent else rig.end(str(ended))
        expired += [text for text in heard if text.startswith("expired")]
    assert heard[-1] == "over m"
    assert len(visits) == agents * destinations
    assert len(expired) == sum(end - begin == STOP_NS for begin, end in visits.values())
    for letter in range(destinations):
        assert_disjoint([span for text, span in visits.items() if text.endswith(f">{letter + 1}")])
    for agent in AGENTS[:agents]:
        assert_disjoint([span for text, span in visits.items() if f":{agent}>" in text])


def assert_disjoint(spans: list[tuple[int, int]]) -> None:
    """In order of their begins, each ends before the next begins."""
    ordered = sorted(spans)
    for (_, end), (begin, _) in pairwise(ordered):
        assert end <= begin
