"""Host names of the addresses in results, by reverse lookup after the run.

Names are a courtesy: whoever has none, or a resolver that does not answer within a second, leaves
the address alone, and an interrupt only ends the waiting.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from emodis.client.desk import Desk
from emodis.client.finish import Way
from emodis.client.names import Lookup
from emodis.client.report import Report
from emodis.techniques import registry
from emodis.wire.v1.client_pb2 import Result

NAMING_TIMEOUT_S = 1.0
# Each lookup has a thread of its own.
MOST_ADDRESSES = 64
_LONGEST_NAME = 255
# Whose tables have a column for names.
_NAMED = frozenset({"traceroute"})

Names = dict[str, str]


def namer(
    clock: IReactorTime, beside: Callable[[Lookup, str], Deferred[list[str]]]
) -> Callable[[Sequence[str]], Deferred[Names]]:
    """`beside` runs a lookup that may block. The Deferred never fails, and may be cancelled."""

    def names(addresses: Sequence[str]) -> Deferred[Names]:
        finding = [_found(clock, beside, address) for address in addresses]
        return gatherResults(finding).addCallback(
            lambda found: {
                address: name
                for address, name in zip(addresses, found, strict=True)
                if name and name != address
            }
        )

    return names


def host_name(address: str) -> list[str]:
    """By the system's own resolver (its hosts file, too); OSError if there is none."""
    name, _ = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
    return [name[:_LONGEST_NAME]]


async def add_names(desk: Desk, reports: Sequence[Report]) -> None:
    """Look up every address in the results, together."""
    if any(report.finish.way is Way.INTERRUPTED for report in reports):
        return
    wanted = [a for report in reports for result in report.ordered for a in _addresses(result)]
    finding = desk.names(list(dict.fromkeys(wanted))[:MOST_ADDRESSES])
    desk.interrupts.handler = finding.cancel
    try:
        found = await finding
    finally:
        desk.interrupts.handler = None
    for report in reports:
        report.names.update({ip_address(address): name for address, name in found.items()})


def _found(
    clock: IReactorTime, beside: Callable[[Lookup, str], Deferred[list[str]]], address: str
) -> Deferred[str]:
    def unknown(failure: Failure) -> list[str]:
        # No such name, no answer in time, or an interrupt: all the same to the reader.
        return []

    finding = beside(host_name, address).addTimeout(NAMING_TIMEOUT_S, clock)
    return finding.addErrback(unknown).addCallback(lambda names: names[0] if names else "")


def _addresses(result: Result) -> Iterator[str]:
    body = result.outcome.result
    if body.technique not in _NAMED:
        return
    try:
        found = registry.get(body.technique).addresses(body)
    except ValueError:
        # A result that this version cannot read is shown without names.
        return
    yield from map(str, found)
