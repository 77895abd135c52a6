"""What one technique said of one path, beside what is true of it: the part all techniques share."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

SOURCE, DESTINATION = "h1", "h2"
NS_PER_S = 1_000_000_000

Run = Mapping[str, Any]


class Access(enum.Enum):
    """With which rights the measuring host measures."""

    FULL = "full"
    UNPRIVILEGED = "unprivileged"


@attrs.frozen(kw_only=True)
class Trial:
    """One measurement. Subclasses add what was true, what was said, and whether that is right."""

    # What the command line calls it; `igi` with an option is a technique of its own here.
    TECHNIQUE: ClassVar[str]

    name: str
    kind: str
    number: int
    links: int
    # There is a result, whatever it says.
    done: bool
    duration_s: float
    sent_packets: int
    sent_bytes: int
    word: str
    note: str
    # "raw" or "unprivileged", as the result says; empty where there is none.
    transport: str

    @property
    def right(self) -> bool:
        """The answer is as it should be; never without a result."""
        raise NotImplementedError

    @property
    def verdict(self) -> str:
        """The same in a word."""
        return "right" if self.right else "WRONG" if self.done else "NO RESULT"

    def line(self) -> str:
        """What was true and what was said, in words."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        return {"technique": self.TECHNIQUE, **attrs.asdict(self), "right": self.right}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """What `as_json` made, lists being tuples.

        Raises:
            KeyError: if something is missing.
        """
        return cls(**{field.name: _frozen(row[field.name]) for field in attrs.fields(cls)})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def common(name: str, links: int, run: Run, kind: str, number: int) -> dict[str, Any]:
    """The fields that every trial has, from a run as the client printed it."""
    cost = run.get("cost") or {}
    quality = run.get("quality") or {}
    notes = [run.get("reason", ""), *quality.get("reasons", [])]
    return {
        "name": name,
        "kind": kind,
        "number": number,
        "links": links,
        "done": bool(run.get("result")),
        "duration_s": run.get("duration_ns", 0) / NS_PER_S,
        "sent_packets": int(cost.get("sent_packets", 0)),
        "sent_bytes": int(cost.get("sent_bytes", 0)),
        "word": quality.get("word", ""),
        "note": "; ".join(note for note in notes if note),
        "transport": run.get("transport", ""),
    }


def only_run(stdout: str, stderr: str) -> dict[str, Any]:
    """The run that was printed as JSON; one with nothing but a reason where none was."""
    try:
        run: dict[str, Any] = json.loads(stdout)["measurements"][0]["runs"][0]
    except (ValueError, KeyError, IndexError):
        return {"reason": stderr.strip().splitlines()[-1] if stderr.strip() else "no answer"}
    return run
