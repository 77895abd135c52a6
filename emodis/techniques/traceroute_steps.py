"""What to ask next in the search for parallel routes: one flow at some TTLs. Pure.

Everything is derived from what was asked and answered so far, so that there is no second memory
that could disagree with the survey.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from emodis.techniques.traceroute_survey import TRIES, Survey


@attrs.frozen
class Step:
    """Ask one flow at these TTLs."""

    flow: int
    ttls: tuple[int, ...]


def next_step(survey: Survey) -> Step | None:
    """The most useful thing to ask; None when nothing is left.

    First it must be certain that one flow keeps to one way, then every hop is searched, then the
    ways between hops, and where hops branch in a row router by router.
    """
    for find in (_repetition, _new_flow, _second_try, _missing_link, _from_router):
        step = next(find(survey), None)
        if step is not None:
            return step
    return None


def _repetition(survey: Survey) -> Iterator[Step]:
    """Two flows that met different routers are asked again: does each meet the same one?"""
    for ttl in survey.span():
        if len(survey.addresses(ttl)) < 2 or survey.is_per_packet(ttl):
            continue
        answers = survey.answers(ttl)
        first = min(answers)
        other = next(flow for flow, place in answers.items() if place != answers[first])
        for flow in (first, other):
            if survey.tries(ttl, flow) < TRIES:
                yield Step(flow, (ttl,))


def _new_flow(survey: Survey) -> Iterator[Step]:
    """The lowest flow that a hop still needs, at every hop that needs it."""
    wanted = {}
    for ttl in survey.span():
        waiting = len(survey.unanswered(ttl, silent=False)) if survey.answers(ttl) else 0
        if survey.counted(ttl) + waiting < survey.required(ttl):
            flow = survey.new_flow(ttl)
            if flow is not None:
                wanted[ttl] = flow
    if wanted:
        flow = min(wanted.values())
        yield Step(flow, tuple(ttl for ttl, lowest in wanted.items() if lowest == flow))


def _second_try(survey: Survey) -> Iterator[Step]:
    """Flows that were not answered at hops that still lack answers, all their TTLs at once."""
    missing: dict[int, list[int]] = {}
    for ttl in survey.span():
        if survey.answers(ttl) and survey.counted(ttl) < survey.required(ttl):
            for flow in survey.unanswered(ttl, silent=False):
                missing.setdefault(flow, []).append(ttl)
    # Those that were asked least: so everybody's second try comes before anybody's third.
    for flow in sorted(missing, key=lambda flow: survey.tries(missing[flow][0], flow)):
        yield Step(flow, tuple(missing[flow]))


def _missing_link(survey: Survey) -> Iterator[Step]:
    """One flow of each router of which it is not known where it leads, or from where."""
    for ttl in survey.span()[:-1]:
        if min(len(survey.addresses(ttl)), len(survey.addresses(ttl + 1))) < 2:
            continue
        links = survey.links(ttl)
        reached = {place for ways in links.values() for place in ways}
        for flow, place in survey.answers(ttl).items():
            if not links[place] and ttl < survey.end(flow) and not survey.tries(ttl + 1, flow):
                yield Step(flow, (ttl + 1,))
        for flow, place in survey.answers(ttl + 1).items():
            if place not in reached and not survey.tries(ttl, flow):
                yield Step(flow, (ttl,))


def _from_router(survey: Survey) -> Iterator[Step]:
    """As many flows through each router as rule out that it has one more way on."""
    for ttl in survey.span()[:-1]:
        if not survey.must_be_parted(ttl):
            continue
        for place in survey.addresses(ttl):
            step = _through(survey, ttl, place)
            if step is not None:
                yield step


def _through(survey: Survey, ttl: int, place: bytes) -> Step | None:
    flows = survey.through(ttl, place)
    if not flows or not survey.lacks_ways(ttl, place):
        return None
    for flow in flows:
        if not survey.tries(ttl + 1, flow):
            return Step(flow, (ttl + 1,))
    again = [flow for flow in survey.unanswered(ttl + 1, silent=False) if flow in flows]
    if again:
        return Step(again[0], (ttl + 1,))
    fresh = survey.new_flow(ttl)
    # Whether it comes through this router is not known before; at both hops it is of use anyway.
    return None if fresh is None else Step(fresh, (ttl, ttl + 1))
