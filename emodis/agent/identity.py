"""Who this agent is: a UUID in its state directory, and the lock that keeps it to one daemon."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

import attrs

ID_FILE = "agent-id"
LOCK_FILE = "lock"


class StateError(Exception):
    """The state directory cannot be used; the text says what to do, in one line."""


@attrs.define
class StateDir:
    """An open state directory; nobody else has it until this process ends."""

    path: Path
    # Held open: closing it gives the lock away. Not inherited by the probers.
    _lock_fd: int

    @classmethod
    def open(cls, path: Path) -> StateDir:
        """Create it if need be, and take its lock.

        Raises:
            StateError: if it cannot be made, or another daemon has it.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                f"cannot use the state directory {path}: {error.strerror}; "
                "name another by --state-dir"
            ) from error
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock_fd, 20, 0).decode("ascii", "replace").strip()
            os.close(lock_fd)
            raise StateError(
                f"another emodis-agent{f' (pid {holder})' if holder else ''} uses {path}; "
                "stop it, or give this one its own --state-dir"
            ) from error
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
        return cls(path, lock_fd)

    def close(self) -> None:
        """Give the lock away."""
        os.close(self._lock_fd)

    def agent_id(self) -> str:
        """This agent's UUID, made on first use.

        Raises:
            StateError: if it cannot be read or written, or is no UUID.
        """
        file = self.path / ID_FILE
        try:
            if not file.exists():
                self._write_id(file)
            text = file.read_text(encoding="ascii", errors="replace").strip()
        except OSError as error:
            raise StateError(f"cannot use {file}: {error.strerror}") from error
        try:
            return str(uuid.UUID(text))
        except ValueError as error:
            raise StateError(
                f"{file} holds no UUID; restore it, or remove it to become a new agent"
            ) from error

    def _write_id(self, file: Path) -> None:
        """Whole or not at all, whenever the power fails."""
        draft = file.with_suffix(".new")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, f"{uuid.uuid4()}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        draft.rename(file)
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
