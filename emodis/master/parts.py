"""What the service is made of, and how it is put together."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.logger import Logger

from emodis.master.assigner import Assigner
from emodis.master.attendance import Attendance
from emodis.master.children import Children
from emodis.master.client_session import ClientPort
from emodis.master.clock_driver import ClockDriver
from emodis.master.clocks import NS, Clocks
from emodis.master.conduct import Conductor
from emodis.master.config import Settings
from emodis.master.delivery import Delivery
from emodis.master.directory import Directory
from emodis.master.endings import Endings
from emodis.master.errands import Errands
from emodis.master.ledger import Ledger
from emodis.master.measurement import Measurement
from emodis.master.membership import Membership
from emodis.master.owners import Owners
from emodis.master.planning import Planning
from emodis.master.preparation import Preparer
from emodis.master.relays import Relays
from emodis.master.replay import Replay
from emodis.master.requests import Requests
from emodis.master.results import Results
from emodis.master.rounds import Rounds
from emodis.master.status import StatusDesk
from emodis.master.targets import Resolve
from emodis.scheduling.core import Scheduler
from emodis.techniques.base import Technique


@attrs.frozen(kw_only=True)
class Tools:
    """What the service is given instead of taking it from the world."""

    clocks: Clocks
    ledger: Ledger
    resolve: Resolve
    find: Callable[[str], Technique | None]
    new_id: Callable[[], str]
    random: Callable[[], float]
    random_bytes: Callable[[int], bytes]
    owners: Owners
    log: Logger
    loop_lag_s: Callable[[], float] = attrs.field(default=lambda: 0.0)


@attrs.frozen(kw_only=True, eq=False)
class State:
    """What is going on: the only things that several parts change."""

    members: Membership = attrs.field(factory=Membership)
    # By id; children of plans as well.
    live: dict[str, Measurement] = attrs.field(factory=dict)
    clients: set[ClientPort] = attrs.field(factory=set)


@attrs.frozen(kw_only=True, eq=False)
class Parts:
    """Those that the service calls."""

    driver: ClockDriver
    attendance: Attendance
    results: Results
    delivery: Delivery
    rounds: Rounds
    requests: Requests
    errands: Errands
    directory: Directory
    replay: Replay
    status: StatusDesk
    relays: Relays


def assemble(tools: Tools, settings: Settings, state: State) -> Parts:
    """Put them together, those that know nobody first."""
    clocks, ledger, log = tools.clocks, tools.ledger, tools.log
    members, live, owners = state.members, state.live, tools.owners
    assigner = Assigner(members=members, live=live, random_bytes=tools.random_bytes)
    driver = ClockDriver(_scheduler(settings), clocks, assigner)
    endings = Endings(clocks=clocks, ledger=ledger, live=live, log=log)
    delivery = Delivery(
        clocks=clocks, ledger=ledger, members=members, owners=owners, endings=endings, log=log
    )
    results = Results(clocks=clocks, live=live, driver=driver, delivery=delivery, log=log)
    assigner.results = results
    rounds = Rounds(driver=driver, assigner=assigner, log=log)
    errands = Errands(log)
    replay = Replay(ledger=ledger, live=live, owners=owners, find=tools.find)
    preparer = Preparer(
        clocks=clocks,
        ledger=ledger,
        members=members,
        live=live,
        limits=settings.limits,
        resolve=tools.resolve,
        find=tools.find,
        load=driver.load,
        random=tools.random,
        owners=owners,
    )
    children = Children(
        clocks=clocks, ledger=ledger, live=live, rounds=rounds, find=tools.find, new_id=tools.new_id
    )
    conductor = Conductor(
        clocks=clocks,
        ledger=ledger,
        members=members,
        limits=settings.limits,
        rounds=rounds,
        children=children,
        planning=Planning(
            clocks=clocks, ledger=ledger, owners=owners, children=children, delivery=delivery
        ),
        endings=endings,
        log=log,
    )
    return Parts(
        driver=driver,
        attendance=Attendance(
            ledger=ledger,
            members=members,
            owners=owners,
            driver=driver,
            assigner=assigner,
            log=log,
        ),
        results=results,
        delivery=delivery,
        rounds=rounds,
        requests=Requests(
            clocks=clocks,
            ledger=ledger,
            live=live,
            errands=errands,
            preparer=preparer,
            conductor=conductor,
            rounds=rounds,
            endings=endings,
            replay=replay,
            new_id=tools.new_id,
            log=log,
        ),
        errands=errands,
        directory=Directory(ledger=ledger, members=members, owners=owners, load=driver.load),
        replay=replay,
        status=StatusDesk(
            clocks=clocks,
            ledger=ledger,
            live=live,
            agents=members,
            clients=state.clients,
            loop_lag_s=tools.loop_lag_s,
            started_ns=clocks.monotonic_ns(),
        ),
        relays=Relays(live=live, members=members),
    )


def _scheduler(settings: Settings) -> Scheduler:
    return Scheduler(
        rtt_max_ns=round(settings.keepalive.rtt_max_s * NS),
        lease_ns=round(settings.lease_s * NS),
    )
