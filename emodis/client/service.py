"""What the client can be asked to do, free of any command line.

Each function ends when its work has ended, however it ended: the report says how.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from emodis.client.calls import (
    AgentsCall,
    Call,
    CancelCall,
    RequestCall,
    ResultsCall,
    StatusCall,
)
from emodis.client.desk import Desk, Partner
from emodis.client.finish import Finish, Way
from emodis.client.report import Report
from emodis.client.runname import RunName, choose
from emodis.wire.v1.client_pb2 import AgentEntry, Request, Status, ToClient

Watch = Callable[[ToClient], None]


@attrs.frozen(kw_only=True)
class Directory:
    """The agents a master told of, in its order."""

    agents: tuple[AgentEntry, ...]
    finish: Finish


@attrs.frozen(kw_only=True)
class MasterStatus:
    """A master's word on itself; None when it did not come."""

    status: Status | None
    finish: Finish


async def request(
    desk: Desk, wanted: Request, watch: Watch, partner: Partner | None = None
) -> Report:
    """Have it measured; `watch` sees every message as it comes, but for the partner's."""
    report = Report(call=wanted.call, to_me=not wanted.destinations)
    return await _gather(desk, RequestCall(wanted), report, watch, partner)


async def results(
    desk: Desk, measurement_id: str, watch: Watch, *, follow: bool, with_observations: bool
) -> Report:
    """What has been measured; with `follow`, also what still is."""
    call = ResultsCall(measurement_id, follow=follow, with_observations=with_observations)
    return await _gather(desk, call, Report(), watch)


async def add_observations(desk: Desk, report: Report) -> None:
    """Fetch what the probes of a measurement met, which a master keeps and does not send unasked.

    Where that fails the report ends as the fetching did, and keeps what it had.
    """
    if report.finish.way is not Way.COMPLETE or not report.results:
        return
    full = await results(
        desk, report.measurement_id, lambda _: None, follow=False, with_observations=True
    )
    for result in full.results.values():
        report.add(result)
    report.finish = full.finish


async def one_run(desk: Desk, wanted: RunName, watch: Watch) -> Report:
    """A report with one run in it, and what its probes met.

    Raises:
        Trouble: (usage) if no run is called so, or several are.
    """
    everything = await results(
        desk, wanted.measurement_id, watch, follow=False, with_observations=False
    )
    if everything.finish.way is not Way.COMPLETE:
        return everything
    cursor = choose(everything, wanted).cursor
    call = ResultsCall(wanted.measurement_id, follow=False, with_observations=True, only=cursor)
    alone = Report()

    def take(message: ToClient) -> None:
        if message.WhichOneof("body") != "result" or message.result.cursor == cursor:
            alone.take(message)

    alone.finish = await _ask(desk, call, take)
    return alone


async def known_agents(desk: Desk, technique: str) -> Directory:
    """Whom one may ask; those that have the technique, if one is named."""
    found: list[AgentEntry] = []
    finish = await _ask(
        desk, AgentsCall(technique), lambda message: found.extend(message.agents.agents)
    )
    return Directory(agents=tuple(found), finish=finish)


async def status(desk: Desk, measurement_id: str) -> MasterStatus:
    """How the master is, or how one measurement gets on."""
    told: list[Status] = []
    finish = await _ask(
        desk, StatusCall(measurement_id), lambda message: told.append(message.status)
    )
    return MasterStatus(status=told[-1] if told else None, finish=finish)


async def cancel(desk: Desk, measurement_id: str) -> Finish:
    """Have a measurement stopped."""
    return await _ask(desk, CancelCall(measurement_id), lambda message: None)


async def _gather(
    desk: Desk, call: Call, report: Report, watch: Watch, partner: Partner | None = None
) -> Report:
    def take(message: ToClient) -> None:
        if partner is not None and message.HasField("relay"):
            partner.relayed(message.relay)
            return
        report.take(message)
        watch(message)

    report.finish = await _ask(desk, call, take, partner)
    return report


async def _ask(desk: Desk, call: Call, take: Watch, partner: Partner | None = None) -> Finish:
    asking = await desk.master.asking(call, take)
    if partner is not None:
        partner.connect(asking.relay)
    desk.interrupts.handler = asking.interrupt
    try:
        return await asking.start()
    finally:
        desk.interrupts.handler = None
