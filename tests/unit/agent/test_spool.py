from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from emodis.agent.assignment import key_of
from emodis.agent.spool import Spool
from emodis.wire.v1.agent_pb2 import RunResult
from emodis.wire.v1.common_pb2 import Outcome
from tests.support.agents import run_key


def result(number: int, size_bytes: int = 0) -> RunResult:
    return RunResult(run=run_key(number), outcome=Outcome(observations=bytes(size_bytes)))


@attrs.define
class Rig:
    spool: Spool = attrs.field(factory=Spool)
    sent: list[tuple[int, bool]] = attrs.field(factory=list)

    def open(self) -> None:
        self.spool.open(lambda r: self.sent.append((r.run.destination, r.respooled)))

    def ack(self, *numbers: int) -> None:
        self.spool.acknowledged([run_key(number) for number in numbers])


def test_a_result_is_kept_until_its_ack() -> None:
    rig = Rig()
    rig.open()
    rig.spool.put(result(1))
    assert rig.sent == [(1, False)]
    assert key_of(run_key(1)) in rig.spool
    rig.ack(1)
    assert len(rig.spool) == 0


def test_a_new_session_gets_what_was_not_acknowledged_and_what_ended_in_between() -> None:
    rig = Rig()
    rig.open()
    rig.spool.put(result(1))
    rig.spool.put(result(2))
    rig.ack(1)
    rig.spool.close()
    rig.spool.put(result(3))
    assert rig.sent == [(1, False), (2, False)]
    rig.sent.clear()
    rig.open()
    assert rig.sent == [(2, True), (3, True)]


def test_large_results_leave_one_after_the_other() -> None:
    rig = Rig(spool=Spool(window_bytes=1000))
    rig.open()
    for number in range(3):
        rig.spool.put(result(number, 700))
    assert rig.sent == [(0, False)]
    rig.ack(0)
    assert rig.sent == [(0, False), (1, False)]


def test_it_is_full_by_number_or_by_bytes_and_no_longer_after_acks() -> None:
    rig = Rig(spool=Spool(max_results=2))
    fullness = []
    for number in (1, 2):
        rig.spool.put(result(number))
        fullness.append(rig.spool.full)
    rig.ack(1)
    assert [*fullness, rig.spool.full] == [False, True, False]
    heavy = Spool(max_bytes=100)
    heavy.put(result(1, 200))
    fullness = [heavy.full]
    heavy.acknowledged([run_key(1)])
    assert [*fullness, heavy.full] == [True, False]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 8)),
            st.tuples(st.just("ack"), st.integers(0, 8)),
            st.tuples(st.sampled_from(["open", "close"]), st.just(0)),
        ),
        max_size=60,
    )
)
def test_nothing_is_lost_whatever_happens(steps: list[tuple[str, int]]) -> None:
    rig, wanted, online = Rig(spool=Spool(window_bytes=300)), set[int](), False
    for what, number in steps:
        if what == "put":
            rig.spool.put(result(number, 100))
            wanted.add(number)
        elif what == "ack":
            rig.ack(number)
            wanted.discard(number)
        elif what == "open":
            rig.open()
            online = True
        else:
            rig.spool.close()
            online = False
        assert len(rig.spool) == len(wanted)
    if not online:
        rig.open()
    # A master that acknowledges whatever it gets has everything in the end.
    seen = 0
    for _ in range(1000):
        if seen == len(rig.sent):
            break
        number, seen = rig.sent[seen][0], seen + 1
        rig.ack(number)
    assert len(rig.spool) == 0
    assert wanted <= {number for number, _ in rig.sent}
