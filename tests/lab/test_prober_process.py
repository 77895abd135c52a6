"""The prober process with real packets: it stops when told, and when whoever drives it is gone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.utils import PcapReader

from emodis.lab.lab import Lab

pytestmark = pytest.mark.lab
PCAP_HEADER_BYTES = 24

# A daemon in miniature: starts a prober, lets go of its own right to raw sockets, and pings for
# as long as it takes. Prints a line of JSON when the run begins and one with its outcome.
DAEMON = """
import json, os, sys
from ipaddress import IPv4Address
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from emodis.packets.clocks import boottime_ns, realtime_ns
from emodis.prober.driver import Prober
from emodis.prober.privileges import drop_net_raw, net_raw
from emodis.techniques import registry
from emodis.wire.v1.common_pb2 import End, RunKey, Target
from emodis.wire.v1.prober_pb2 import ProberRun

def say(**words):
    print(json.dumps({"at_ns": realtime_ns(), **words}), flush=True)

def run(number, **options):
    call = registry.get("ping").call({name: str(value) for name, value in options.items()})
    return ProberRun(
        run=RunKey(measurement_id="m", destination=number), call=call,
        target=Target(address=IPv4Address(sys.argv[1]).packed),
        stop_by_boottime_ns=boottime_ns() + 100 * 10**9)

async def pings(prober, number, when_begun=lambda key: None, **options):
    what = run(number, **options)
    going = prober.run(what)
    say(begun=number, pid=prober.pid)
    when_begun(what.run)
    outcome = await going
    ending = outcome.ending
    say(end=End.Name(ending.end), reason=ending.reason, sent=outcome.cost.sent_packets,
        received=outcome.cost.recv_packets)

async def main(reactor):
    prober = Prober(reactor, label="test")
    await prober.start()
    drop_net_raw()
    say(holds=net_raw().effective)
    SCRIPT
    await prober.stop()

task.react(main)
"""


def daemon(lab: Lab, script: str) -> subprocess.Popen[Any]:
    code = DAEMON.replace("SCRIPT", script)
    command = [sys.executable, "-c", code, str(lab.address("h2"))]
    return lab.popen("h1", command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def said(lab: Lab, script: str) -> list[dict[str, Any]]:
    """All that the daemon printed."""
    with daemon(lab, script) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return lines(output)


def arrivals_ns(path: Path, lab: Lab) -> list[int]:
    """When h1's packets came to h2."""
    source = str(lab.address("h1"))
    if path.stat().st_size <= PCAP_HEADER_BYTES:
        return []
    with PcapReader(str(path)) as reader:
        return [int(p.time * 10**9) for p in reader if IP in p and p[IP].src == source]


def test_a_daemon_without_the_capability_measures_through_its_prober(path_lab: Lab) -> None:
    first, _, last = said(path_lab, "await pings(prober, 1, count=3, interval_s=0.05)")
    assert first["holds"] is False
    assert (last["end"], last["sent"], last["received"]) == ("END_DONE", 3, 3)


def test_a_killed_prober_is_replaced_although_the_daemon_gave_its_right_away(
    path_lab: Lab,
) -> None:
    script = """
    kill = lambda key: reactor.callLater(0.3, os.kill, prober.pid, 9)
    await pings(prober, 1, kill, count=100, interval_s=0.1)
    await pings(prober, 2, count=3, interval_s=0.05)
"""
    _, _, crashed, _, done = said(path_lab, script.strip())
    assert (crashed["end"], crashed["reason"]) == ("END_FAILED", "prober_crashed")
    assert (done["end"], done["received"]) == ("END_DONE", 3)


def test_after_an_abort_nothing_is_sent_any_more(path_lab: Lab, tmp_path: Path) -> None:
    script = """
    abort = lambda key: reactor.callLater(0.3, prober.abort, key)
    await pings(prober, 1, abort, count=1000, interval_s=0.05)
    await task.deferLater(reactor, 0.3)
"""
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        *_, end = said(path_lab, script.strip())
    assert end["end"] == "END_CANCELLED"
    arrived = arrivals_ns(tmp_path / "h2.pcap", path_lab)
    assert 0 < len(arrived) == end["sent"] < 1000
    assert max(arrived) < end["at_ns"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_when_its_daemon_dies_the_prober_stops_sending(
    path_lab: Lab, tmp_path: Path, number: signal.Signals
) -> None:
    with path_lab.capture("h2", tmp_path / "h2.pcap"):
        with daemon(path_lab, "await pings(prober, 1, count=1000, interval_s=0.05)") as process:
            assert process.stdout is not None
            for _ in range(2):
                assert process.stdout.readline()
            deadline = time.monotonic() + 30
            while not arrivals_ns(tmp_path / "h2.pcap", path_lab):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(number)
            process.communicate(timeout=30)
            ended_ns = time.time_ns()
        # Ten more would have come.
        time.sleep(0.5)
    assert max(arrivals_ns(tmp_path / "h2.pcap", path_lab)) < ended_ns + 20_000_000
