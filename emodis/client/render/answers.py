"""The answer in one sentence, per technique and destination. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from emodis.client.render import bandwidth, edges, generic, hops, loss
from emodis.client.render.bottleneck import Camp, Opinion, Sighting, opinion
from emodis.client.render.decoded import Decoded, decoded
from emodis.client.render.words import address, count, listed, percent, rate, time
from emodis.client.report import Address, Report
from emodis.wire.v1.client_pb2 import AddressOwner
from emodis.wire.v1.common_pb2 import END_DONE
from emodis.wire.v1.techniques_pb2 import Cause, PathneckBottleneck

Owners = Mapping[Address, AddressOwner]


def answers(report: Report) -> list[str]:
    """One sentence for each destination that something was measured to."""
    return [
        sentence
        for index in range(max(len(report.targets), 1))
        if (sentence := _answer(report, index))
    ]


def place(report: Report, index: int) -> str:
    """The destination in words: a name with its address."""
    target = report.target(index)
    where = address(target.address)
    if where == "*":
        return target.name or "the destination"
    return f"{target.name} ({where})" if target.name and target.name != where else where


def whither(report: Report, index: int) -> str:
    """`towards you`, `towards w1 (…)`, `from you to w1 (…)`."""
    if report.upstream:
        return f"from you to {place(report, index)}"
    return "towards you" if report.to_me else f"towards {place(report, index)}"


def link_words(link: PathneckBottleneck, report: Report, agent_id: str) -> str:
    """The link, its ASes where they are known, and how exactly it is known."""
    start = address(link.from_address) if link.from_address else _host(report, agent_id)
    words = f"{start} → {address(link.to_address)}"
    systems = _systems(link, report.owners)
    if link.ttl - link.from_ttl > 1:
        after = f"hop {link.from_ttl}" if link.from_ttl else start
        return f"somewhere between {after} and hop {link.ttl} ({words}){systems}"
    return f"the link {words}{systems}"


def _answer(report: Report, index: int) -> str:
    runs = decoded(report, index)
    total = _runs_to(report, index)
    if not runs:
        return _nothing(report, index, total)
    silent = total - len(runs)
    missing = f"; {silent} of {count(total, 'agent')} gave no result" if silent else ""
    return f"{_sentence(report, index, runs)}{missing}."


def _sentence(report: Report, index: int, runs: list[Decoded]) -> str:
    match report.call.technique:
        case "pathneck":
            said = opinion(runs, total=len(runs), access_counts=report.upstream)
            return _bottleneck(report, index, said)
        case "traceroute":
            return _route(report, index, runs)
        case "ping":
            return _round_trip(report, index, runs)
        case "broute":
            return edges.summary(whither(report, index), runs[0].value)
        case "loss":
            return loss.sentence(report, whither(report, index), runs)
        case "igi":
            return bandwidth.sentence(report, whither(report, index), runs)
        case _:
            return generic.sentence(report, whither(report, index), runs)


def _bottleneck(report: Report, index: int, said: Opinion) -> str:
    where = whither(report, index)
    if not said.camps and not said.blinded:
        head = (
            "No bottleneck stronger than "
            f"{percent(said.clear_resolution_ratio)} was found on the path {where}"
        )
        return f"{head}{_agreement(len(said.clear), said.total)}{_unmeasured(report, said)}"
    if not said.camps:
        return _only_access(report, where, said)
    camp = said.camps[0]
    more = _others(report, said)
    return (
        f"The bottleneck {where} is {_name(report, camp)}, at most {rate(camp.bound_bps)}"
        f"{_cause(camp)}{_agreement(len(camp.sightings), said.total)}"
        f"{''.join(f'; {words}' for words in more)}{_unmeasured(report, said)}"
    )


def _cause(camp: Camp) -> str:
    """Why, where an agent of the camp could tell and no other says otherwise."""
    causes = {s.link.cause for s in camp.sightings} - {Cause.CAUSE_UNSPECIFIED}
    if causes == {Cause.CAUSE_CAPACITY}:
        return " (a slow link, not a busy one)"
    if causes == {Cause.CAUSE_LOAD}:
        shares = [s.link.utilisation_ratio for s in camp.sightings if s.link.utilisation_ratio]
        return f" (a busy link: others use about {percent(median(shares))} of it)"
    return ""


def _name(report: Report, camp: Camp) -> str:
    link = camp.link
    words = link_words(link, report, camp.sightings[0].agent_id)
    if link.access and report.upstream:
        return f"your own access link ({words.removeprefix('the link ')})"
    return words


def _agreement(agreeing: int, total: int) -> str:
    if total < 2:
        return ""
    return f"; {agreeing} of {total} agents {'says so' if agreeing == 1 else 'agree'}"


def _others(report: Report, said: Opinion) -> list[str]:
    """What the agents that do not agree found instead."""
    words = [
        f"{_agents(report, camp.agents)} {_verb(camp.agents, 'sees', 'see')} it on "
        f"{link_words(camp.link, report, camp.agents[0])}, at most {rate(camp.bound_bps)}"
        for camp in said.camps[1:]
    ]
    words += [_access(report, sighting) for sighting in said.blinded]
    if said.clear:
        words.append(
            f"{_agents(report, said.clear)} found none stronger than "
            f"{percent(said.clear_resolution_ratio)}"
        )
    return words


def _only_access(report: Report, where: str, said: Opinion) -> str:
    limits = "; ".join(_access(report, sighting) for sighting in said.blinded)
    clear = ""
    if said.clear:
        clear = (
            f"; {_agents(report, said.clear)} found none stronger than "
            f"{percent(said.clear_resolution_ratio)}"
        )
    return (
        f"What limits the path {where} lies at the measuring end: {limits}{clear}"
        f"{_unmeasured(report, said)}"
    )


def _access(report: Report, sighting: Sighting) -> str:
    return (
        f"{report.agent_name(sighting.agent_id)} is limited by its own access link to "
        f"{rate(sighting.bound_bps)} and cannot see behind it"
    )


def _unmeasured(report: Report, said: Opinion) -> str:
    if not said.unmeasured:
        return ""
    if len(said.unmeasured) == said.total:
        return "; the last link could not be measured"
    return f"; {_agents(report, said.unmeasured)} could not measure the last link"


def _route(report: Report, index: int, runs: list[Decoded]) -> str:
    reached = [run for run in runs if run.value.reached]
    where = "you" if report.to_me else place(report, index)
    if not reached:
        ends = {hops.where_it_ends(run.value) for run in runs}
        why = f": {ends.pop()}" if len(ends) == 1 else ""
        return f"No route to {where} could be followed to its end{why}"
    counts = sorted({run.value.hop_count for run in reached})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    noun = "hop" if counts[-1] == 1 else "hops"
    if report.upstream:
        return f"{where} is {span} {noun} away"
    verb = "are" if report.to_me else "is"
    name = "You" if report.to_me else where
    whom = "you" if report.to_me else "it"
    share = f"{len(reached)} of {count(len(runs), 'agent')} reached {whom}"
    return f"{name} {verb} {span} {noun} away; {share}"


def _round_trip(report: Report, index: int, runs: list[Decoded]) -> str:
    answered = [run for run in runs if run.value.HasField("rtt_median_ns")]
    where = "you" if report.to_me else place(report, index)
    if not answered:
        return f"No answer came back from {where}"
    middle = median(run.value.rtt_median_ns for run in answered)
    words = f"The round trip to {where} takes {time(middle)} (median)"
    if len(answered) > 1:
        best = min(answered, key=lambda run: run.value.rtt_median_ns)
        worst = max(answered, key=lambda run: run.value.rtt_median_ns)
        words += (
            f", from {time(best.value.rtt_median_ns)} at {_agent(report, best)} "
            f"to {time(worst.value.rtt_median_ns)} at {_agent(report, worst)}"
        )
    return f"{words}; {_losses(runs)}{_port(answered)}"


def _losses(runs: list[Decoded]) -> str:
    losses = [run.value.loss_ratio for run in runs if not run.value.rate_limited_suspected]
    if not losses:
        return "loss is unknown, because it seems to answer about once a second"
    if not max(losses):
        return "no probe was lost"
    low, high = percent(min(losses)), percent(max(losses))
    span = high if low == high else f"{low} to {high}"
    return f"{span} of the probes were lost"


def _port(answered: list[Decoded]) -> str:
    """The state of the port that was asked, where the agents do not contradict one another."""
    states = {run.value.port_state for run in answered} - {""}
    return f"; the port is {states.pop()}" if len(states) == 1 else ""


def _nothing(report: Report, index: int, total: int) -> str:
    if not total:
        return ""
    ends = [r.outcome.ending for r in report.ordered if r.run.destination == index]
    said = {end.hint or end.reason for end in ends if end.end != END_DONE}
    reasons = sorted(report.with_names(text).rstrip(".") for text in said)
    why = f": {'; '.join(reasons)}" if reasons else ""
    sentence = f"Nothing could be measured {whither(report, index)}{why}"
    return sentence if sentence.endswith("?") else f"{sentence}."


def _runs_to(report: Report, index: int) -> int:
    return sum(1 for result in report.ordered if result.run.destination == index)


def _systems(link: PathneckBottleneck, owners: Owners) -> str:
    by_text = {str(known): owner.asn for known, owner in owners.items()}
    here = by_text.get(address(link.from_address), 0) if link.from_address else 0
    there = by_text.get(address(link.to_address), 0)
    if here and there and here != there:
        return f" (AS {here} → AS {there})"
    if there or here:
        return f" (AS {there or here})"
    return ""


def _host(report: Report, agent_id: str) -> str:
    return "this host" if report.upstream else report.agent_name(agent_id)


def _agent(report: Report, run: Decoded) -> str:
    return report.agent_name(run.run.run.agent_id)


def _agents(report: Report, ids: list[str] | tuple[str, ...] | object) -> str:
    assert isinstance(ids, list | tuple)
    return listed([report.agent_name(agent_id) for agent_id in ids])


def _verb(ids: list[str], one: str, many: str) -> str:
    return one if len(ids) == 1 else many
