"""Which attempt of a run is kept, and what is left of it afterwards."""

from __future__ import annotations

import sqlite3

import pytest

from emodis.wire.v1.common_pb2 import Cost, End, Outcome
from tests.unit.master.store.rig import Rig, measurement, outcome, run_key

DONE, FAILED, EXPIRED, LOST = End.END_DONE, End.END_FAILED, End.END_EXPIRED, End.END_LOST


def kept(rig: Rig) -> list[tuple[int, int, int, bool]]:
    results = rig.wait(rig.store.results("m1", after=0, limit=1000, with_observations=True))
    return [
        (result.cursor, result.run.attempt, result.outcome.ending.end, result.late)
        for result in results
    ]


@pytest.mark.parametrize(
    ("first", "second", "replaced"),
    [
        # (attempt, end, late)
        ((0, DONE, False), (0, DONE, False), False),
        ((0, FAILED, False), (0, FAILED, False), False),
        ((0, LOST, False), (1, DONE, False), True),
        ((0, LOST, False), (1, FAILED, False), True),
        ((1, FAILED, False), (0, DONE, True), True),
        ((1, FAILED, False), (0, FAILED, True), False),
        ((0, DONE, False), (1, DONE, False), False),
        ((0, DONE, False), (1, FAILED, False), False),
        ((0, EXPIRED, False), (0, DONE, True), True),
        ((0, EXPIRED, False), (0, FAILED, True), True),
        ((0, FAILED, True), (0, FAILED, True), False),
        ((0, FAILED, True), (0, EXPIRED, False), False),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_the_best_attempt_stands(
    rig: Rig,
    first: tuple[int, End.ValueType, bool],
    second: tuple[int, End.ValueType, bool],
    replaced: bool,
    together: bool,
) -> None:
    saves = []
    for attempt, end, late in (first, second):
        key = run_key(0, attempt=attempt)
        save = rig.store.save_run(key, outcome(end), late=late, overlapped=())
        if not together:
            rig.wait(save)
        saves.append(save)
    before, after = (rig.wait(save) for save in saves)
    assert (after > before) is replaced
    assert (after == before) is not replaced
    attempt, end, late = second if replaced else first
    assert kept(rig) == [(after, attempt, end, late)]


def test_a_thousand_duplicates_leave_one_row(rig: Rig) -> None:
    saves = [
        rig.store.save_run(run_key(0), outcome(), late=False, overlapped=()) for _ in range(1000)
    ]
    assert {rig.wait(save) for save in saves} == {1}
    assert len(kept(rig)) == 1


def test_cursors_grow_over_all_measurements(rig: Rig) -> None:
    cursors = [
        rig.save(run_key(n, measurement_id=f"m{n % 3}", round=n), outcome(LOST)) for n in range(9)
    ]
    cursors += [rig.save(run_key(8, measurement_id="m2", round=8, attempt=1), outcome())]
    assert cursors == sorted(set(cursors))


def test_a_discarded_payload_leaves_its_ledger_row(rig: Rig) -> None:
    rig.wait(rig.store.save_measurement(measurement()))
    rig.save(run_key(0), outcome())
    rig.save(run_key(1, measurement_id="m2"), outcome())
    rig.wait(rig.store.discard_payloads("m1"))
    [result] = rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=True))
    bare = outcome()
    bare.ClearField("result")
    bare.ClearField("observations")
    assert result.outcome == bare
    [other] = rig.wait(rig.store.results("m2", after=0, limit=9, with_observations=True))
    assert other.outcome == outcome()
    # A duplicate that comes after it does not bring the payload back.
    rig.save(run_key(0), outcome())
    connection = sqlite3.connect(rig.path)
    assert connection.execute("select count(*) from results").fetchone() == (1,)
    connection.close()


def test_counters_beyond_the_column_are_cut(rig: Rig) -> None:
    rig.save(run_key(0), outcome(cost=Cost(sent_bytes=2**64 - 1)))
    [result] = rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=False))
    assert result.outcome.cost == Cost(sent_bytes=2**63 - 1)


@pytest.mark.parametrize("size_bytes", [0, 1, 1000, 768 * 1024])
def test_observations_of_every_size_come_back(rig: Rig, size_bytes: int) -> None:
    observations = bytes(n % 251 for n in range(size_bytes))
    rig.save(run_key(0), outcome(observations=observations))
    [result] = rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=True))
    assert result.outcome.observations == observations


def test_an_empty_outcome_is_kept_too(rig: Rig) -> None:
    rig.save(run_key(0), Outcome())
    [result] = rig.wait(rig.store.results("m1", after=0, limit=9, with_observations=True))
    assert not result.outcome.HasField("result")
    assert result.outcome.ending.end == End.END_UNSPECIFIED
