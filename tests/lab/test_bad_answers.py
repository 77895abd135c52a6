"""Answers that are not what they should be, with raw sockets and without: real packets.

Routers that quote only eight bytes, a NAT that rewrites ports, forged answers from beside the path,
a destination that floods.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.unprivileged import wrapped
from tests.lab.test_raw_transport import PRELUDE
from tests.lab.test_unprivileged_transport import UNPRIVILEGED

pytestmark = pytest.mark.lab

# h1 - n - r1 - r2 - h2, f beside r1; n translates for h1, r1 and r2 quote eight bytes.
PATH = """
[as.65001]
name = "One"
[nodes]
h1 = { kind = "host", asn = 65001 }
n = { kind = "router", asn = 65001, nat_for = ["h1"] }
r1 = { kind = "router", asn = 65001, quote_bytes = 8 }
r2 = { kind = "router", asn = 65001, quote_bytes = 8 }
h2 = { kind = "host", asn = 65001, icmp = "free" }
f = { kind = "host", asn = 65001 }
""" + "".join(
    f'[[links]]\na = "{a}"\nb = "{b}"\ncapacity_bps = 1_000_000_000\n'
    for a, b in map(str.split, ("h1 n", "n r1", "r1 r2", "h2 r2", "f r1"))
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(parse(PATH, place="bad.toml", default_name="bad")) as lab:
        yield lab


def argv(lab: Lab, script: str, *, raw: bool, to: str = "") -> list[str]:
    target = to or str(lab.address("h2"))
    code = (PRELUDE if raw else UNPRIVILEGED) + script
    command = [sys.executable, "-c", code, target]
    return command if raw else wrapped(command)


def flown(lab: Lab, script: str, *, raw: bool, to: str = "") -> Any:
    command = argv(lab, script, raw=raw, to=to)
    done = lab.run("h1", command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# SYNs of one flow would share one entry of the translator, and the destination's refusal ends it,
# maybe before a router's answer comes home through it.
EVERY_KIND = """
transport.begin(there, max_bytes=0)
def asked(kind):
    return shown(fly(probes(range(1, 5)), kind=kind, spread=kind is Kind.TCP_SYN))
print(json.dumps({kind.name: asked(kind) for kind in Kind}))
"""


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "unprivileged"])
def test_eight_bytes_behind_a_translator_are_enough(lab: Lab, raw: bool) -> None:
    hops = [str(hop.address) for hop in lab.truth("h1", "h2").hops]
    for kind, outcome in flown(lab, EVERY_KIND, raw=raw).items():
        found = [echo["reply"] and echo["reply"][0] for echo in outcome["echoes"]]
        assert found == hops, kind
        assert outcome["duplicates"] == 0


# Knows the flow that it forges answers to, as somebody on the path would, and sends from beside it,
# in the name of nobody: a wrong id, a wrong destination, a wrong port; cut in the quote and in the
# ICMP header; and, right in every field, what a router has said already.
FORGE = """
import errno, socket, struct, sys, time
from emodis.packets.checksum import checksum
victim, target = (socket.inet_aton(word) for word in sys.argv[1:3])
answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
def header(identification, ttl, protocol, to, length):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, identification, 0x4000, ttl, protocol, 0,
                       victim, to)
def error(quote, icmp_type=11):
    sum_ = checksum(struct.pack("!BBHI", icmp_type, 0, 0, 0) + quote)
    return struct.pack("!BBHI", icmp_type, 0, sum_, 0) + quote
def forged():
    for port in range(30000, 65536, 37):
        for number in (1, 500):
            udp = struct.pack("!HHHH", port, 33434, 40, number)
            yield error(header(number, 1, 17, target, 60) + udp)
            yield error(header(number, 1, 17, socket.inet_aton("203.0.113.1"), 60) + udp)
    whole = error(header(1, 1, 17, target, 60) + bytes(8))
    for length in range(2, len(whole)):
        yield whole[:length]
print("forging", flush=True)
for packet in forged():
    while True:
        try:
            answers.sendto(packet, (sys.argv[1], 0))
            break
        except OSError as refusal:
            if refusal.errno != errno.ENOBUFS:
                raise
            time.sleep(0.001)
