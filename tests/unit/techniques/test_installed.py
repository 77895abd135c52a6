from __future__ import annotations

from emodis.techniques.installed import sort_out
from tests.support.plugins import point


def test_a_plugin_has_its_entry_points_name() -> None:
    good = point("good", "Good")
    assert sort_out([good], ["ping"]) == ({"good": good}, ())


def test_no_plugin_replaces_a_built_in_technique() -> None:
    kept, complaints = sort_out([point("ping", "Good", "rival")], ["ping"])
    assert kept == {}
    assert complaints == (
        "plug-in 'ping' is left out: rival:Good takes the name of a built-in technique",
    )


def test_two_that_claim_one_name_are_both_left_out() -> None:
    kept, (complaint,) = sort_out([point("x", "A", "one"), point("x", "B", "two")], [])
    assert kept == {}
    assert "one:A and two:B both claim the name" in complaint


def test_one_that_is_on_the_path_twice_counts_once() -> None:
    kept, complaints = sort_out([point("x", "A"), point("x", "A")], [])
    assert (list(kept), complaints) == (["x"], ())


def test_a_name_must_fit_command_lines_and_logs() -> None:
    for name in ("", "two words", "Upper", "a,b", "x" * 33, "\x1b[2J"):
        kept, (complaint,) = sort_out([point(name, "Good")], [])
        assert kept == {}
        assert complaint.isprintable()
