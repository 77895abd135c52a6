"""`emodis-lab demo`: the main job of Emodis in a virtual Internet, checked against the truth.

Master, five agents and the client are real processes, the packets are real packets. The answers
are read as the user reads them, from what the client prints; the truth comes from the topology.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emodis.lab.deployment import Deployment, NotReady
from emodis.lab.exclusivity import Visit, overlaps, visits
from emodis.lab.judgement import (
    OWN_HOST,
    bottleneck_faults,
    bottleneck_truth,
    route_faults,
    route_truth,
    tables,
)
from emodis.lab.lab import Lab, LabError
from emodis.lab.truth import Truth

AGENTS = ("a1", "a2", "a3", "a4", "a5")
CLIENT, SERVER = "c1", "w1"
MS = 1_000_000


def main(argv: Sequence[str]) -> int:
    """Run the demo; 0 when every answer is right, 1 when one is wrong, 2 when it cannot run."""
    if argv:
        print("emodis-lab demo takes no arguments", file=sys.stderr)  # noqa: T201
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="emodis-demo-") as home, Lab.up("demo") as lab:
            deployment = Deployment(lab, Path(home))
            try:
                faults = _tour(deployment, Path(home))
            finally:
                deployment.stop()
    except (LabError, NotReady) as error:
        print(f"The demo cannot run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("Interrupted; the lab is gone.", file=sys.stderr)  # noqa: T201
        return 130
    for fault in faults:
        _say(f"WRONG: {fault}")
    if not faults:
        _say("Every answer agrees with the truth, and no two agents were on a destination at once.")
    return 1 if faults else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _tour(deployment: Deployment, home: Path) -> list[str]:
    """Show everything; what was wrong with it."""
    lab = deployment.lab
    _say(f"A virtual Internet with {len(lab.hosts)} hosts is up; starting the master and 5 agents.")
    deployment.start_master()
    for agent in AGENTS:
        deployment.start_agent(agent, wait=False)
    for daemon in deployment.daemons[1:]:
        daemon.wait_for("online at")
    captures = {host: home / f"{host}.pcap" for host in (CLIENT, SERVER)}
    auto = ["request", "--tech", "pathneck", "--agents", "AUTO"]
    everyone = ["request", "--tech", "traceroute", "--agents", "ALL", "--schedule", "syn"]
    to_client = {agent: lab.truth(agent, CLIENT) for agent in AGENTS}
    to_server = {agent: lab.truth(agent, SERVER) for agent in AGENTS}
    upstream = {OWN_HOST: lab.truth(CLIENT, SERVER)}
    with lab.capture(CLIENT, captures[CLIENT]), lab.capture(SERVER, captures[SERVER]):
        shown = _show(deployment, "(a) Where is the bottleneck towards me?", auto)
        faults = _judge_bottlenecks(shown, to_client)
        shown = _show(deployment, f"(b) Where is the bottleneck towards {SERVER}?", [*auto, SERVER])
        faults += _judge_bottlenecks(shown, to_server)
        shown = _show(deployment, "(c) By which routes do the agents reach me?", everyone)
        for agent, truth in to_client.items():
            _say(f"  {route_truth(agent, truth)}")
        faults += route_faults(shown, to_client)
        shown = _show(
            deployment,
            f"(d) Where is the bottleneck from me to {SERVER}?",
            ["measure", "--tech", "pathneck", SERVER],
        )
        faults += _judge_bottlenecks(shown, upstream)
    sources = {lab.address(agent) for agent in AGENTS}
    for host, capture in captures.items():
        faults += _judge_exclusivity(host, visits(capture, sources))
    return faults


def _show(deployment: Deployment, question: str, args: list[str]) -> str:
    """Run a client command, let the user see it, and return what it said on stdout."""
    _say(f"\n{question}\n$ emodis-client {' '.join(args)}")
    # Its progress is seen while it is made.
    done = deployment.client(CLIENT, *args, capture_output=False, stdout=subprocess.PIPE)
    _say(done.stdout.rstrip())
    if done.returncode != 0:
        raise NotReady(f"emodis-client {' '.join(args)} ended with exit code {done.returncode}")
    return str(done.stdout)


def _judge_bottlenecks(shown: str, truths: dict[str, Truth]) -> list[str]:
    for table in tables(shown):
        if table.source in truths:
            _say(f"  {bottleneck_truth(table.source, truths[table.source])}")
    return bottleneck_faults(shown, truths)


def _judge_exclusivity(host: str, flows: Sequence[Visit]) -> list[str]:
    shared = overlaps(flows)
    sources = {flow.source for flow in flows}
    _say(
        f"\nPackets captured at {host}: {len(flows)} runs of {len(sources)} agents, "
        f"{len(shared)} of them at the same time as another agent's."
    )
    faults = [] if len(sources) > 1 else [f"fewer than two agents probed {host}"]
    for first, second in shared:
        together_ms = (min(first.last_ns, second.last_ns) - second.first_ns) / MS
        faults.append(
            f"{first.source} and {second.source} probed {host} together, {together_ms:.0f} ms"
        )
    return faults