"""
HEARD = """
print("ready", file=sys.stderr, flush=True)
transport.begin(there, max_bytes=0)
outcomes = []
for flow in range(8):
    outcomes.append(shown(fly(probes(range(1, 5)), flow=flow, wait_ns=3 * 10**8)))
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "unprivileged"])
def test_a_stranger_who_guesses_answers_nothing(path_lab: Lab, raw: bool) -> None:
    """On a path without a translator, which would have stopped it."""
    addresses = [str(path_lab.address(node)) for node in ("h1", "h2")]
    command = [sys.executable, "-c", FORGE, *addresses]
    with path_lab.popen("r6", command, stdout=subprocess.PIPE, text=True) as forger:
        assert forger.stdout is not None
        assert forger.stdout.readline() == "forging\n"
        outcomes = flown(path_lab, HEARD, raw=raw)
        assert forger.wait(60) == 0
    hops = [str(hop.address) for hop in path_lab.truth("h1", "h2").hops][:4]
    for outcome in outcomes:
        assert [echo["reply"] and echo["reply"][0] for echo in outcome["echoes"]] == hops
        assert outcome["duplicates"] == 0


# Answers the first echo request at a rate of 50000 a second: with its own number and all others.
FLOOD = """
import select, socket, struct, sys, time
from ipaddress import ip_address
from emodis.packets.checksum import checksum
from emodis.packets.mmsg import SendBatch
line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
print("ready", flush=True)
while True:
    data, (sender, _) = line.recvfrom(2000)
    if data[20] == 8:
        break
ident, first = struct.unpack_from("!HH", data, 24)
replies = []
for number in range(500):
    at = first if number % 2 else (first + number // 2 - 1) % 0xFFFE + 1
    reply = struct.pack("!BBHHH", 0, 0, 0, ident, at) + bytes(32)
    replies.append(reply[:2] + struct.pack("!H", checksum(reply)) + reply[4:])
batch = SendBatch(bytearray(b"".join(replies)), [40] * 500, ip_address(sender))
start, sent = time.monotonic(), 0
while (gone := time.monotonic() - start) < 3:
    due = int(gone * 50_000)
    while sent < due:
        try:
            sent += batch.send(line.fileno(), 0, 500)
        except BlockingIOError:
            break
    time.sleep(0.002)
print(sent, flush=True)
"""
BELEAGUERED = """
import resource
transport.begin(there, max_bytes=0)
fly(probes([64]), kind=Kind.UDP)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = boottime_ns()
train = tuple(Probe(ttl=64, size_bytes=60, after_ns=2 * 10**8) for _ in range(6))
outcome = fly(train, kind=Kind.ICMP_ECHO, wait_ns=5 * 10**8, awaited=frozenset(range(6)))
lasted = boottime_ns() - started
# One that nobody answers, in the middle of the flood.
again = boottime_ns()
silent = fly(tuple(Probe(ttl=64, size_bytes=60) for _ in range(2)), kind=Kind.ICMP_ECHO,
             wait_ns=3 * 10**8, flow=9)
waited = boottime_ns() - again
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
odd = outcome.duplicates + outcome.unmatched + outcome.receive_drops
print(json.dumps([lasted, waited, grown, odd, sum(e.sent_ns is not None for e in outcome.echoes)]))
"""


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "unprivileged"])
def test_a_flood_of_answers_costs_neither_time_nor_memory(lab: Lab, raw: bool) -> None:
    with lab.popen(
        "h2", [sys.executable, "-c", FLOOD], stdout=subprocess.PIPE, text=True
    ) as flooder:
        assert flooder.stdout is not None
        assert flooder.stdout.readline() == "ready\n"
        lasted_ns, waited_ns, grown_kb, odd, sent = flown(lab, BELEAGUERED, raw=raw)
        assert int(flooder.stdout.readline()) > 10_000
    assert sent == 6
    # It would be 1 s and 0.5 s of waiting at most, then 0.3 s.
    assert lasted_ns < 15_000_000_000
    assert waited_ns < 10_000_000_000
    assert grown_kb < 64 << 10
    # It is noticed.
    assert odd > 1000


NO_ROUTE = """
started = boottime_ns()
try:
    transport.begin(there, max_bytes=0)
    fly(probes([64]))
    print(json.dumps(None))
except TransportError as error:
    print(json.dumps([error.reason, boottime_ns() - started]))
"""


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "unprivileged"])
def test_where_there_is_no_route_it_is_said_at_once(lab: Lab, raw: bool) -> None:
    reason, took_ns = flown(lab, NO_ROUTE, raw=raw, to="198.18.9.9")
    assert reason == "no_route"
    assert took_ns < 1_000_000_000
