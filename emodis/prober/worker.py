"""The prober process: takes a run, drives its conversation over the transport, says how it ended.

Everything is loaded and every socket open before it says that it is ready. It knows no Twisted, and
does nothing but the exchange while a train is in flight.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address

import attrs

from emodis.packets.clocks import boottime_ns, monotonic_ns, realtime_ns
from emodis.packets.invitation import TAG_BYTES
from emodis.packets.model import Address, Train
from emodis.packets.paced import PacedTrain
from emodis.packets.transport import PacketTooBig, Stop, Traffic, Transport, TransportError
from emodis.prober import access
from emodis.prober.capture import Capture
from emodis.prober.follower import Follower
from emodis.prober.links import PeerFailed, PeerStopped
from emodis.prober.outcomes import cancelled, crashed, ended, out_of_bytes, out_of_time
from emodis.prober.peer import Partnership, PeerConversation
from emodis.prober.privileges import die_with_parent, wake_on_time
from emodis.prober.protocol import Channel, RunInterrupt
from emodis.prober.steadiness import Footing, Steadiness, find_footing
from emodis.techniques import igi_keys, registry
from emodis.techniques.base import (
    BadParameters,
    Context,
    Conversational,
    Cooperation,
    Measured,
    Peered,
    Technique,
    is_peered,
)
from emodis.techniques.registry import UnknownTechnique
from emodis.techniques.skeleton import DONE
from emodis.wire.framing import FrameTooLarge
from emodis.wire.v1.common_pb2 import (
    BLAME_AGENT,
    BLAME_NETWORK,
    BLAME_US,
    END_FAILED,
    TRANSPORT_UNPRIVILEGED,
    Body,
    Cost,
    Outcome,
    PeerOffer,
    Relay,
)
from emodis.wire.v1.prober_pb2 import (
    FromProber,
    ProberDone,
    ProberProgress,
    ProberReady,
    ProberRun,
)

LARGEST_OBSERVATIONS_BYTES = 768 << 10
# As `ProberReady.families` has them.
_FAMILY_BIT = {4: 1, 6: 2}
PROGRESS_INTERVAL_NS = 1_000_000_000


class _RunOver(Exception):
    """The run ends here; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.ending.reason)
        self.outcome = outcome


