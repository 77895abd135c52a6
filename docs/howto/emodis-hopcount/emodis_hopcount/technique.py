"""hopcount: how many hops away a host is, by a binary search over the TTL of echo requests.

Six or seven packets instead of traceroute's thirty, where only the number matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from emodis.packets.model import Address, Kind, Probe, ReplyKind, Train
from emodis.techniques import records
from emodis.techniques.base import Context, Conversation, Measured, Spend
from emodis.techniques.kinds import Kinds
from emodis.techniques.parameters import real, whole
from emodis.techniques.skeleton import DONE, Skeleton, failed, grade
from emodis.wire.v1.common_pb2 import PACKET_KIND_ICMP, Blame, Body
from emodis.wire.v1.techniques_pb2 import ProbeRecord, TracerouteObservations
from emodis_hopcount.hopcount_pb2 import HopcountParameters, HopcountResult, HopcountStep

PROBE_BYTES = 84
NS_PER_S = 1_000_000_000


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose: `-o`, its help and its ranges come from here."""

    max_ttl: int = whole(30, 1, 64, unit="hops", text="how far to look")
    tries: int = whole(2, 1, 5, unit="", text="probes of one TTL before silence counts")
    timeout_s: float = real(1.0, 0.1, 5.0, unit="s", text="longest wait for an answer")


class Hopcount(Skeleton[Parameters, TracerouteObservations, HopcountResult]):
    """One probe after the other, each halving what is left."""

    NAME: ClassVar[str] = "hopcount"
    SUMMARY: ClassVar[str] = "how many hops away it is (ICMP echo, binary search)"
    PARAMETERS = Parameters
    CALL = HopcountParameters
    OBSERVATIONS = TracerouteObservations
    RESULT = HopcountResult

    def kinds(self, chosen: Parameters) -> Kinds:
        """Agents whose hosts cannot send echo requests are not asked."""
        return frozenset({PACKET_KIND_ICMP})

    def usual(self, chosen: Parameters) -> Spend:
        """Everybody answers, within 100 ms."""
        steps = _most_steps(chosen)
        return Spend(duration_s=0.1 * steps, sent_bytes=steps * PROBE_BYTES)

    def worst(self, chosen: Parameters) -> Spend:
        """Nobody but the destination answers. This is the deadline and the budget of a run."""
        probes = _most_steps(chosen) * chosen.tries
        return Spend(
            duration_s=probes * (chosen.timeout_s + 0.05) + 1.0, sent_bytes=probes * PROBE_BYTES
        )

    def talk(self, chosen: Parameters, context: Context) -> Conversation:
        """Yield what to send; what came back is the value of the yield."""
        observations = TracerouteObservations(target=context.address.packed)
        low, high = 1, chosen.max_ttl
        ttl = high
        while low <= high:
            for _ in range(chosen.tries):
                train = _ask(ttl, chosen)
                outcome = yield train
                observations.trains.append(records.to_record(train, outcome))
                if outcome.echoes[0].reply is not None:
                    break
            if _arrived(observations.trains[-1].probes[0]):
                high = ttl - 1
            elif ttl == chosen.max_ttl:
                break
            else:
                low = ttl + 1
            ttl = (low + high) // 2
        return self.evaluate(chosen, observations)

    def evaluate(self, chosen: Parameters, observations: TracerouteObservations) -> Measured:
        """The estimator: a pure function of what was observed, also years later."""
        probes = [probe for train in observations.trains for probe in train.probes]
        arrived = [probe for probe in probes if _arrived(probe)]
        if not arrived:
            return Measured(
                ending=failed(
                    "no_reply",
                    f"No echo came back from within {chosen.max_ttl} hops; try traceroute.",
                    Blame.BLAME_TARGET,
                ),
                result=None,
                observations=observations,
                quality=grade((), ()),
            )
        hops = min(probe.ttl for probe in arrived)
        below = [probe for probe in probes if probe.ttl == hops - 1]
        silent = bool(below) and not any(probe.address for probe in below)
        result = HopcountResult(
            hops=hops,
            exact=hops == 1 or bool(below),
            probes=len(probes),
            rtt_min_ns=min(rtt for rtt in map(records.rtt_ns, arrived) if rtt is not None),
            steps=[HopcountStep(ttl=p.ttl, address=p.address, arrived=_arrived(p)) for p in probes],
        )
        fair = ["the hop before the last is silent: the host may be nearer"] if silent else []
        return Measured(
            ending=DONE, result=result, observations=observations, quality=grade(fair, ())
        )

    def addresses(self, body: Body) -> Sequence[Address]:
        """Every address in a result: Emodis looks up to whom they belong."""
        found = dict.fromkeys(step.address for step in self.result(body).steps if step.address)
        return tuple(a for a in map(records.to_address, found) if a is not None)

    def sentence(self, result: HopcountResult) -> str:
        """Optional: the answer in words. The table under it comes from the message's fields."""
        return f"{result.hops} {'hop' if result.hops == 1 else 'hops'} away"


def _most_steps(chosen: Parameters) -> int:
    return 1 + chosen.max_ttl.bit_length()


def _ask(ttl: int, chosen: Parameters) -> Train:
    return Train(
        kind=Kind.ICMP_ECHO,
        probes=(Probe(ttl=ttl, size_bytes=PROBE_BYTES),),
        wait_ns=round(chosen.timeout_s * NS_PER_S),
    )


def _arrived(probe: ProbeRecord) -> bool:
    return records.reply_kind(probe) is ReplyKind.ECHO_REPLY
