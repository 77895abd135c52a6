"""Address to AS number and name, from an MMDB file that the operator gives.

Understands the field names of the common free maps (GeoLite2-ASN, DB-IP, IPinfo lite, IP2Location
LITE). What a map says is data of others: numbers out of range and unprintable names are not
believed.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType

import attrs
import maxminddb

Address = IPv4Address | IPv6Address

_NUMBER_FIELDS = ("autonomous_system_number", "asn", "as_number")
_NAME_FIELDS = ("autonomous_system_organization", "as_name", "as_organization", "name", "as")
_MAX_ASN = 2**32 - 1
_LONGEST_NAME = 80
_LONGEST_NUMBER = 10


class BadMap(ValueError):
    """The file cannot be read or is no address map; one line says which and why."""


@attrs.frozen
class AsOwner:
    """To whom an address belongs. The name is empty where the map has none."""

    asn: int
    name: str = ""


class AsMap:
    """An open map. Lookups take microseconds and never raise."""

    def __init__(self, reader: maxminddb.Reader) -> None:
        self._reader = reader

    @classmethod
    def open(cls, path: str | Path) -> AsMap:
        """Open a map.

        Raises:
            BadMap: if there is no such file, or it is no MMDB file.
        """
        try:
            return cls(maxminddb.open_database(path))
        except OSError as error:
            raise BadMap(f"cannot read the AS map {path}: {error.strerror}") from error
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            raise BadMap(f"{path} is not an MMDB file") from error

    def owner(self, address: Address) -> AsOwner | None:
        """Whose address it is; None if the map does not know, or knows nonsense."""
        try:
            row = self._reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):
            # An IPv6 address in an IPv4 map, or a damaged row.
            return None
        if not isinstance(row, dict):
            return None
        asn = next(filter(None, (_asn(row.get(field)) for field in _NUMBER_FIELDS)), None)
        if asn is None:
            return None
        name = next(filter(None, (_name(row.get(field)) for field in _NAME_FIELDS)), "")
        return AsOwner(asn, name)

    def close(self) -> None:
        """Free the file; the map must not be asked any more."""
        self._reader.close()

    def __enter__(self) -> AsMap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _asn(value: object) -> int | None:
    if isinstance(value, str):
        digits = value.strip().upper().removeprefix("AS")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER):
            return None
        return _asn(int(digits))
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= _MAX_ASN else None


def _name(value: object) -> str:
    if not isinstance(value, str):
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in value)
    return " ".join(printable.split())[:_LONGEST_NAME]
