from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.master.store.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """An open store on a new file."""
    rig = Rig(tmp_path / "emodis.sqlite3")
    yield rig
    rig.close()
