"""Twisted endpoints from what people configure."""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)

from emodis.wire.uri import MasterUri

CONNECT_TIMEOUT_S = 10.0
# Twisted's own 50 makes thousands of reconnecting agents wait for minutes (SCALE.md 1).
BACKLOG = 4096


def dialling_endpoint(reactor: IReactorTime, uri: MasterUri) -> IStreamClientEndpoint:
    """Where to dial; names are resolved anew at every attempt."""
    return HostnameEndpoint(reactor, uri.host, uri.port, timeout=CONNECT_TIMEOUT_S)


def listening_endpoint(reactor: IReactorCore, description: str) -> IStreamServerEndpoint:
    """A listener from a Twisted endpoint string such as `tcp:4710:interface=127.0.0.1`.

    Raises:
        ValueError: if Twisted cannot read it.
    """
    if description.startswith(("tcp:", "tcp6:")) and "backlog=" not in description:
        description += f":backlog={BACKLOG}"
    try:
        return IStreamServerEndpoint(serverFromString(reactor, description))
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{description!r} is not an endpoint to listen on: {error}") from error
