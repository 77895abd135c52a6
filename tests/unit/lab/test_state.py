from __future__ import annotations

from pathlib import Path

import pytest

from emodis.lab import state as states
from emodis.lab.state import LabState, StateError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMODIS_LAB_DIR", str(tmp_path / "labs"))
    return tmp_path / "labs"


def values(name: str) -> LabState:
    return LabState(name=name, pid=1, user_namespace=False, fds={"h1": 5}, since_unix_s=1.5)


def test_a_lab_appears_complete_and_under_its_name() -> None:
    directory, file = states.conceive()
    assert states.living() == []
    with file:
        named = states.bear(directory, file, values("x"))
        assert states.living() == [(named, values("x"))]
        assert states.find("x") == (named, values("x"))


def test_when_the_holder_is_gone_the_lab_is_gone_with_all_its_files(place: Path) -> None:
    directory, file = states.conceive()
    named = states.bear(directory, file, values("x"))
    (named / "hosts").write_text("")
    file.close()
    assert states.living() == []
    assert [entry.name for entry in place.iterdir()] == [".lock"]


def test_a_lab_being_born_is_left_alone_and_a_stillborn_one_removed() -> None:
    directory, file = states.conceive()
    states.clean()
    assert directory.exists()
    file.close()
    states.clean()
    assert not directory.exists()


def test_a_name_is_given_once() -> None:
    first, first_file = states.conceive()
    second, second_file = states.conceive()
    with first_file, second_file:
        states.bear(first, first_file, values("x"))
        with pytest.raises(StateError, match="'x' is up already"):
            states.bear(second, second_file, values("x"))


def test_a_log_that_says_something_outlives_its_lab(place: Path) -> None:
    directory, file = states.conceive()
    named = states.bear(directory, file, values("x"))
    (named / states.LOG).write_text("it broke\n")
    file.close()
    states.clean()
    assert (place / "x.log").read_text() == "it broke\n"


def test_an_unknown_lab_is_one_line() -> None:
    with pytest.raises(StateError, match="no lab 'x' is up"):
        states.find("x")


def test_a_place_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMODIS_LAB_DIR", str(tmp_path / "file" / "labs"))
    with pytest.raises(StateError, match="set EMODIS_LAB_DIR elsewhere"):
        states.prepare()
