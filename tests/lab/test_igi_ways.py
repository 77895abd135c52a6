"""IGI/PTR over the ways that lead from an agent to a client: both families, both directions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emodis.client.exits import Exit
from emodis.lab import topofile
from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab

pytestmark = pytest.mark.lab

# The agent is at h1; h2 is open, h3 behind a router that translates its addresses.
LAB = """
name = "ways"
[as.65001]
name = "Left"
[as.65002]
name = "Right"
[nodes]
h1 = { kind = "host", asn = 65001 }
r1 = { kind = "router", asn = 65001 }
r2 = { kind = "router", asn = 65002, nat_for = ["h3"] }
m1 = { kind = "host", asn = 65001 }
h2 = { kind = "host", asn = 65002 }
h3 = { kind = "host", asn = 65002 }
""" + "".join(
    f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = {capacity}_000_000\n'
    for a, b, capacity in (
        ("h1", "r1", 40),
        ("m1", "r1", 40),
        ("r1", "r2", 10),
        ("h2", "r2", 40),
        ("h3", "r2", 40),
    )
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Lab.up(topofile.parse(LAB, place="test", default_name="ways")) as lab:
        home = tmp_path_factory.mktemp("ways")
        emodis = Deployment(lab, home, master_host="m1")
        try:
            emodis.start_master("--listen-clients", r"tcp6:4711:interface=\:\:")
            emodis.start_agent("h1", "--allow", "igi")
            yield emodis
        finally:
            emodis.stop()


def ask(emodis: Deployment, host: str, *options: str, ipv6: bool = False) -> dict[str, Any]:
    """One run's JSON, and the exit code beside it."""
    at = f"[{emodis.lab.address6('m1')}]" if ipv6 else str(emodis.lab.address("m1"))
    arguments = ("request", "--tech", "igi", "--agents", "ALL", "--format", "json", *options)
    done = emodis.client(host, "--master", f"tcp://{at}", *arguments)
    assert done.stdout, done.stderr
    (measurement,) = json.loads(done.stdout)["measurements"]
    (run,) = measurement["runs"]
    return {"exit": done.returncode, **run}


def check(emodis: Deployment, run: dict[str, Any], result: dict[str, Any]) -> None:
    """It is about what is available."""
    assert (run["exit"], run["end"]) == (Exit.OK, "done"), (run["reason"], run["hint"])
    truth = emodis.lab.truth("h1", "h2", packet_bytes=result["phases"][-1]["size_bytes"])
    assert result["ptr_bps"] == pytest.approx(truth.tight.avail_ip_bps, rel=0.25)


# As /proc writes a socket's state.
ESTABLISHED, LISTEN = "01", "0A"
LOOK_EVERY_S = 0.02


@contextmanager
def tcp_states(emodis: Deployment, host: str) -> Iterator[set[str]]:
    """Those of all TCP sockets at a daemon's host, looked at again and again meanwhile."""
    (daemon,) = (daemon for daemon in emodis.daemons if daemon.name == host)
    tables = [Path(f"/proc/{daemon.process.pid}/net/{name}") for name in ("tcp", "tcp6")]
    states: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            for table in tables:
                states.update(line.split()[3] for line in table.read_text().splitlines()[1:])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield states
    finally:
        over.set()
        looking.join()


def test_over_ipv6(deployed: Deployment) -> None:
    run = ask(deployed, "h2", ipv6=True)
    check(deployed, run, run["result"])
    assert run["result"]["phases"][-1]["size_bytes"] == 500 + 48


def test_through_the_master_to_a_client_behind_a_router_that_translates(
    deployed: Deployment,
) -> None:
    run = ask(deployed, "h3")
    check(deployed, run, run["result"])
    assert run["result"]["relayed"]


@pytest.mark.parametrize("host", ["h2", "h3"])
def test_both_ways_over_one_conversation(deployed: Deployment, host: str) -> None:
    with tcp_states(deployed, "h1") as states:
        run = ask(deployed, host, "--direction", "both")
    # An agent has its connection to the master, and never listens.
    assert ESTABLISHED in states
    assert LISTEN not in states
    down, up = run["result"], run["result"]["upstream"]
    assert (down["direction"], up["direction"]) == ("downstream", "upstream")
    for found in (down, up):
        check(deployed, run, found)
        assert found["relayed"] == (host == "h3")
