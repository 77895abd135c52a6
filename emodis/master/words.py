"""Small change of sentences."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A number and its noun: "1 run", "2 runs"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
