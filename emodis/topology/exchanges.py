"""The prefixes of Internet exchange points, from a text file that the operator gives.

An address on the fabric of an exchange belongs to the peering of two ASes, not to a third one:
routes are looked at without it. Lists are to be had from PeeringDB or the exchanges themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import attrs

Address = IPv4Address | IPv6Address


class BadPrefixes(ValueError):
    """The file cannot be read or has a line that is no prefix; one line says which and why."""


@attrs.frozen
class Exchanges:
    """Prefixes by family and length; a lookup takes as many steps as there are lengths."""

    _prefixes: dict[tuple[int, int], frozenset[int]] = attrs.field(factory=dict)

    @classmethod
    def open(cls, path: str | Path) -> Exchanges:
        """Read a file: a prefix a line, `#` begins a comment.

        Raises:
            BadPrefixes: if it cannot be read, or a line is no prefix.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise BadPrefixes(f"cannot read the exchanges {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BadPrefixes(f"{path} is no text file") from error
        try:
            return cls.parse(text.splitlines())
        except BadPrefixes as error:
            raise BadPrefixes(f"{path}: {error}") from error

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Exchanges:
        """The same from its lines.

        Raises:
            BadPrefixes: naming the line.
        """
        found: dict[tuple[int, int], set[int]] = {}
        for number, line in enumerate(lines, start=1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            try:
                network = ip_network(text)
            except ValueError as error:
                raise BadPrefixes(f"line {number}: {error}") from error
            if network.prefixlen == 0:
                raise BadPrefixes(f"line {number}: {text} is everything, not an exchange")
            key = (network.version, network.prefixlen)
            found.setdefault(key, set()).add(int(network.network_address))
        return cls({key: frozenset(starts) for key, starts in found.items()})

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            return False
        bits, value = address.max_prefixlen, int(address)
        return any(
            version == address.version and (value >> bits - length) << bits - length in starts
            for (version, length), starts in self._prefixes.items()
        )
