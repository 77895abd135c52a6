"""Random paths to measure accuracy on: a kind, a set of seeds and a number say which.

Development and reported seeds draw from different streams, so that what is tuned while looking at
the one set never meets a path of the other. The kinds are apart because they ask different
questions; whether a path's bottleneck is clear is decided by the truth, not by how it was drawn.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping, Sequence

import attrs

from emodis.lab.generate import FIRST_ASN, MAX_BPS, MIN_BPS, random_rate_bps, systems
from emodis.lab.impairment import Impairment
from emodis.lab.topology import (
    MTU_BYTES,
    IcmpLimits,
    Kind,
    Link,
    Model,
    Node,
    Topology,
    Traffic,
)

MIN_LINKS, MAX_LINKS = 4, 12
# Where one link is meant to be the bottleneck, every other has at least so much more.
CLEAR_RATIO = 1.5
MOST_CROSS_RATIO = 0.8
# Loads at which a hit rate is demanded, and in which of ten groups of paths there are others.
JUDGED_LOADS = (0.3, 0.7)
OTHER_LOADS = {8: (0.05, 0.3), 9: (0.7, MOST_CROSS_RATIO)}
MOST_LOSS_RATIO = 0.02
MOST_ODD_ROUTERS = 3
# Loads at which available bandwidth is judged.
MOST_ROOM_CROSS_RATIO = 0.7
# Links that take time, one way.
MOST_FAR_LINKS, DELAYS_S = 3, (0.001, 0.030)
# A router that answers this often at most, after a burst of six.
LIMITED_PER_S = (1, 10)


class Seeds(enum.Enum):
    """Which paths: those one may look at while working, or those that figures are given of."""

    DEVELOPMENT = "development"
    REPORTED = "reported"


@attrs.frozen(kw_only=True)
class _Plan:
    """A path as drawn: rates in Ethernet bits per second, links counted from 0."""

    capacities_bps: list[int]
    # Link and the share of it that is filled.
    loads: Mapping[int, float] = attrs.field(factory=dict)
    losses: Mapping[int, float] = attrs.field(factory=dict)
    # One way, and as long back.
    delays_s: Mapping[int, float] = attrs.field(factory=dict)
    # Routers counted from 1: router k stands before link k.
    icmp: Mapping[int, IcmpLimits] = attrs.field(factory=dict)


def path(kind: str, seeds: Seeds, number: int) -> Topology:
    """The path of that kind with that number; the same on every machine.

    Raises:
        KeyError: for a kind that there is not.
    """
    chance = random.Random(f"accuracy {seeds.value} {kind} {number}")
    drawn = KINDS[kind](chance, number)
    return _topology(f"{kind}-{number}", drawn, chance)


def _clear(chance: random.Random, number: int) -> _Plan:
    """One link much slower than all others: a fifth of them the first, a fifth the last."""
    count = chance.randint(MIN_LINKS, MAX_LINKS)
    place = {0: 0, 1: count - 1}.get(number % 5, chance.randrange(count))
    narrow_bps = random_rate_bps(chance, MIN_BPS, MAX_BPS / CLEAR_RATIO)
    capacities = [random_rate_bps(chance, narrow_bps * CLEAR_RATIO, MAX_BPS) for _ in range(count)]
    capacities[place] = narrow_bps
    return _Plan(capacities_bps=capacities)


def _loaded(chance: random.Random, number: int) -> _Plan:
    """As `clear`, and the bottleneck carries other traffic: eight in ten 30 to 70 %, one in ten
    less, one in ten more.
    """
    plan = _clear(chance, number)
    narrow = plan.capacities_bps.index(min(plan.capacities_bps))
    # By fives, because `clear` chooses the bottleneck's place by the number within them.
    least, most = OTHER_LOADS.get(number // 5 % 10, JUDGED_LOADS)
    return attrs.evolve(plan, loads={narrow: chance.uniform(least, most)})


def _tight(chance: random.Random, number: int) -> _Plan:
    """The link with least room is another than the one with least capacity."""
    plan = _clear(chance, number)
    capacities = plan.capacities_bps
    narrow_bps = min(capacities)
    narrow = capacities.index(narrow_bps)
    tight = chance.choice([link for link in range(len(capacities)) if link != narrow])
    # Slow enough that its load may make it the tighter one.
    most_bps = min(2 * narrow_bps, MAX_BPS)
    capacities[tight] = random_rate_bps(chance, min(1.1 * narrow_bps, most_bps), most_bps)
    room_bps = narrow_bps / CLEAR_RATIO * chance.uniform(0.5, 1.0)
    share = min(MOST_CROSS_RATIO, 1 - room_bps / capacities[tight])
    return attrs.evolve(plan, loads={tight: share})


def _any(chance: random.Random, number: int) -> _Plan:
    """Whatever comes: capacities and up to three loads without any rule."""
    count = chance.randint(MIN_LINKS, MAX_LINKS)
    loaded = chance.sample(range(count), chance.randint(0, 3))
    return _Plan(
        capacities_bps=[random_rate_bps(chance, MIN_BPS, MAX_BPS) for _ in range(count)],
        loads={link: chance.uniform(0.05, MOST_CROSS_RATIO) for link in loaded},
    )


def _quiet(chance: random.Random, number: int) -> _Plan:
    """As `clear` or `loaded`, and some routers answer seldom or never."""
    plan = _by_turns(chance, number)
    routers = range(1, len(plan.capacities_bps))
    odd = chance.sample(routers, min(len(routers), chance.randint(1, MOST_ODD_ROUTERS)))
    kinds = (IcmpLimits.LIMITED, IcmpLimits.SILENT)
    return attrs.evolve(plan, icmp={router: chance.choice(kinds) for router in odd})


def _lossy(chance: random.Random, number: int) -> _Plan:
    """As `clear` or `loaded`, and one link loses packets."""
    plan = _by_turns(chance, number)
    link = chance.randrange(len(plan.capacities_bps))
    return attrs.evolve(plan, losses={link: chance.uniform(0.001, MOST_LOSS_RATIO)})


def _room(chance: random.Random, number: int) -> _Plan:
    """For available bandwidth: a quarter idle, half loaded, a quarter tight but not narrow."""
    if number % 4 == 0:
        return _clear(chance, number // 4)
    if number % 4 == 1:
        return _hidden(chance, number // 4)
    plan = _clear(chance, number // 2)
    narrow = plan.capacities_bps.index(min(plan.capacities_bps))
    return attrs.evolve(plan, loads={narrow: chance.uniform(0.05, MOST_ROOM_CROSS_RATIO)})


def _hidden(chance: random.Random, number: int) -> _Plan:
    """Any load that leaves less room on another link than on the one with least capacity."""
    plan = _clear(chance, number)
    capacities = plan.capacities_bps
    narrow_bps = min(capacities)
    narrow = capacities.index(narrow_bps)
    tight = chance.choice([link for link in range(len(capacities)) if link != narrow])
    share = chance.uniform(0.2, MOST_ROOM_CROSS_RATIO)
    # So much of the narrow link's capacity is left there; with more it would be the narrow one.
    room = chance.uniform(max(0.5, 1.05 * (1 - share)), 0.9)
    capacities[tight] = min(MAX_BPS, round(narrow_bps * room / (1 - share)))
    return attrs.evolve(plan, loads={tight: share})


def _far(chance: random.Random, number: int) -> _Plan:
    """For routes and times: idle, one to three links take time, and on every third way some
    routers are silent.
    """
    plan = _clear(chance, number)
    links = range(len(plan.capacities_bps))
    slow = chance.sample(links, chance.randint(1, MOST_FAR_LINKS))
    silent = chance.sample(links[1:], chance.randint(1, 2)) if number % 3 == 0 else ()
    return attrs.evolve(
        plan,
        delays_s={link: chance.uniform(*DELAYS_S) for link in slow},
        icmp=dict.fromkeys(silent, IcmpLimits.SILENT),
    )


def _flat(chance: random.Random, number: int) -> _Plan:
    """All links alike and idle: there is nothing to find behind the first."""
    count = chance.randint(MIN_LINKS, MAX_LINKS)
    return _Plan(capacities_bps=[random_rate_bps(chance, MIN_BPS, MAX_BPS)] * count)


def _by_turns(chance: random.Random, number: int) -> _Plan:
    return (_loaded if number % 2 else _clear)(chance, number)


KINDS: Mapping[str, Callable[[random.Random, int], _Plan]] = {
    "clear": _clear,
    "loaded": _loaded,
    "tight": _tight,
    "any": _any,
    "quiet": _quiet,
    "lossy": _lossy,
    "flat": _flat,
    "room": _room,
    "far": _far,
}


def _topology(name: str, plan: _Plan, chance: random.Random) -> Topology:
    count = len(plan.capacities_bps)
    names = ["h1", *(f"r{k}" for k in range(1, count)), "h2"]
    return Topology(
        name=name,
        systems=systems(2),
        nodes={name: _node(name, k, count, plan, chance) for k, name in enumerate(names)},
        links=tuple(_links(names, plan)),
        traffic=tuple(
            Traffic(
                sender=names[link],
                receiver=names[link + 1],
                model=chance.choice((Model.CBR, Model.POISSON)),
                rate_bps=round(share * plan.capacities_bps[link]),
                packet_bytes=(MTU_BYTES,),
                seed=chance.getrandbits(31),
            )
            for link, share in sorted(plan.loads.items())
        ),
    )


def _links(names: Sequence[str], plan: _Plan) -> list[Link]:
    return [
        Link(
            a=names[k],
            b=names[k + 1],
            capacity_up_bps=bps,
            capacity_down_bps=bps,
            up=Impairment(loss_ratio=plan.losses.get(k, 0.0), delay_s=plan.delays_s.get(k, 0.0)),
            down=Impairment(delay_s=plan.delays_s.get(k, 0.0)),
        )
        for k, bps in enumerate(plan.capacities_bps)
    ]


def _node(name: str, place: int, count: int, plan: _Plan, chance: random.Random) -> Node:
    asn = FIRST_ASN + (place > count // 2)
    if name.startswith("h"):
        return Node(name=name, kind=Kind.HOST, asn=asn, icmp=IcmpLimits.LINUX)
    icmp = plan.icmp.get(place, IcmpLimits.FREE)
    return Node(
        name=name, kind=Kind.ROUTER, asn=asn, icmp=icmp, icmp_per_s=chance.randint(*LIMITED_PER_S)
    )
