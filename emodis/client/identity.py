"""Who this client is to a master: a UUID, made once and kept in the state directory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

FILE = "client-id"


def client_id(directory: Path, make: Callable[[], uuid.UUID] = uuid.uuid4) -> str:
    """The kept id; a new one on first use, or for this time only where nothing can be kept."""
    path = directory / FILE
    kept = _read(path)
    if kept is not None:
        return kept
    fresh = str(make())
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, fresh)
    except OSError:
        # Read-only home, full disk: measuring does not depend on it.
        return fresh
    # Two first starts at once: whoever came first has named us both.
    return _read(path) or fresh


def _read(path: Path) -> str | None:
    try:
        return str(uuid.UUID(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a whole file or none; an unreadable one is replaced."""
    scratch = path.with_name(f"{FILE}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
    try:
        if _read(path) is None:
            path.unlink(missing_ok=True)
            os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink(missing_ok=True)
