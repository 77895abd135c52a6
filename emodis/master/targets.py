"""Destinations are resolved once, here, and never again: agents get addresses (DESIGN.md 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.interfaces import IReactorTime

from emodis.topology import special
from emodis.topology.families import fits, pick
from emodis.topology.special import Address
from emodis.wire.v1.client_pb2 import Refused
from emodis.wire.v1.common_pb2 import CODE_BAD_REQUEST, CODE_POLICY, Target

# Texts of addresses, best first; an OSError when the name has none.
Resolve = Callable[[str], Deferred[list[str]]]

# The system's resolver takes longer to give up than a person waits.
RESOLVE_TIMEOUT_S = 10.0
NAME_LENGTH = 253


async def resolve_targets(
    destinations: Sequence[str],
    own: str,
    *,
    family: int = 0,
    resolve: Resolve,
    clock: IReactorTime,
) -> tuple[Target, ...] | Refused:
    """Every destination as an address that may be probed; none given means `own`.

    `family` is 4 or 6, or 0 for IPv4 where there is a choice. Two names of one address are one
    target: a run of it could never be told from the other's.
    """
    names = list(destinations) or [own]
    answers = await gatherResults([_address(name, family, resolve, clock) for name in names])
    targets: dict[Address, Target] = {}
    for name, address in zip(names, answers, strict=True):
        if isinstance(address, Refused):
            return address
        objection = _objection(name, address, family)
        if objection is not None:
            return objection
        targets.setdefault(address, Target(address=address.packed, name=name))
    return tuple(targets.values())


def families_of(targets: Sequence[Target]) -> frozenset[int]:
    """The IP versions that an agent needs to measure all of these."""
    return frozenset(special.canonical(target.address).version for target in targets)


def _objection(name: str, address: Address, family: int) -> Refused | None:
    if not fits(address, family):
        return Refused(
            code=CODE_BAD_REQUEST,
            text=f"{name} is no IPv{family} address",
            hint=f"give an IPv{family} address or a name that has one, or leave out -{family}",
        )
    why = special.refusal(address)
    if why is None:
        return None
    return Refused(
        code=CODE_POLICY,
        text=f"{'' if name == str(address) else f'{name}: '}{why}, and may not be probed",
        hint="this version only probes private, loopback and lab addresses",
    )


def _address(
    name: str, family: int, resolve: Resolve, clock: IReactorTime
) -> Deferred[Address | Refused]:
    """One destination; unresolvable is a value."""
    done: Deferred[Address | Refused] = Deferred()
    literal = _literal(name)
    if literal is not None:
        done.callback(literal)
    elif not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        done.callback(_unresolvable(name, "that is not a host name"))
    else:
        return Deferred.fromCoroutine(_look_up(name, family, resolve, clock))
    return done


async def _look_up(
    name: str, family: int, resolve: Resolve, clock: IReactorTime
) -> Address | Refused:
    try:
        found = await resolve(name).addTimeout(RESOLVE_TIMEOUT_S, clock)
    except NoAnswer:
        return _unresolvable(name, f"no answer within {RESOLVE_TIMEOUT_S:g} s")
    except (OSError, UnicodeError) as error:
        return _unresolvable(name, getattr(error, "strerror", None) or str(error))
    address = pick(found, family)
    if address is None:
        return _unresolvable(
            name, f"it has no IPv{family} address" if family else "it has no address"
        )
    return address


def _literal(name: str) -> Address | None:
    try:
        return special.canonical(name.strip())
    except ValueError:
        return None


def _unresolvable(name: str, why: str) -> Refused:
    return Refused(
        code=CODE_BAD_REQUEST,
        text=f"cannot resolve {name[:80]!r}: {why}",
        hint="check the spelling, or give the address",
    )
