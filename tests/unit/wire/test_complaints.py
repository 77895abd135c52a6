from __future__ import annotations

from emodis.wire.complaints import Complaints


def test_a_thousand_bad_peers_are_ten_lines_and_a_number() -> None:
    complaints = Complaints(burst=10, window_s=60.0)
    lines = [line for n in range(1000) for line in complaints.lines(n / 100, f"peer {n}")]
    assert lines == [f"peer {n}" for n in range(10)]
    assert complaints.lines(60.0, "another") == [
        "990 more complaints about peers were left out",
        "another",
    ]


def test_a_quiet_window_has_nothing_to_add() -> None:
    complaints = Complaints(burst=1, window_s=60.0)
    assert complaints.lines(0.0, "one") == ["one"]
    assert complaints.lines(100.0, "two") == ["two"]
