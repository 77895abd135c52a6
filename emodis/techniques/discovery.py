"""The plan behind AUTO: look at the routes to the destinations, then pick agents that cover them.

Asks only for routes that are not known yet, of at most fifty agents, one per AS first. Routes that
could not be measured are no failure: the choice then falls back on diversity and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from emodis.packets.model import Address
from emodis.techniques import edge_routes, records
from emodis.techniques.base import Child, Plan
from emodis.techniques.discovery_branches import Atlas, Borrowed, branch_of, neighbours_branch
from emodis.techniques.edge_routes import Owner
from emodis.techniques.traceroute import Traceroute
from emodis.topology.landmarks import Cover, Landmark, Pick, cover
from emodis.topology.segments import Branch, merged
from emodis.wire.v1.client_pb2 import Choice, Policy
from emodis.wire.v1.common_pb2 import Body, Target

MOST_LOOKING = 50
_TRACEROUTE = Traceroute()
# What discovery asks for: two rounds, four kilobytes at most.
LIGHT_TRACEROUTE = _TRACEROUTE.call({"rounds": "2", "timeout_s": "1"})
_Pair = tuple[str, int]


@attrs.frozen(kw_only=True)
class Candidate:
    """An eligible agent. `asn` 0 = unknown; `load` in runs assigned and not ended.

    One that `can_trace` not is chosen by what is known of its routes, or for diversity.
    """

    id: str
    place: str = ""
    asn: int = 0
    load: float = 0.0
    can_trace: bool = True


@attrs.frozen(kw_only=True)
class Selection:
    """Who shall measure, and what that leaves out, for people."""

    choices: tuple[Choice, ...]
    uncovered: tuple[str, ...]
    branches_known: int
    branches_covered: int


def discovery(
    candidates: Sequence[Candidate],
    targets: Sequence[Target],
    *,
    known: Mapping[_Pair, Body],
    borrowed: Mapping[_Pair, Borrowed] | None = None,
    max_agents: int = 5,
    coverage_ratio: float = 0.95,
    at_least: int = 2,
    owner: Owner | None = None,
    is_exchange: Callable[[Address], bool] = lambda address: False,
) -> Plan[Selection]:
    """Choose agents for these targets.

    Args:
        candidates: the eligible agents.
        targets: what shall be measured; a destination index is an index into it.
        known: results of traceroutes that are still fresh, by (agent, destination index).
        borrowed: routes to neighbours of targets to which none is known, as far as they are
            `usable`; nobody looks at these targets then, and what they show counts half.
        max_agents: never more.
        coverage_ratio: stop when this share of the branches is covered, by agents behind them.
        at_least: two agents where two are eligible, even if one covers everything.
        owner: the AS of an address; with it, ways in by different ASes are different branches.
        is_exchange: the address lies on the fabric of an exchange point.
    """
    atlas = Atlas(owner, is_exchange)
    routes = dict(known)
    failures = 0
    near = borrowed or {}
    for child in children(candidates, len(targets), known, near):
        outcomes = yield child
        found = {
            pair: outcome.result for pair, outcome in outcomes.items() if is_route(outcome.result)
        }
        routes.update(found)
        failures += len(child.agents) * len(child.destinations) - len(found)
    chosen = cover(
        _landmarks(candidates, _branches(candidates, targets, routes, near, atlas), routes, near),
        max_agents=max_agents,
        coverage_ratio=coverage_ratio,
        at_least=at_least,
    )
    return _selection(chosen, targets, near, failures=failures)


def children(
    candidates: Sequence[Candidate],
    targets: int,
    known: Mapping[_Pair, Body],
    borrowed: Mapping[_Pair, Borrowed] | None = None,
) -> Iterator[Child]:
    """What discovery will ask for: one child for each set of agents that lack the same ones of
    so many targets."""
    tracing = lookers(candidates)
    wanted: dict[tuple[str, ...], list[int]] = {}
    enough = {destination for _, destination in borrowed or ()}
    for destination in range(targets):
        if destination in enough:
            continue
        missing = tuple(c.id for c in tracing if (c.id, destination) not in known)
        if missing:
            wanted.setdefault(missing, []).append(destination)
    for agents, destinations in wanted.items():
        yield Child(
            call=LIGHT_TRACEROUTE,
            agents=agents,
            destinations=tuple(destinations),
            policy=Policy.POLICY_LOCK,
        )


def usable(
    candidates: Sequence[Candidate],
    targets: Sequence[Target],
    borrowed: Mapping[_Pair, Borrowed],
    *,
    owner: Owner | None,
    is_exchange: Callable[[Address], bool],
) -> Mapping[_Pair, Borrowed]:
    """Those that are of a candidate and show a way that the target may share with its neighbour."""
    atlas = Atlas(owner, is_exchange)
    known = {candidate.id: candidate for candidate in candidates}
    return {
        (agent, index): one
        for (agent, index), one in borrowed.items()
        if agent in known and neighbours_branch(known[agent].asn, targets[index], one, atlas)
    }


def lookers(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Who looks: the least loaded agent of each AS first, then the next ones, fifty in all."""
    turn: dict[int, int] = {}
    ranked = []
    able = [candidate for candidate in candidates if candidate.can_trace]
    for candidate in sorted(able, key=lambda one: (one.load, one.id)):
        # Agents of unknown AS are taken for neighbours of nobody.
        round_of_as = turn.get(candidate.asn, 0) if candidate.asn else 0
        turn[candidate.asn] = round_of_as + 1
        ranked.append((round_of_as, candidate.load, candidate.id, candidate))
    ranked.sort(key=lambda entry: entry[:3])
    return [entry[3] for entry in ranked[:MOST_LOOKING]]


