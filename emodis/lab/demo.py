"""`emodis-lab demo`: the main job of Emodis in a virtual Internet, checked against the truth.

Master, five agents and the client are real processes, the packets are real packets. The answers
are read as the user reads them, from what the client prints; the truth comes from the topology.
"""

from __future__ import annotations

import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import attrs

from emodis.lab.deployment import Deployment, NotReady
from emodis.lab.exclusivity import Visit, overlaps, visits
from emodis.lab.lab import Lab, LabError
from emodis.lab.truth import Truth

AGENTS = ("a1", "a2", "a3", "a4", "a5")
CLIENT, SERVER = "c1", "w1"
LINK = re.compile(
    r"^The bottleneck .* is (?:the link |your own access link \()(.+) → ([\d.]+)", re.MULTILINE
)
MS = 1_000_000

Say = Callable[[str], None]


@attrs.define
class Verdict:
    """What went wrong so far; empty is the wish."""

    faults: list[str] = attrs.field(factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.faults.append(otherwise)


def main(argv: Sequence[str]) -> int:
    """Run the demo; 0 when every answer is right, 1 when one is wrong, 2 when it cannot run."""
    if argv:
        print("emodis-lab demo takes no arguments", file=sys.stderr)  # noqa: T201
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    verdict = Verdict()
    try:
        with tempfile.TemporaryDirectory(prefix="emodis-demo-") as home, Lab.up("demo") as lab:
            deployment = Deployment(lab, Path(home))
            try:
                _tour(deployment, Path(home), verdict, _say)
            finally:
                deployment.stop()
    except (LabError, NotReady) as error:
        print(f"The demo cannot run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("Interrupted; the lab is gone.", file=sys.stderr)  # noqa: T201
        return 130
    for fault in verdict.faults:
        _say(f"WRONG: {fault}")
    if not verdict.faults:
        _say("Every answer agrees with the truth, and no two agents were on a destination at once.")
    return 1 if verdict.faults else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _tour(deployment: Deployment, home: Path, verdict: Verdict, say: Say) -> None:
    lab = deployment.lab
    say(f"A virtual Internet with {len(lab.hosts)} hosts is up; starting the master and 5 agents.")
    deployment.start_master()
    for agent in AGENTS:
        deployment.start_agent(agent, wait=False)
    for daemon in deployment.daemons[1:]:
        daemon.wait_for("online at")
    captures = {host: home / f"{host}.pcap" for host in (CLIENT, SERVER)}
    with lab.capture(CLIENT, captures[CLIENT]), lab.capture(SERVER, captures[SERVER]):
        _ask(deployment, verdict, say, "(a) Where is the bottleneck towards me?", AGENTS, CLIENT)
        _ask(
            deployment,
            verdict,
            say,
            f"(b) Where is the bottleneck towards {SERVER}?",
            AGENTS,
            SERVER,
            SERVER,
        )
        _routes(deployment, verdict, say)
        _measure(deployment, verdict, say)
    sources = {lab.address(agent) for agent in AGENTS}
    for host, capture in captures.items():
        _exclusive(host, visits(capture, sources), verdict, say)


def _ask(
    deployment: Deployment,
    verdict: Verdict,
    say: Say,
    question: str,
    agents: Sequence[str],
    target: str,
    *destination: str,
) -> None:
    args = ["request", "--tech", "pathneck", "--agents", "AUTO", *destination]
    shown = _show(deployment, say, question, args)
    truths = [deployment.lab.truth(agent, target) for agent in agents]
    _judge(shown, truths, f"towards {target}", verdict, say)


def _measure(deployment: Deployment, verdict: Verdict, say: Say) -> None:
    args = ["measure", "--tech", "pathneck", SERVER]
    shown = _show(deployment, say, f"(d) Where is the bottleneck from me to {SERVER}?", args)
    _judge(shown, [deployment.lab.truth(CLIENT, SERVER)], f"to {SERVER}", verdict, say)


def _routes(deployment: Deployment, verdict: Verdict, say: Say) -> None:
    args = ["request", "--tech", "traceroute", "--agents", "ALL", "--schedule", "syn"]
    shown = _show(deployment, say, "(c) By which routes do the agents reach me?", args)
    for agent in AGENTS:
        truth = deployment.lab.truth(agent, CLIENT)
        addresses = [str(hop.address) for hop in truth.hops]
        say(f"  truth: {agent} reaches {CLIENT} by {' '.join(addresses)}")
        missing = [address for address in addresses if address not in shown]
        verdict.expect(not missing, f"the route from {agent} lacks {', '.join(missing)}")


def _show(deployment: Deployment, say: Say, question: str, args: list[str]) -> str:
    """Run a client command, let the user see it, and return what it said on stdout."""
    say(f"\n{question}\n$ emodis-client {' '.join(args)}")
    done = deployment.client(CLIENT, *args)
    say(done.stderr.rstrip())
    say(done.stdout.rstrip())
    if done.returncode != 0:
        raise NotReady(f"emodis-client {' '.join(args)} ended with exit code {done.returncode}")
    return done.stdout


def _judge(shown: str, truths: Sequence[Truth], where: str, verdict: Verdict, say: Say) -> None:
    """Compare the link that the sentence names with the fluid train's choke on each path."""
    links = {(str(t.choke.from_address), str(t.choke.to_address)): t.choke for t in truths}
    for start, end in links:
        say(f"  truth: the bottleneck {where} is {start} → {end}")
    found = LINK.search(shown)
    verdict.expect(found is not None, f"no bottleneck was named {where}")
    if found is None:
        return
    named = found[1], found[2]
    # A first link begins at the measuring host itself, which is named in words.
    firsts = {("this host", end) for (_, end), choke in links.items() if choke.ttl == 1}
    verdict.expect(
        named in {*links, *firsts}, f"the bottleneck {where} was said to be {' → '.join(named)}"
    )


def _exclusive(host: str, flows: Sequence[Visit], verdict: Verdict, say: Say) -> None:
    shared = overlaps(flows)
    sources: set[IPv4Address] = {flow.source for flow in flows}
    say(
        f"\nPackets captured at {host}: {len(flows)} runs of {len(sources)} agents, "
        f"{len(shared)} of them at the same time as another agent's."
    )
    verdict.expect(len(sources) > 1, f"fewer than two agents probed {host}")
    for first, second in shared:
        together_ms = (min(first.last_ns, second.last_ns) - second.first_ns) / MS
        verdict.expect(
            False,
            f"{first.source} and {second.source} probed {host} together, {together_ms:.0f} ms",
        )
