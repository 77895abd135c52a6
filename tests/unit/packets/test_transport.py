from __future__ import annotations

from emodis.packets.transport import Gate, SendFailed, Stop, Traffic, transmission_ns


class Word:
    """An interrupt that is given."""

    def __init__(self, waiting: bool = False) -> None:
        self._waiting = waiting

    def fileno(self) -> int:
        return 0

    def waiting(self) -> bool:
        return self._waiting


def gate(
    *, stop_by_ns: int = 10**9, max_bytes: int = 0, sent_bytes: int = 0, waiting: bool = False
) -> Gate:
    return Gate(stop_by_ns, max_bytes, Traffic(sent_bytes=sent_bytes), Word(waiting), lambda: 0)


def test_a_byte_takes_16_us_at_half_a_megabit() -> None:
    assert transmission_ns(500_000 // 8) == 10**9


def test_bytes_leave_as_long_as_they_are_through_before_stop_by() -> None:
    assert gate().lets(62_500)
    late = gate()
    assert not late.lets(62_501)
    assert late.traffic.stopped_by is Stop.STOP_BY


def test_nothing_leaves_after_stop_by() -> None:
    assert not gate(stop_by_ns=-1).lets(0)


def test_the_byte_cap_counts_what_has_left_already() -> None:
    assert gate(max_bytes=1000, sent_bytes=400).lets(600)
    full = gate(max_bytes=1000, sent_bytes=400)
    assert not full.lets(601)
    assert full.traffic.stopped_by is Stop.BYTE_CAP


def test_an_interrupt_comes_before_everything() -> None:
    called_off = gate(waiting=True, stop_by_ns=-1)
    assert not called_off.lets(1)
    assert called_off.traffic.stopped_by is Stop.INTERRUPT


def test_a_reason_names_the_error() -> None:
    assert SendFailed(90, "too long").reason == "send_failed(EMSGSIZE)"
    assert SendFailed(99_999, "?").reason == "send_failed(99999)"


def test_bytes_that_may_still_queue_are_in_the_way_of_those_behind_them() -> None:
    # 1000 bytes take 16 ms.
    gate = Gate(40_000_000, 0, Traffic(), Word(), lambda: 0)
    assert gate.lets(1000)
    gate.sent(1000)
    gate.sent(1000)
    assert gate.queue_ns() == 32_000_000
    assert not gate.lets(1000)
    assert gate.lets(500)
    assert gate.traffic.sent_bytes == 2000
    gate.all_left()
    assert gate.queue_ns() == 0
    assert gate.lets(1000)


def test_what_has_had_its_time_queues_no_more() -> None:
    now = [0]
    gate = Gate(40_000_000, 0, Traffic(), Word(), lambda: now[0])
    gate.sent(1000)
    now[0] = 20_000_000
    gate.sent(500)
    assert gate.traffic.clear_ns == 28_000_000
