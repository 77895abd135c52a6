"""Numbers for people. Wire and JSON keep their units in the names; here they get words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from emodis.wire.v1.client_pb2 import AddressOwner

_RATES = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def rate(bps: float) -> str:
    """9_600_000 → 9.6 Mbit/s."""
    for unit, word in _RATES:
        # 999 960 kbit/s would read "1000 Mbit/s".
        if bps >= unit * 0.9995:
            return f"{_digits(bps / unit)} {word}"
    return f"{bps:.0f} bit/s"


def time(ns: float) -> str:
    """12_345_678 → 12.3 ms; below a millisecond in µs, from a second on in s."""
    if abs(ns) >= 0.9995e9:
        return f"{ns / 1e9:.2f} s"
    if abs(ns) >= 0.9995e6:
        return f"{_digits(ns / 1e6)} ms"
    return f"{ns / 1e3:.0f} µs"


def megabits(bps: float) -> str:
    """9_600_000 → 9.6, for a column of Mbit/s."""
    return _digits(bps / 1e6) if bps >= 99_500 else f"{bps / 1e6:.2f}"


def milliseconds(ns: float) -> str:
    """28_000_000 → 28.0, for a column of ms."""
    return _digits(ns / 1e6) if abs(ns) >= 9.995e6 else f"{ns / 1e6:.2f}"


def seconds(duration_s: float) -> str:
    """How long something takes, roughly."""
    if duration_s >= 120:
        return f"{duration_s / 60:.0f} min"
    return f"{duration_s:.0f} s" if duration_s >= 1 else "1 s"


def size(count_bytes: float) -> str:
    """1_048_576 → 1.0 MB; units of ten."""
    for unit, word in _SIZES:
        if count_bytes >= unit * 0.9995:
            return f"{_digits(count_bytes / unit)} {word}"
    return f"{count_bytes:.0f} B"


def percent(ratio: float) -> str:
    """0.125 → 12 %; small ones keep a digit."""
    value = ratio * 100
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def count(number: int, noun: str) -> str:
    """1 agent, 2 agents."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def address(packed: bytes) -> str:
    """`*` where nobody answered."""
    return str(ip_address(packed)) if len(packed) in {4, 16} else "*"


def owner(found: AddressOwner | None) -> str:
    """AS65002 Name, as far as it is known."""
    if found is None or not found.asn:
        return ""
    return f"AS{found.asn} {found.as_name}".rstrip()


def printable(text: str) -> str:
    """What others wrote (places, AS names, hints) must not move the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _digits(value: float) -> str:
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