def is_route(body: Body) -> bool:
    """Whether it is the result of a traceroute that heard something."""
    try:
        return bool(_TRACEROUTE.result(body).hops)
    except ValueError:
        return False


def _branches(
    candidates: Sequence[Candidate],
    targets: Sequence[Target],
    routes: Mapping[_Pair, Body],
    borrowed: Mapping[_Pair, Borrowed],
    atlas: Atlas,
) -> dict[_Pair, Branch]:
    """The branch behind which each agent sees each destination, like ones merged."""
    branches: dict[_Pair, Branch] = {}
    for destination, target in enumerate(targets):
        found: dict[_Pair, Branch] = {}
        for candidate in sorted(candidates, key=lambda one: one.id):
            pair = (candidate.id, destination)
            seen = None
            if pair in routes:
                seen = branch_of(candidate.asn, target, routes[pair], atlas)
            elif pair in borrowed:
                seen = neighbours_branch(candidate.asn, target, borrowed[pair], atlas)
            if seen is not None:
                found[pair] = seen
        # A branch is named after a route whose ASes are known, where there is one.
        order = sorted(found, key=lambda pair: found[pair].upstream_asn == 0)
        branches.update(merged({pair: found[pair] for pair in order}))
    return branches


def _landmarks(
    candidates: Sequence[Candidate],
    branches: Mapping[_Pair, Branch],
    routes: Mapping[_Pair, Body],
    borrowed: Mapping[_Pair, Borrowed],
) -> list[Landmark]:
    mine: dict[str, list[tuple[int, Branch]]] = {}
    times_ns: dict[str, list[int]] = {}
    doubtful: dict[str, set[tuple[int, Branch]]] = {}
    for (agent, destination), seen in branches.items():
        mine.setdefault(agent, []).append((destination, seen))
        body = routes.get((agent, destination))
        if body is None:
            doubtful.setdefault(agent, set()).add((destination, seen))
            body = borrowed[agent, destination].body
        times_ns.setdefault(agent, []).append(edge_routes.rtt_ns(body))
    return [
        Landmark(
            id=candidate.id,
            load=candidate.load,
            asn=candidate.asn,
            place=candidate.place,
            rtt_ns=sum(times_ns.get(candidate.id, ())),
            branches=tuple(mine.get(candidate.id, ())),
            doubtful=frozenset(doubtful.get(candidate.id, ())),
        )
        for candidate in candidates
    ]


def _selection(
    chosen: Cover,
    targets: Sequence[Target],
    borrowed: Mapping[_Pair, Borrowed],
    *,
    failures: int,
) -> Selection:
    uncovered = [_describe(entry, targets) for entry in chosen.uncovered]
    if failures:
        uncovered.append(f"{failures} routes could not be measured")
    return Selection(
        choices=tuple(
            Choice(
                agent_id=pick.landmark.id,
                place=pick.landmark.place,
                asn=pick.landmark.asn,
                why=_why(pick, chosen) + _by_whom(pick, borrowed),
                new_branches=[_describe(entry, targets) for entry in pick.new],
            )
            for pick in chosen.picks
        ),
        uncovered=tuple(uncovered),
        branches_known=len(chosen.known),
        branches_covered=len(chosen.known) - len(chosen.uncovered),
    )


def _why(pick: Pick, chosen: Cover) -> str:
    if not chosen.known:
        return "no route is known; chosen for diversity"
    if not pick.new:
        return "covers nothing new; a second view for comparison"
    return f"covers {len(pick.new)} of {len(chosen.known)} branches"


def _by_whom(pick: Pick, borrowed: Mapping[_Pair, Borrowed]) -> str:
    kinds = {one.kind for (agent, _), one in borrowed.items() if agent == pick.landmark.id}
    if not kinds or not pick.new:
        return ""
    return f", as routes to others in its {' or '.join(sorted(kinds))} show"


def _describe(entry: object, targets: Sequence[Target]) -> str:
    assert isinstance(entry, tuple)
    index, seen = entry
    target = targets[index]
    name = target.name or str(records.to_address(target.address))
    by = f" by AS{seen.upstream_asn}" if seen.upstream_asn else ""
    return f"to {name}{by}: {seen}"
