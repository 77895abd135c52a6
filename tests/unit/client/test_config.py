from __future__ import annotations

from pathlib import Path

import pytest

from emodis.client.config import Flags, config_path, settle, state_dir
from emodis.client.exits import Exit, Trouble


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(folder), "HOME": "/nonexistent", **more}


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "emodis" / "client.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_without_anything() -> None:
    settings = settle(Flags(), {"HOME": "/nonexistent"})
    assert (settings.master, settings.insecure, settings.format) == (None, False, "table")


def test_flag_beats_environment_beats_file(tmp_path: Path) -> None:
    write(tmp_path, 'master = "file"\nformat = "json"\ninsecure = true\nas_map = "/a.mmdb"\n')
    settings = settle(Flags(), environ(tmp_path))
    assert (settings.master, settings.insecure, settings.format) == ("file", True, "json")
    assert settings.as_map == Path("/a.mmdb")
    told = environ(tmp_path, EMODIS_MASTER="variable", EMODIS_INSECURE="0")
    settings = settle(Flags(), told)
    assert (settings.master, settings.insecure) == ("variable", False)
    settings = settle(Flags(master="flag", insecure=True, format="table"), told)
    assert (settings.master, settings.insecure, settings.format) == ("flag", True, "table")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = write(tmp_path, 'token = "secret"\n', mode)
    with pytest.raises(Trouble, match="chmod 600"):
        settle(Flags(), environ(tmp_path))
    path.chmod(0o600)
    settings = settle(Flags(), environ(tmp_path))
    assert settings.token == "secret"  # noqa: S105
    assert "secret" not in repr(settings)


def test_without_a_token_anybody_may_read_it(tmp_path: Path) -> None:
    write(tmp_path, 'master = "m"\n', 0o644)
    assert settle(Flags(), environ(tmp_path)).master == "m"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("master = ", "is not TOML"),
        ('mastr = "m"', "unknown key 'mastr'; there are master, insecure"),
        ("master = 5", "master must be a string, not 5"),
        ('insecure = "yes"', "insecure must be true or false"),
        ('format = "xml"', "format 'xml' is not one of table, json"),
    ],
)
def test_a_broken_file_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    with pytest.raises(Trouble) as caught:
        settle(Flags(), environ(tmp_path))
    assert caught.value.code == Exit.USAGE
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, "").write_bytes(b"\xff\xfe")
    with pytest.raises(Trouble, match="cannot read"):
        settle(Flags(), environ(tmp_path))


def test_a_strange_variable() -> None:
    with pytest.raises(Trouble, match="write 1 or 0"):
        settle(Flags(), {"HOME": "/", "EMODIS_INSECURE": "maybe"})


def test_where_things_are() -> None:
    told = {"HOME": "/home/x", "XDG_CONFIG_HOME": "relative/is/ignored"}
    assert config_path(told) == Path("/home/x/.config/emodis/client.toml")
    assert state_dir(told) == Path("/home/x/.local/state/emodis")
    assert state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/emodis")
