from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.client.render import words
from emodis.client.render.columns import Column, Grid


@pytest.mark.parametrize(
    ("bps", "text"),
    [
        (0, "0 bit/s"),
        (999, "999 bit/s"),
        (9_600_000, "9.6 Mbit/s"),
        (999_960_000, "1.0 Gbit/s"),
        (480_000, "480 kbit/s"),
        (99_960_000, "100 Mbit/s"),
        (1_250_000_000, "1.2 Gbit/s"),
    ],
)
def test_rates(bps: int, text: str) -> None:
    assert words.rate(bps) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 µs"),
        (250_000, "250 µs"),
        (999_800, "1.0 ms"),
        (12_345_678, "12.3 ms"),
        (2e9, "2.00 s"),
    ],
)
def test_times(ns: float, text: str) -> None:
    assert words.time(ns) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0, "0 %"), (0.005, "0.5 %"), (0.125, "12 %"), (0.0999, "10 %"), (1, "100 %")],
)
def test_shares(ratio: float, text: str) -> None:
    assert words.percent(ratio) == text


def test_sizes_and_durations() -> None:
    assert [words.size(n) for n in (312, 33_600, 1_048_576)] == ["312 B", "33.6 kB", "1.0 MB"]
    assert [words.seconds(s) for s in (0.2, 20.4, 600)] == ["1 s", "20 s", "10 min"]


def test_addresses() -> None:
    assert words.address(bytes([10, 0, 0, 1])) == "10.0.0.1"
    assert [words.address(b""), words.address(b"xyz")] == ["*", "*"]


@given(st.floats(min_value=0, max_value=1e15))
def test_a_rate_never_shows_a_thousand_of_its_unit(bps: float) -> None:
    number = float(words.rate(bps).split()[0])
    assert number < 1000 or bps >= 9.995e11


CELLS = st.lists(st.text(max_size=30), min_size=3, max_size=3)


@given(rows=st.lists(CELLS, max_size=5), width=st.integers(40, 120))
def test_a_grid_is_never_wider_than_asked_where_it_can_give(
    rows: list[list[str]], width: int
) -> None:
    grid = Grid(
        [Column("a", gives=True), Column("b", right=True, gives=True), Column("c", gives=True)]
    )
    for row in rows:
        grid.add(*row)
    from rich.cells import cell_len

    for line in grid.lines(width):
        assert cell_len(line.cells[0]) <= width
        assert "\n" not in line.cells[0]


def test_a_sentence_goes_on_below_itself_and_is_never_cut() -> None:
    grid = Grid([Column("agent", gives=True), Column("why", wraps=True)])
    grid.add("Amsterdam", "The agent could not connect; a firewall or NAT has to let it in.")
    assert [line.cells[0] for line in grid.lines(60)] == [
        "agent      why",
        "Amsterdam  The agent could not connect; a firewall or NAT",
        "           has to let it in.",
    ]
    assert [line.cells[0] for line in grid.lines(20)][1:] == [
        "Amsterd…  The agent could not connect; a firewall",
        "          or NAT has to let it in.",
    ]
    assert len(grid.lines(200)) == 2


def test_numbers_are_never_cut() -> None:
    grid = Grid([Column("name", gives=True), Column("rate", right=True)])
    grid.add("a very long name that has to give", "123456789.0 Mbit/s")
    (_, line) = grid.lines(30)
    assert line.cells == ["a very lo…  123456789.0 Mbit/s"]


def test_empty_columns_are_left_out() -> None:
    grid = Grid([Column("a"), Column("b"), Column("c")])
    grid.add("1", "", "3")
    assert [line.cells for line in grid.lines(80)] == [["a  c"], ["1  3"]]
