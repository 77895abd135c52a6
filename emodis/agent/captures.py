"""Captures of this agent's runs, for its own operator: a folder of pcap files that stays small.

No master can ask for them, and none gets them: they lie on the volunteer's disk, so the volunteer
decides (`run --pcap DIR`), and whoever may read them there has the manager's view of this agent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import attrs

from emodis.prober.capture import LARGEST_FILE_BYTES, prepare
from emodis.wire.v1.common_pb2 import RunKey

# All captures together; a run may fill one file of LARGEST_FILE_BYTES beyond it.
KEPT_BYTES = 4 * LARGEST_FILE_BYTES
PREFIX = "emodis-"


@attrs.define
class Captures:
    """Makes the file for each run; removes the oldest of its own where there are too many."""

    folder: Path | None
    complain: Callable[[str], None]
    kept_bytes: int = KEPT_BYTES

    def file_for(self, run: RunKey) -> str:
        """An empty capture for this run; "" where none is wanted or can be made."""
        if self.folder is None:
            return ""
        path = self.folder / _name(run)
        try:
            self._make_room()
            prepare(path)
        except OSError as error:
            self.complain(f"no capture in {self.folder}: {error.strerror}")
            return ""
        return str(path)

    def _make_room(self) -> None:
        assert self.folder is not None
        files = [(path, path.lstat()) for path in self.folder.glob(f"{PREFIX}*.pcap")]
        files.sort(key=lambda entry: entry[1].st_mtime_ns)
        total_bytes = sum(status.st_size for _, status in files)
        for path, status in files:
            if total_bytes <= self.kept_bytes:
                return
            path.unlink()
            total_bytes -= status.st_size


def _name(run: RunKey) -> str:
    # An id is a master's word: it must not lead out of the folder.
    name = re.sub(r"[^A-Za-z0-9-]", "_", run.measurement_id)[:64]
    return f"{PREFIX}{name}-{run.round}-{run.destination}-{run.attempt}.pcap"