class Worker:
    """Serves one daemon until it is gone."""

    def __init__(
        self,
        channel: Channel,
        transport: Transport,
        lookup: Callable[[str], Conversational],
        chance: random.Random,
        footing: Footing = Footing.NORMAL,
    ) -> None:
        self._channel = channel
        self._footing = footing
        self._steadiness = Steadiness(footing)
        self._transport = transport
        self._made_by = access.word(transport)
        self._lookup = lookup
        self._chance = chance
        self._progress_ns = 0
        self._traffic = Traffic()
        self._capture_remark = ""

    def serve(self) -> None:
        """Say that we are ready, then take run after run until the daemon hangs up."""
        self._channel.send(FromProber(ready=self._ready()))
        while (message := self._channel.next()) is not None:
            # An abort that finds no run came too late: the run's end is on its way already.
            if message.HasField("run"):
                self._finish(message.run, self._measure(message.run))

    def _ready(self) -> ProberReady:
        return ProberReady(
            transports=[self._made_by],
            families=sum(_FAMILY_BIT[version] for version in self._transport.families),
            tx_stamp=self._transport.tx_stamp,
            rx_stamp=self._transport.rx_stamp,
            pid=os.getpid(),
            remarks=access.remarks(self._transport, self._footing),
            kinds=sorted(access.kinds_of(self._transport)),
        )

    def _finish(self, run: ProberRun, outcome: Outcome) -> None:
        traffic = self._traffic
        outcome.cost.CopyFrom(_cost(traffic))
        outcome.transport = outcome.transport or self._made_by
        if traffic.started_unix_ns is not None:
            outcome.started_unix_ns = traffic.started_unix_ns
            outcome.duration_ns = max(0, realtime_ns() - traffic.started_unix_ns)
        try:
            self._say_done(run, outcome)
        except FrameTooLarge:
            outcome = crashed("its result was too large", outcome.cost)
            outcome.transport = self._made_by
            self._say_done(run, outcome)

    def _say_done(self, run: ProberRun, outcome: Outcome) -> None:
        done = ProberDone(run=run.run, outcome=outcome, capture_remark=self._capture_remark)
        self._channel.send(FromProber(done=done))

    def _measure(self, run: ProberRun) -> Outcome:
        """Every way a run can end is an outcome; no exception leaves this."""
        self._traffic = Traffic()
        with Capture(run.pcap_path) as capture:
            outcome = self._end_of(run, capture)
        self._capture_remark = capture.remark
        return outcome

    def _end_of(self, run: ProberRun, capture: Capture) -> Outcome:
        try:
            return self._converse(run, capture)
        except _RunOver as over:
            return over.outcome
        except TransportError as error:
            blame = BLAME_NETWORK if isinstance(error, PacketTooBig) else BLAME_AGENT
            return ended(END_FAILED, error.reason, str(error), blame)
        except BadParameters as error:
            return ended(END_FAILED, "bad_params", str(error), BLAME_US)
        except Exception as error:
            detail = _in_one_line(error)
            complain(f"{run.call.technique}: {detail}")
            return crashed(detail)
        finally:
            self._transport.end()

    def _converse(self, run: ProberRun, capture: Capture) -> Outcome:
        address = _address(run.target.address)
        if run.HasField("follow"):
            return self._follow(run, address)
        technique = self._technique(run.call)
        context = Context(
            address=address,
            seed=self._chance.getrandbits(63),
            can_mute=self._transport.can_mute,
            cooperation=_cooperation(run.peer),
        )
        if is_peered(technique):
            return self._partner(run, technique, context, capture)
        capture.watch(self._transport)
        self._transport.begin(address, max_bytes=run.max_bytes)
        self._traffic = self._transport.traffic
        conversation = technique.conversation(run.call, context)
        interrupt = RunInterrupt(self._channel, run.run)
        self._progress_ns = monotonic_ns()
        try:
            train = next(conversation)
            while True:
                self._wait(train, run, interrupt)
                with self._steadiness.held():
                    outcome = self._transport.exchange(
                        train, stop_by_boottime_ns=run.stop_by_boottime_ns, interrupt=interrupt
                    )
                capture.keep()
                self._check(run, interrupt, outcome.cut_short)
                self._report(train, run)
                train = conversation.send(outcome)
        except StopIteration as stop:
            measured: Measured = stop.value
            return _outcome(measured, technique)
        finally:
            conversation.close()

    def _partner(
        self, run: ProberRun, technique: Peered, context: Context, capture: Capture
    ) -> Outcome:
        """Do it with somebody who listens at the destination, over ordinary sockets."""
        interrupt = RunInterrupt(self._channel, run.run)
        self._progress_ns = monotonic_ns()

        def between(train: PacedTrain) -> None:
            capture.keep()
            self._report(train, run)

        partnership = Partnership(
            run=run,
            partner=context.address,
            traffic=self._traffic,
            interrupt=interrupt,
            chance=self._chance,
            report=between,
            steady=self._steadiness.held,
            relay=lambda words: self._relay(run, words),
            receives=technique.partner_sends(run.call),
            tape=capture.tape,
        )

        def begin(relayed: bool) -> PeerConversation:
            return technique.talk_to_peer(run.call, attrs.evolve(context, relayed=relayed))

        try:
            outcome = _outcome(partnership.measure(begin), technique)
        except PeerStopped:
            self._check(run, interrupt, True)
            raise
        except PeerFailed as failed:
            outcome = ended(END_FAILED, failed.reason, str(failed), failed.blame)
        outcome.transport = TRANSPORT_UNPRIVILEGED
        return outcome

    def _follow(self, run: ProberRun, address: Address) -> Outcome:
        """Send what the partner of a run orders; it measures."""
        interrupt = RunInterrupt(self._channel, run.run)
        follower = Follower(
            run=run,
            partner=address,
            traffic=self._traffic,
            interrupt=interrupt,
            chance=self._chance,
            steady=self._steadiness.held,
            say=lambda words: self._relay(run, words),
        )
        try:
            follower.follow()
        except PeerStopped:
            self._check(run, interrupt, True)
            raise
        except PeerFailed as failed:
            return ended(END_FAILED, failed.reason, str(failed), failed.blame)
        return Outcome(ending=DONE, transport=TRANSPORT_UNPRIVILEGED)

    def _relay(self, run: ProberRun, words: bytes) -> None:
        self._channel.send(FromProber(relay=Relay(run=run.run, words=words)))

    def _technique(self, call: Body) -> Conversational:
        try:
            technique = self._lookup(call.technique)
        except UnknownTechnique as error:
            hint = f"The agent's Emodis cannot do that: {error}."
            raise _RunOver(ended(END_FAILED, "unknown_technique", hint, BLAME_AGENT)) from None
        if call.schema != technique.SCHEMA:
            hint = (
                f"{call.technique} came in version {call.schema} of its messages, this prober "
                f"knows {technique.SCHEMA}; update Emodis on the older side."
            )
            raise _RunOver(ended(END_FAILED, "unknown_schema", hint, BLAME_AGENT))
        return technique

    def _wait(self, train: Train, run: ProberRun, interrupt: RunInterrupt) -> None:
        """Hold the train back until its time."""
        started_ns = self._traffic.train_started_ns
        until_ns = 0 if started_ns is None else started_ns + train.not_before_ns
        while True:
            self._check(run, interrupt, False)
            left_ns = until_ns - monotonic_ns()
            if left_ns <= 0:
                return
            left_ns = min(left_ns, run.stop_by_boottime_ns - boottime_ns())
            if left_ns <= 0:
                raise _RunOver(out_of_time())
            select.select([interrupt], [], [], left_ns / 1e9)

    def _check(self, run: ProberRun, interrupt: RunInterrupt, cut_short: bool) -> None:
        if interrupt.waiting():
            raise _RunOver(cancelled())
        if cut_short and self._traffic.stopped_by is Stop.BYTE_CAP:
            raise _RunOver(out_of_bytes(run.max_bytes))
        if cut_short:
            raise _RunOver(out_of_time())

    def _report(self, train: Train | PacedTrain, run: ProberRun) -> None:
        """Between trains only, and at most once a second."""
        now_ns = monotonic_ns()
        if train.progress is None or now_ns - self._progress_ns < PROGRESS_INTERVAL_NS:
            return
        self._progress_ns = now_ns
        done, total = train.progress
        cost = _cost(self._traffic)
        progress = ProberProgress(run=run.run, done=done, total=total, cost=cost)
        self._channel.send(FromProber(progress=progress))


