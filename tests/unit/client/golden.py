"""Recorded outputs: compared, or rewritten with EMODIS_GOLDEN=write."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "golden" / "client"


def check(name: str, text: str) -> None:
    """The text must be what was recorded under this name."""
    path = FOLDER / name
    if os.environ.get("EMODIS_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no {path.name}; record it with EMODIS_GOLDEN=write"
    assert text == path.read_text(encoding="utf-8"), f"{name} changed; see EMODIS_GOLDEN=write"
