"""Messages as a master would send them, in few words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import ip_address

from google.protobuf.message import Message

from emodis.client.report import Report
from emodis.techniques import registry
from emodis.wire.v1.broute_pb2 import BrouteLink, BrouteResult
from emodis.wire.v1.client_pb2 import (
    Accepted,
    AddressOwner,
    Choice,
    EndCount,
    Ended,
    Result,
    Selected,
    ToClient,
)
from emodis.wire.v1.common_pb2 import (
    BLAME_TARGET,
    CODE_UNSPECIFIED,
    END_DONE,
    END_FAILED,
    TRANSPORT_RAW,
    Body,
    Code,
    Cost,
    End,
    Ending,
    Outcome,
    Quality,
    RunKey,
    Target,
)
from emodis.wire.v1.igi_pb2 import IgiPhase, IgiResult
from emodis.wire.v1.techniques_pb2 import (
    BOUND_LOWER,
    BOUND_UPPER,
    HopAnswer,
    PathneckBottleneck,
    PathneckHop,
    PathneckResult,
    PingResult,
    TracerouteHop,
    TracerouteResult,
)

MEASUREMENT = "m-1"
W1 = "10.6.0.2"
MBIT = 1_000_000
MS = 1_000_000
OWNERS = {
    "10.1.0.1": (65001, "Alder Access"),
    "10.2.0.1": (65002, "Birch Transit Networks International"),
    "10.3.0.1": (65003, "Cedar"),
    W1: (65003, "Cedar"),
}


def packed(address: str) -> bytes:
    return ip_address(address).packed if address else b""


def call(technique: str, **options: str) -> Body:
    return registry.get(technique).call(options)


def target(address: str = W1, name: str = "w1") -> Target:
    return Target(address=packed(address), name=name)


def pathneck(
    *addresses: str,
    bottleneck: int = 0,
    bound_bps: int = 9_600_000,
    access: bool = False,
    last_link: str = "measured",
    confidence: float = 0.9,
) -> PathneckResult:
    """A path of these hops ("" = silent); its bottleneck is the link that ends at that TTL."""
    result = PathneckResult(
        resolution_ratio=0.12,
        noise_ns=40_000,
        trains_sent=10,
        trains_used=9,
        last_link=last_link,
        train_bytes=33_600,
        hop0_gap_ns=300_000,
    )
    for ttl, address in enumerate(addresses, start=1):
        hop = PathneckHop(ttl=ttl, address=packed(address))
        if address:
            slow = bottleneck and ttl >= bottleneck
            hop.gap_ns = 28 * MS if slow else 2_800_000
            hop.gap_mad_ns, hop.level_ns = 100_000, hop.gap_ns
            hop.rate_bps = bound_bps if slow else 96 * MBIT
            hop.bound = BOUND_UPPER if ttl == bottleneck else BOUND_LOWER
            hop.bound_bps = bound_bps if slow else 96 * MBIT
            hop.valid_trains = 9
        if ttl == bottleneck:
            hop.choke_point, hop.detection_ratio = True, 1.0
            result.choke_ttls.append(ttl)
        result.hops.append(hop)
    if bottleneck:
        before = [ttl for ttl in range(1, bottleneck) if addresses[ttl - 1]]
        from_ttl = before[-1] if before else 0
        result.bottleneck.CopyFrom(
            PathneckBottleneck(
                ttl=bottleneck,
                from_ttl=from_ttl,
                from_address=packed(addresses[from_ttl - 1]) if from_ttl else b"",
                to_address=packed(addresses[bottleneck - 1]),
                bound_bps=bound_bps,
                confidence=confidence,
                access=access,
            )
        )
    return result


def traceroute(*addresses: str, reached: bool = True) -> TracerouteResult:
    result = TracerouteResult(reached=reached, end_reason="reached" if reached else "incomplete")
    for ttl, address in enumerate(addresses, start=1):
        hop = TracerouteHop(ttl=ttl)
        for number in range(3):
            answer = HopAnswer(round=number, address=packed(address))
            if address:
                answer.rtt_ns = ttl * 1_234_567
            hop.answers.append(answer)
        result.hops.append(hop)
    if reached:
        result.hop_count = len(addresses)
    return result


def ping(median_ns: int | None = 12 * MS, *, loss_ratio: float = 0.0) -> PingResult:
    result = PingResult(sent=10, answered=round(10 * (1 - loss_ratio)), loss_ratio=loss_ratio)
    if median_ns is not None:
        result.rtt_min_ns = median_ns - MS
        result.rtt_mean_ns = result.rtt_median_ns = median_ns
        result.rtt_p95_ns = result.rtt_max_ns = median_ns + MS
        result.ipdv_ns = 250_000
    return result


def igi(ptr_bps: int | None = 30 * MBIT) -> IgiResult:
    """A turning point at this rate; None: only an upper bound was found."""
    found = IgiResult(
        high_bps=36 * MBIT,
        capacity_bps=50 * MBIT,
        loss_ratio=0.01,
        trains=24,
        trains_discarded=1,
        phases=[IgiPhase(gap_in_ns=100_000, gap_out_ns=110_000, trains=3, packets=60)],
    )
    if ptr_bps is not None:
        found.ptr_bps, found.low_bps, found.igi_bps = ptr_bps, 28 * MBIT, 31 * MBIT
        found.competing_bps, found.converged = 19 * MBIT, True
    return found


def broute() -> BrouteResult:
    """Two ways into w1, the slow one measured, and a third that nobody chosen comes by."""
    ways = [
        (65002, ("10.1.0.1", "10.2.0.1", "10.3.0.1", W1), ["ams", "bru", "cdg"]),
        (65001, ("10.1.0.9", "10.3.0.9", W1), ["dub"]),
        (0, ("10.9.0.9", "10.9.0.1", W1), ["edi"]),
    ]
    found = BrouteResult(coverage_ratio=0.8, routes=5, as_map=True)
    for upstream_asn, path, agents in ways:
        hops = [packed(address) for address in path]
        found.branches.add(
            upstream_asn=upstream_asn,
            entry_asn=65001 if upstream_asn else 0,
            links=[BrouteLink(from_address=a, to_address=b) for a, b in itertools.pairwise(hops)],
            agents=agents,
        )
    slow, fast, lost = found.branches
    slow.measured_by[:] = ["ams"]
    slow.upper_bps, slow.confidence = 9_600_000, 0.9
    slow.bottleneck.CopyFrom(slow.links[1])
    fast.measured_by[:] = ["dub"]
    fast.lower_bps = 48 * MBIT
    lost.uncovered = "no agent that was asked comes this way"
    found.landmarks.add(agent_id="ams", branches=[0])
    found.landmarks.add(agent_id="dub", branches=[1])
    found.nodes.add(asn=65003, agents=5)
    found.edges.add(from_asn=65002, to_asn=65003, agents=3)
    return found


def result(
    agent_id: str,
    value: Message | None,
    *,
    destination: int = 0,
    end: End.ValueType = END_DONE,
    hint: str = "",
    owners: bool = False,
    quality: Quality | None = None,
    cursor: int = 1,
) -> Result:
    outcome = Outcome(
        ending=Ending(end=end, hint=hint, reason="no_reply" if end != END_DONE else ""),
        quality=quality or Quality(word=Quality.WORD_GOOD),
        started_unix_ns=1_700_000_000_000_000_000,
        duration_ns=4_000_000_000,
        cost=Cost(sent_packets=800, sent_bytes=336_000, recv_packets=60, recv_bytes=3_360),
        transport=TRANSPORT_RAW,
    )
    if end != END_DONE:
        outcome.ending.blame = BLAME_TARGET
    if value is not None:
        name = type(value).__name__.removesuffix("Result").lower()
        outcome.result.CopyFrom(Body(technique=name, schema=1, body=value.SerializeToString()))
    run = RunKey(measurement_id=MEASUREMENT, agent_id=agent_id, destination=destination)
    made = Result(cursor=cursor, run=run, outcome=outcome, as_map=owners)
    if owners:
        for address, (asn, name) in OWNERS.items():
            made.owners.append(AddressOwner(address=packed(address), asn=asn, as_name=name))
    return made


def accepted(body: Body, targets: Sequence[Target] | None = None) -> ToClient:
    told = Accepted(call_id=1, measurement_id=MEASUREMENT, call=body)
    told.targets.extend([target()] if targets is None else targets)
    return ToClient(accepted=told)


def selected(*agents: str, runs_total: int | None = None) -> ToClient:
    return ToClient(
        selected=Selected(
            measurement_id=MEASUREMENT,
            agents=[
                Choice(agent_id=agent, asn=65001 + n, why=f"covers {n + 1} of 3 branches")
                for n, agent in enumerate(agents)
            ],
            branches_known=3,
            branches_covered=3,
            runs_total=len(agents) if runs_total is None else runs_total,
            estimate_s=20.0,
            estimate_bytes=1_048_576,
        )
    )


def ended(
    counts: dict[End.ValueType, int],
    *,
    code: Code.ValueType = CODE_UNSPECIFIED,
    text: str = "",
) -> ToClient:
    return ToClient(
        ended=Ended(
            measurement_id=MEASUREMENT,
            counts=[EndCount(end=end, runs=runs) for end, runs in counts.items()],
            cost=Cost(sent_packets=800, sent_bytes=1_008_000),
            code=code,
            text=text,
        )
    )


def report(
    technique: str,
    *results: Result,
    to_me: bool = False,
    upstream: bool = False,
    targets: Sequence[Target] | None = None,
    whole: bool = True,
) -> Report:
    """What is known after these results; `whole`: and the measurement has ended."""
    made = Report(to_me=to_me, upstream=upstream)
    if upstream:
        made.call = call(technique)
        made.targets = [target()] if targets is None else list(targets)
    else:
        made.take(accepted(call(technique), targets))
        agents = sorted({one.run.agent_id for one in results})
        made.take(selected(*agents, runs_total=len(results)))
    for one in results:
        made.take(ToClient(result=one))
    if whole and not upstream:
        counts: dict[End.ValueType, int] = {}
        for one in results:
            end = one.outcome.ending.end
            counts[end] = counts.get(end, 0) + 1
        made.take(ended(counts))
    return made


def failure(agent_id: str, end: End.ValueType = END_FAILED, destination: int = 0) -> Result:
    hint = "Nothing answered; is the host up?"
    return result(agent_id, None, end=end, hint=hint, destination=destination)
