"""Every technique without a single capability: real agents, client and packets, both families."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from emodis.client.exits import Exit
from emodis.lab import topofile
from emodis.lab.deployment import Deployment, program
from emodis.lab.lab import Lab
from emodis.lab.unprivileged import wrapped

pytestmark = pytest.mark.lab

TWO_AGENTS = """
[as.65001]
name = "Left"
[as.65002]
name = "Right"

[nodes]
a1 = { kind = "host", asn = 65001 }
a2 = { kind = "host", asn = 65001 }
r1 = { kind = "router", asn = 65001 }
r2 = { kind = "router", asn = 65001 }
r3 = { kind = "router", asn = 65002 }
c1 = { kind = "host", asn = 65002 }
""" + "".join(
    f'\n[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = {capacity}\n'
    for a, b, capacity in (
        ("a1", "r1", 100_000_000),
        ("a2", "r1", 100_000_000),
        ("r1", "r2", 50_000_000),
        ("r2", "r3", 10_000_000),
        ("r3", "c1", 50_000_000),
    )
)
# Of what can be measured together, and the quickest that each can be.
LIGHT = {
    "ping": ("-o", "count=3", "-o", "interval_s=0.1"),
    "traceroute": ("-o", "rounds=1", "-o", "settle_s=0.2"),
    "loss": ("-o", "count=10", "-o", "interval_s=0.1"),
}
TRAINS = {
    "pathneck": ("-o", "trains=5"),
    "igi": ("-o", "repeats=3"),
    # Each time it measures, also where it is tried again.
    "broute": ("-o", "trains=5", "-o", "bandwidth_max_age_s=0"),
}
ALLOWED = [word for name in (*LIGHT, "pathneck", "igi") for word in ("--allow", name)]
Runs = Mapping[tuple[str, bool], dict[str, Any]]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Agents without capabilities: a1, and a2 where ICMP datagram sockets are closed, too."""
    topology = topofile.parse(TWO_AGENTS, place="test", default_name="modest")
    with Lab.up(topology) as lab:
        emodis = Deployment(
            lab, tmp_path_factory.mktemp("modest"), master_host="c1", unprivileged=True
        )
        try:
            emodis.start_master("--listen-clients", r"tcp6:4711:interface=\:\:")
            emodis.start_agent("a1", *ALLOWED, wait=False)
            emodis.echo = False
            emodis.start_agent("a2", wait=False)
            for daemon in emodis.daemons[1:]:
                daemon.wait_for("online at")
            yield emodis
        finally:
            emodis.stop()


def request(emodis: Deployment, technique: str, *options: str, ipv6: bool) -> list[str]:
    """Asks a1 towards the client's own address of the family."""
    at = f"[{emodis.lab.address6('c1')}]" if ipv6 else str(emodis.lab.address("c1"))
    argv = [program("emodis-client"), "--insecure", "--master", f"tcp://{at}"]
    argv += ["--as-map", str(emodis.lab.as_map), "request", "--tech", technique]
    return [*argv, "--agents", str(emodis.lab.address("a1")), "--format", "json", *options]


def measure(emodis: Deployment, technique: str, *options: str, ipv6: bool) -> list[str]:
    """The same from a1 itself, without a master."""
    argv = [program("emodis-client"), "--as-map", str(emodis.lab.as_map), "measure"]
    argv += ["c1", "--tech", technique, "--format", "json", *options, *(["-6"] if ipv6 else [])]
    return wrapped(argv)


