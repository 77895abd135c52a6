from __future__ import annotations

import uuid
from pathlib import Path

from emodis.client.identity import FILE, client_id


def test_it_is_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "emodis"
    first = client_id(folder)
    assert uuid.UUID(first)
    assert client_id(folder) == first
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("not a uuid")
    fresh = client_id(tmp_path)
    assert uuid.UUID(fresh)
    assert client_id(tmp_path) == fresh


def test_where_nothing_can_be_kept_it_lasts_for_one_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "emodis"
    assert uuid.UUID(client_id(folder))
    assert client_id(folder) != client_id(folder)


def test_two_first_starts_at_once_agree(tmp_path: Path) -> None:
    def meanwhile() -> uuid.UUID:
        (tmp_path / FILE).write_text(str(uuid.UUID(int=7)))
        return uuid.UUID(int=8)

    assert client_id(tmp_path, meanwhile) == str(uuid.UUID(int=7))
