"""The search for parallel routes, as a part of traceroute's conversation (MDA, TECHNIQUES.md 2).

One train for each flow that is asked. Routers ration what they answer, so each hop is asked only as
often as its routers refill, and what was not answered again after a second at the earliest.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import attrs

from emodis.packets.model import Kind, Probe, Train, TrainOutcome
from emodis.techniques import records
from emodis.techniques.stats import NS_PER_S
from emodis.techniques.traceroute_steps import Step, next_step
from emodis.techniques.traceroute_survey import Survey
from emodis.wire.v1.techniques_pb2 import TracerouteObservations, TrainRecord

# A Linux router has one more answer to give after a second, and six when it has rested.
_REFILL_NS = NS_PER_S
_DEPTH_NS = 6 * _REFILL_NS
# An unanswered probe is not repeated before this.
_AGAIN_NS = 1_100 * 1_000_000


@attrs.frozen(kw_only=True)
class Manner:
    """What the trains are made of, and how long all of them may take."""

    kind: Kind
    size_bytes: int
    port: int
    wait_ns: int
    settle_ns: int
    longest_ns: int
    most_probes: int


def explore(
    survey: Survey, manner: Manner, observations: TracerouteObservations
) -> Generator[Train, TrainOutcome, None]:
    """Ask until nothing is left to ask, into `observations.flow_trains`.

    `survey` has the rounds before in it. Ends early where time or probes run out or a train was cut
    short; what is missing then is the estimator's to say.
    """
    diary = _Diary(manner=manner, rationed=survey.proto == "udp")
    for record in observations.trains:
        diary.note(record)
    end_ns = diary.now_ns + manner.longest_ns
    probes = 0
    while (step := next_step(survey)) is not None:
        start_ns = diary.earliest_ns(step, survey)
        probes += len(step.ttls)
        if probes > manner.most_probes or start_ns + manner.wait_ns > end_ns:
            return
        train = _train(step, manner, diary.after_start_ns(start_ns))
        outcome = yield train
        record = records.to_record(train, outcome)
        observations.flow_trains.append(record)
        survey.add([record])
        diary.note(record)
        if outcome.cut_short:
            return


def _train(step: Step, manner: Manner, not_before_ns: int) -> Train:
    return Train(
        kind=manner.kind,
        probes=tuple(Probe(ttl=ttl, size_bytes=manner.size_bytes) for ttl in step.ttls),
        wait_ns=manner.wait_ns,
        settle_ns=manner.settle_ns,
        not_before_ns=not_before_ns,
        flow=step.flow,
        port=manner.port,
    )


@attrs.define(kw_only=True)
class _Diary:
    """When which TTL was asked, in Unix ns; `now_ns` is when the last train was over."""

    manner: Manner
    # The destination's answers are rationed, too.
    rationed: bool
    now_ns: int = 0
    _started_ns: int = 0
    _asked_ns: dict[int, list[int]] = attrs.field(factory=dict)
    _last_ns: dict[tuple[int, int], int] = attrs.field(factory=dict)

    def note(self, record: TrainRecord) -> None:
        """Take a train in."""
        sent = [probe for probe in record.probes if probe.HasField("sent_ns")]
        times_ns = [record.t0_unix_ns + probe.sent_ns for probe in sent]
        for probe, at_ns in zip(sent, times_ns, strict=True):
            self._asked_ns.setdefault(probe.ttl, []).append(at_ns)
            self._last_ns[probe.ttl, record.flow] = at_ns
        self._started_ns = min(times_ns, default=self.now_ns)
        heard_ns = [
            record.t0_unix_ns + probe.received_ns for probe in sent if probe.HasField("received_ns")
        ]
        self.now_ns = self._end_ns(times_ns, heard_ns)

    def _end_ns(self, sent_ns: Sequence[int], heard_ns: Sequence[int]) -> int:
        if not sent_ns:
            return self.now_ns
        if len(heard_ns) == len(sent_ns):
            return max(heard_ns)
        longest_ns = max(sent_ns) + self.manner.wait_ns
        if not heard_ns:
            return longest_ns
        return min(longest_ns, max(*heard_ns, *sent_ns) + self.manner.settle_ns)

    def earliest_ns(self, step: Step, survey: Survey) -> int:
        """When the step may be taken."""
        again_ns = [
            self._last_ns[ttl, step.flow] + _AGAIN_NS
            for ttl in step.ttls
            if survey.tries(ttl, step.flow) and step.flow not in survey.answers(ttl)
        ]
        refilled_ns = [self._refilled_ns(ttl, survey) for ttl in step.ttls]
        return max([self.now_ns, *again_ns, *refilled_ns])

    def after_start_ns(self, at_ns: int) -> int:
        """That time as a train counts it: from the first packet of the one before."""
        return max(0, at_ns - self._started_ns) if at_ns > self.now_ns else 0

    def _refilled_ns(self, ttl: int, survey: Survey) -> int:
        """When the routers of a hop, taken together, have an answer to give."""
        if not self.rationed and survey.is_arrival(ttl):
            return 0
        routers = max(1, len(survey.addresses(ttl)))
        token_ns = _REFILL_NS // routers
        # When the bucket is full again, were nothing more asked.
        full_ns = 0
        for at_ns in self._asked_ns.get(ttl, ()):
            full_ns = min(max(full_ns, at_ns) + token_ns, at_ns + _DEPTH_NS)
        return full_ns + token_ns - _DEPTH_NS