def started(emodis: Deployment, host: str, argv: list[str]) -> subprocess.Popen[str]:
    return emodis.lab.popen(host, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def only_run(process: subprocess.Popen[str]) -> dict[str, Any]:
    with process:
        output, errors = process.communicate(timeout=120)
    assert output, (process.args, process.returncode, errors)
    (measurement,) = json.loads(output)["measurements"]
    (run,) = measurement["runs"]
    assert run["transport"] == "unprivileged"
    found: dict[str, Any] = run
    return found


def result_of(run: dict[str, Any]) -> dict[str, Any]:
    assert run["end"] == "done", run
    result: dict[str, Any] = run["result"]
    return result


def trains_of(emodis: Deployment, host: str, argv: list[str]) -> dict[str, Any]:
    return result_of(only_run(started(emodis, host, argv)))


def lights(emodis: Deployment, *, by_agent: bool) -> Runs:
    """What disturbs nothing, all at once."""
    host, line = ("c1", request) if by_agent else ("a1", measure)
    processes = {
        (technique, ipv6): started(emodis, host, line(emodis, technique, *options, ipv6=ipv6))
        for technique, options in LIGHT.items()
        for ipv6 in (False, True)
    }
    return {key: result_of(only_run(process)) for key, process in processes.items()}


@pytest.mark.parametrize("by_agent", [True, False], ids=["agent", "measure"])
def test_light_techniques_find_what_is_there(deployed: Deployment, by_agent: bool) -> None:
    found = lights(deployed, by_agent=by_agent)
    for ipv6 in (False, True):
        hops = deployed.lab.truth("a1", "c1", ipv6=ipv6).hops
        route = found["traceroute", ipv6]
        assert [hop["answers"][0]["address"] for hop in route["hops"]] == [
            str(hop.address) for hop in hops
        ]
        ping = found["ping", ipv6]
        assert (ping["answered"], ping["reverse_hops"]) == (3, len(hops) - 1)
        loss = found["loss", ipv6]
        assert (loss["answered"], loss["loss_ratio"]) == (10, 0)


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_trains_find_what_is_there(deployed: Deployment, ipv6: bool) -> None:
    def asked(technique: str) -> dict[str, Any]:
        argv = request(deployed, technique, *TRAINS[technique], ipv6=ipv6)
        return trains_of(deployed, "c1", argv)

    truth = deployed.lab.truth("a1", "c1", ipv6=ipv6)
    ways_in = asked("broute")["branches"]
    assert [branch["upstream_asn"] for branch in ways_in] == [65001]
    bottleneck = asked("pathneck")
    assert bottleneck["bottleneck"]["ttl"] == truth.choke.ttl == 3
    # The client takes part: nothing had to be muted for the last link.
    assert (bottleneck["cooperation"], bottleneck["last_link"]) == ("used", "measured")
    available = asked("igi")
    size_bytes = available["phases"][-1]["size_bytes"]
    tight = deployed.lab.truth("a1", "c1", packet_bytes=size_bytes).tight
    # One run without priority; how accurate many are is for the benchmark to say.
    assert available["ptr_bps"] == pytest.approx(tight.avail_ip_bps, rel=0.4)
    argv = measure(deployed, "pathneck", *TRAINS["pathneck"], ipv6=ipv6)
    own = trains_of(deployed, "a1", argv)
    assert own["bottleneck"]["ttl"] == truth.choke.ttl
    assert own["last_link"] == "unmeasured"


def test_people_are_told(deployed: Deployment) -> None:
    argv = [program("emodis-client"), "measure", "c1", "--tech", "traceroute", *LIGHT["traceroute"]]
    done = deployed.lab.run("a1", wrapped(argv), capture_output=True, text=True, timeout=60)
    assert "without raw sockets" in done.stdout, done.stdout
    doctor = wrapped([program("emodis-client"), "doctor"], echo=False)
    done = deployed.lab.run("a2", doctor, capture_output=True, text=True, timeout=60)
    assert "ok       packets: UDP, TCP\n" in done.stdout


def test_who_cannot_send_it_is_not_asked(deployed: Deployment) -> None:
    """Nobody sends load that the destination drops; a2 has no ICMP either, but TCP."""
    a1, a2 = (str(deployed.lab.address(agent)) for agent in ("a1", "a2"))
    refused = [
        (("--tech", "ping", "--agents", a2), "ICMP echo", "another -o proto"),
        (("--tech", "pathneck", "-o", "mute=badsum", "--agents", "ALL"), "muted load", "raw"),
        (
            ("--tech", "traceroute", "-o", "proto=tcp", "-o", "mda=lite", "--agents", a1),
            "TCP of a chosen flow",
            "another -o proto",
        ),
    ]
    for options, what, hint in refused:
        done = deployed.client("c1", "request", *options)
        assert done.returncode == Exit.NO_AGENT, done.stderr
        assert what in done.stderr
        assert hint in done.stderr
    for options, places in (((), ["a1"]), (("-o", "proto=tcp"), ["a1", "a2"])):
        done = deployed.client(
            "c1",
            "request",
            "--tech",
            "ping",
            "--agents",
            "ALL",
            "--format",
            "json",
            *LIGHT["ping"],
            *options,
        )
        (measurement,) = json.loads(done.stdout)["measurements"]
        assert sorted(agent["place"] for agent in measurement["agents"]) == places
        assert {run["result"]["answered"] for run in measurement["runs"]} == {3}
