"""Measure from this host, with no master: the same prober and the same techniques as an agent's.

Destinations are taken one after the other. Whatever happens to one is an outcome of its run; only
what makes all of them impossible is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.internet.defer import CancelledError

from emodis.client.desk import Desk, Prober
from emodis.client.exits import Exit, Trouble
from emodis.client.finish import COMPLETE
from emodis.client.report import Report
from emodis.client.session import INTERRUPTED
from emodis.prober.driver import ProberUnavailable
from emodis.techniques.base import Technique
from emodis.topology import special
from emodis.topology.asn import AsMap, BadMap
from emodis.topology.families import ANY, pick
from emodis.wire.v1.client_pb2 import (
    RUN_STATE_RUNNING,
    AddressOwner,
    Progress,
    Result,
    Selected,
    ToClient,
)
from emodis.wire.v1.common_pb2 import (
    END_CANCELLED,
    Body,
    Ending,
    Outcome,
    RunKey,
    Target,
)
from emodis.wire.v1.prober_pb2 import ProberProgress, ProberRun

NS_PER_S = 1_000_000_000


def open_map(path: Path | None) -> AsMap | None:
    """The user's own address-to-AS map, if there is one.

    Raises:
        Trouble: (usage) if it cannot be read.
    """
    if path is None:
        return None
    try:
        return AsMap.open(path)
    except BadMap as error:
        raise Trouble(str(error), Exit.USAGE) from error


async def targets_of(desk: Desk, names: tuple[str, ...], family: int = ANY) -> list[Target]:
    """Resolve every destination once, and refuse what must not be probed.

    Raises:
        Trouble: for an unresolvable name (usage) or a destination out of bounds (refused).
    """
    found: list[Target] = []
    for name in names:
        address = pick(await desk.resolve(name), family)
        if address is None:
            wanted = f"IPv{family} address; leave out -{family}" if family else "usable address"
            raise Trouble(f"cannot measure {name}: it has no {wanted}", Exit.USAGE)
        refusal = special.refusal(address)
        if refusal is not None:
            raise Trouble(f"cannot measure {name}: {refusal}", Exit.REFUSED)
        found.append(Target(address=address.packed, name=name))
    return found


@attrs.define
class Upstream:
    """One call to several destinations."""

    desk: Desk
    technique: Technique
    call: Body
    targets: list[Target]
    as_map: AsMap | None
    watch: Callable[[ToClient], None]
    # A capture that is there and empty; "" = none.
    pcap_path: str = ""
    _report: Report = attrs.field(init=False)
    _running: RunKey | None = attrs.field(default=None, init=False)
    _abandon: Callable[[], None] | None = attrs.field(default=None, init=False)
    _interrupts: int = attrs.field(default=0, init=False)

    async def measure(self) -> Report:
        """Start a prober, run everything, stop it again. The prober keeps all deadlines.

        Raises:
            Trouble: if this host cannot send probes at all.
        """
        self._report = Report(call=self.call, upstream=True, targets=list(self.targets))
        self._take(ToClient(selected=self._estimate()))
        prober = self.desk.prober()
        self.desk.interrupts.handler = lambda: self._interrupted(prober)
        try:
            await self._start(prober)
            await self._run_all(prober)
        finally:
            self.desk.interrupts.handler = None
            await prober.stop()
        self._report.finish = INTERRUPTED if self._interrupts else COMPLETE
        return self._report

    def _estimate(self) -> Selected:
        spend = self.technique.expected(self.call)
        count = len(self.targets)
        return Selected(
            runs_total=count,
            estimate_s=count * spend.duration_s,
            estimate_bytes=count * spend.sent_bytes,
        )

    async def _start(self, prober: Prober) -> None:
        starting = prober.start()
        self._abandon = starting.cancel
        try:
            await starting
        except ProberUnavailable as error:
            raise Trouble(f"this host cannot measure: {error}", Exit.FAILED) from error
        except CancelledError:
            # Interrupted; there is nothing to wait for.
            return
        finally:
            self._abandon = None

    async def _run_all(self, prober: Prober) -> None:
        for index, target in enumerate(self.targets):
            if self._interrupts:
                return
            run = RunKey(destination=index)
            outcome = await self._run(prober, run, target, self.technique, self.call)
            self._take(ToClient(result=self._result(index, run, outcome)))

    async def _run(
        self, prober: Prober, run: RunKey, target: Target, technique: Technique, call: Body
    ) -> Outcome:
        worst = technique.worst_case(call)
        order = ProberRun(
            run=run,
            call=call,
            target=target,
            stop_by_boottime_ns=self.desk.boottime_ns() + round(worst.duration_s * NS_PER_S),
            max_bytes=worst.sent_bytes,
            budget_s=worst.duration_s,
            pcap_path=self.pcap_path,
        )
        measuring = prober.run(order, self._progress)
        self._running, self._abandon = run, measuring.cancel
        try:
            return await measuring
        except CancelledError:
            ending = Ending(end=END_CANCELLED, reason="cancelled", hint="it was interrupted")
            return Outcome(ending=ending)
        finally:
            self._running = self._abandon = None

    def _interrupted(self, prober: Prober) -> None:
        """First: abort, and take what comes of the run. Again, or without a run: leave."""
        self._interrupts += 1
        if self._running is not None and self._interrupts == 1:
            prober.abort(self._running)
        elif self._abandon is not None:
            self._abandon()

    def _progress(self, progress: ProberProgress) -> None:
        news = Progress(
            run=progress.run, state=RUN_STATE_RUNNING, done=progress.done, total=progress.total
        )
        self._take(ToClient(progress=news))

    def _result(self, index: int, run: RunKey, outcome: Outcome) -> Result:
        result = Result(cursor=index + 1, run=run, outcome=outcome)
        add_owners(result, self.technique, self.as_map)
        return result

    def _take(self, message: ToClient) -> None:
        self._report.take(message)
        self.watch(message)


def add_owners(result: Result, technique: Technique, as_map: AsMap | None) -> None:
    """Look up in the user's own map whose addresses these are, where nobody else has."""
    if as_map is None:
        return
    result.as_map = True
    known = {owner.address for owner in result.owners}
    if not result.outcome.HasField("result"):
        return
    for address in technique.addresses(result.outcome.result):
        found = as_map.owner(address)
        if found is not None and address.packed not in known:
            result.owners.append(
                AddressOwner(address=address.packed, asn=found.asn, as_name=found.name)
            )
