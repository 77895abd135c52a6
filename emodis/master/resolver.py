"""Names by the system's own resolver, in the reactor's thread pool."""

from __future__ import annotations

import socket

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from emodis.master.targets import Resolve


def system_resolver(reactor: IReactorThreads) -> Resolve:
    """Addresses of a name; the Deferred fails with an OSError."""

    def resolve(name: str) -> Deferred[list[str]]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), _addresses, name)

    return resolve


def _addresses(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, socket.AF_UNSPEC, socket.SOCK_DGRAM)
    return [str(entry[4][0]) for entry in found]