def _cooperation(offer: PeerOffer) -> Cooperation | None:
    """What the destination offers, as long as it does not send us to some service."""
    fits = igi_keys.LOWEST_PORT <= offer.answering_port <= igi_keys.HIGHEST_PORT
    if not fits or len(offer.token) != igi_keys.TOKEN_BYTES:
        return None
    return Cooperation(port=offer.answering_port, tag=offer.token[:TAG_BYTES])


def _address(packed: bytes) -> Address:
    try:
        return ip_address(packed)
    except ValueError:
        hint = f"A target address has 4 or 16 bytes, this one {len(packed)}."
        raise _RunOver(ended(END_FAILED, "bad_params", hint, BLAME_US)) from None


def _cost(traffic: Traffic) -> Cost:
    return Cost(
        sent_packets=traffic.sent_packets,
        recv_packets=traffic.recv_packets,
        sent_bytes=traffic.sent_bytes,
        recv_bytes=traffic.recv_bytes,
    )


def _outcome(measured: Measured, technique: Technique) -> Outcome:
    outcome = Outcome(ending=measured.ending, quality=measured.quality)
    if measured.result is not None:
        outcome.result.technique = technique.NAME
        outcome.result.schema = technique.SCHEMA
        outcome.result.body = measured.result.SerializeToString()
    observations = measured.observations.SerializeToString()
    if len(observations) <= LARGEST_OBSERVATIONS_BYTES:
        outcome.observations = observations
    else:
        outcome.quality.reasons.append("The raw observations were too large to be kept.")
    return outcome


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def complain(text: str) -> None:
    """One line for the log of whoever started this process."""
    sys.stderr.write(f"prober: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Entry point of `python -m emodis.prober.worker`."""
    parser = argparse.ArgumentParser(prog="emodis.prober.worker", description="Started by Emodis.")
    parser.add_argument("--fd", type=int, required=True, help="our end of a socket pair")
    parser.add_argument("--parent", type=int, required=True, help="pid of whoever started us")
    arguments = parser.parse_args()
    if not die_with_parent(arguments.parent):
        return 0
    # A ^C or a service stop hits the whole group; the daemon decides, and tells us by hanging up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake_on_time()
    chance = random.SystemRandom()
    try:
        transport = access.open_transport(chance)
    except TransportError as error:
        complain(str(error))
        return os.EX_NOPERM
    channel = Channel(socket.socket(fileno=arguments.fd))
    gc.freeze()
    try:
        Worker(channel, transport, registry.conversational, chance, find_footing()).serve()
    except Exception as error:
        complain(_in_one_line(error))
        return os.EX_SOFTWARE
    return 0


if __name__ == "__main__":
    sys.exit(main())
