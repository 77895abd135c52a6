"""Every run that is open or may still be sending: from its start until both are over."""

from __future__ import annotations

from collections import deque

import attrs

from emodis.scheduling.deadlines import Deadlines
from emodis.scheduling.model import RunKey, Start
from emodis.scheduling.offers import Offers
from emodis.scheduling.places import Lease, Run
from emodis.scheduling.round import Round

# How many runs that ended beside others are remembered for `overlapping`.
_OVERLAPS_KEPT = 1024


@attrs.define(eq=False)
class Runs:
    """Locks by starting, unlocks by what is heard or by the time, and offers what gets free."""

    rtt_max_ns: int
    _deadlines: Deadlines[Run[Round] | Lease[Round]]
    _offers: Offers
    _runs: dict[RunKey, Run[Round]] = attrs.field(factory=dict, init=False)
    _overlaps: deque[tuple[RunKey, tuple[RunKey, ...]]] = attrs.field(
        factory=lambda: deque(maxlen=_OVERLAPS_KEPT), init=False
    )

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, key: RunKey) -> Run[Round] | None:
        return self._runs.get(key)

    def start(self, round_: Round, member: int, index: int, now_ns: int) -> Start:
        """Lock the agent and the destination for a new run."""
        start_by_ns = now_ns + self.rtt_max_ns
        destination = round_.destinations[index]
        run = Run(
            key=round_.begin(member, index),
            round=round_,
            agent=round_.agents[member],
            member=member,
            destination=destination,
            stop_by_ns=start_by_ns + round_.event.worst_case_ns,
        )
        run.agent.run = destination.run = self._runs[run.key] = run
        run.deadline = self._deadlines.set(run.stop_by_ns, run)
        if (straggler := destination.straggler) is not None:
            straggler.others.append(run.key)
            run.others.append(straggler.key)
        return Start(
            run=run.key,
            destination=destination.key,
            start_by_ns=start_by_ns,
            stop_by_ns=run.stop_by_ns,
        )

    def pass_deadline(self, run: Run[Round]) -> bool:
        """Its `stop_by`, or the result's grace after it, has come; True: its pair has expired."""
        if run.destination.run is not run:
            return True
        if run.open:
            self._unlock_destination(run)
            run.destination.straggler = run
            run.deadline = self._deadlines.set(run.stop_by_ns + self.rtt_max_ns, run)
        else:
            self.release(run)
        return False

    def close(self, run: Run[Round]) -> None:
        """Its pair is no longer open by it; it may be sending all the same until `stop_by`."""
        run.open = False
        if run.destination.run is not run:
            self.release(run)

    def release(self, run: Run[Round]) -> None:
        """Nothing is being sent for it any more, and nobody waits for its result."""
        run.open = False
        if run.destination.run is run:
            self._unlock_destination(run)
        if run.destination.straggler is run:
            run.destination.straggler = None
            # It was unlocked before, but a ring waits for the end of the pair as well.
            self._offers.destinations[run.destination] = None
        run.agent.run = None
        self._offers.agents[run.agent] = None
        if run.deadline is not None:
            self._deadlines.cancel(run.deadline)
        del self._runs[run.key]
        if run.others:
            self._overlaps.append((run.key, tuple(run.others)))

    def overlapping(self, key: RunKey) -> tuple[RunKey, ...]:
        """Which runs were started beside it, or beside which it was started."""
        if (run := self._runs.get(key)) is not None:
            return tuple(run.others)
        return next((others for ended, others in self._overlaps if ended == key), ())

    def _unlock_destination(self, run: Run[Round]) -> None:
        run.destination.run = None
        self._offers.destinations[run.destination] = None
