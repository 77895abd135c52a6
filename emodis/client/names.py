"""Host names to addresses, with a deadline. For the master's own name, and for `measure`."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from emodis.client.exits import Exit, Trouble

RESOLVE_TIMEOUT_S = 10.0
Lookup = Callable[[str], list[str]]


def resolver(
    clock: IReactorTime, beside: Callable[[Lookup, str], Deferred[list[str]]]
) -> Callable[[str], Deferred[list[str]]]:
    """`beside` runs a lookup that may block; addresses are not looked up at all."""

    def resolve(name: str) -> Deferred[list[str]]:
        try:
            return succeed([str(ipaddress.ip_address(name))])
        except ValueError:
            pass
        try:
            finding = beside(look_up, name)
        except RuntimeError as error:
            return fail(_trouble(name, error))
        return finding.addTimeout(RESOLVE_TIMEOUT_S, clock).addErrback(_explain, name)

    return resolve


def look_up(name: str) -> list[str]:
    """By the system's own resolver, IPv4 first; OSError or UnicodeError if there are none."""
    found = socket.getaddrinfo(name, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return [str(entry[4][0]) for entry in found]


def _explain(failure: Failure, name: str) -> list[str]:
    raise _trouble(name, failure.value) from failure.value


def _trouble(name: str, error: BaseException | None) -> Trouble:
    if isinstance(error, TookTooLong):
        why = f"no answer within {RESOLVE_TIMEOUT_S:g} seconds"
    elif isinstance(error, OSError):
        why = error.strerror or str(error)
    else:
        why = str(error)
    return Trouble(f"cannot resolve {name!r}: {why}", Exit.USAGE)
