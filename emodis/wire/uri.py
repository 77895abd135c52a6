"""Addresses of masters as people write them: `HOST[:PORT]`, `emodis://HOST[:PORT]`, `tcp://HOST[:PORT]`.

`emodis://` and a bare host mean TLS once it exists; `tcp://` is plaintext by the user's own word.
"""

from __future__ import annotations

import re

import attrs

AGENT_PORT = 4710
CLIENT_PORT = 4711

_SHAPE = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]]+))(?::(?P<port>\d+))?/?"
)


class BadUri(ValueError):
    """Not an address of a master; the text says what one looks like."""


@attrs.frozen
class MasterUri:
    """Where a master listens."""

    host: str
    port: int
    plaintext: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tcp' if self.plaintext else 'emodis'}://{host}:{self.port}"


def parse_master_uri(text: str, default_port: int) -> MasterUri:
    """Read one of the three forms; an IPv6 address stands in brackets.

    Raises:
        BadUri: for anything else.
    """
    found = _SHAPE.fullmatch(text.strip())
    scheme = (found["scheme"] or "emodis") if found else ""
    if found is None or scheme not in {"emodis", "tcp"}:
        raise BadUri(
            f"{text!r} is not a master's address; write HOST, HOST:PORT, emodis://HOST:PORT "
            "or tcp://HOST:PORT (an IPv6 address in brackets)"
        )
    port = int(found["port"]) if found["port"] else default_port
    if not 0 < port < 65536:
        raise BadUri(f"port {port} in {text!r} is not between 1 and 65535")
    return MasterUri(host=found["six"] or found["host"], port=port, plaintext=scheme == "tcp")
