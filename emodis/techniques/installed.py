"""Names of techniques that other packages of this installation bring, without importing any.

Light on purpose: `--help` loads it. An entry point of the group `emodis.techniques` has the
technique's name, and an object or a class that is one (`base.Technique`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

GROUP = "emodis.techniques"
# It is typed on command lines, listed with commas, and travels with every call.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def found(taken: Iterable[str]) -> tuple[Mapping[str, EntryPoint], tuple[str, ...]]:
    """Every plug-in by its name, and one line for each that cannot be used.

    Args:
        taken: names of built-in techniques, which no package can replace.
    """
    return sort_out(entry_points(group=GROUP), taken)


def sort_out(
    points: Iterable[EntryPoint], taken: Iterable[str]
) -> tuple[Mapping[str, EntryPoint], tuple[str, ...]]:
    """As `found`, of these entry points."""
    claims: dict[str, dict[str, EntryPoint]] = {}
    for point in points:
        # A package that is on the path twice announces the same thing twice.
        claims.setdefault(point.name, {})[point.value] = point
    kept: dict[str, EntryPoint] = {}
    complaints = []
    for name, rivals in sorted(claims.items()):
        why = _unusable(name, list(rivals), frozenset(taken))
        if why:
            complaints.append(f"plug-in {_printable(name)!r} is left out: {why}")
        else:
            (kept[name],) = rivals.values()
    return kept, tuple(complaints)


def _unusable(name: str, rivals: list[str], taken: frozenset[str]) -> str:
    if name in taken:
        return f"{rivals[0]} takes the name of a built-in technique"
    if not _NAME.fullmatch(name):
        return f"{rivals[0]} has a name that is not of a-z, 0-9, _ and -, at most 32 in all"
    if len(rivals) > 1:
        return f"{' and '.join(sorted(rivals))} both claim the name; uninstall one of them"
    return ""


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:80]
