"""One virtual Internet in which every destination is bad in a way of its own, all near h1."""

from __future__ import annotations

import subprocess
import sys

from emodis.lab.lab import Lab
from emodis.lab.topofile import parse
from emodis.lab.topology import Topology

# What is not said is 100 Mbit/s. Behind r2 the arms part; the last node of each is the host.
_LINKS = """
h1 r1
m1 r1
a1 r1
u1 r1
hid n1
n1 r1
r1 r2
r2 k1
k1 dead   loss_up_ratio=1
r2 q1
q1 q2
q2 mute   loss_up_ratio=1
r2 l1
l1 l2
l2 rare
r2 y1
y1 far    loss_up_ratio=0.3
r2 z1
z1 near   loss_down_ratio=0.3
r2 f1
f1 full   capacity_bps=10_000_000
r2 p1
p1 p2
p2 small
r2 b1     capacity_bps=10_000_000 burst_bytes=62_500
b1 bucket
r2 v1
v1 back   capacity_bps=20_000_000
r2 e1
e1 e2
e2 short  capacity_bps=10_000_000
r2 w1
r2 w2     metric=2
w1 t1
w2 t1
t1 turn
"""
_MANNERS = {
    "q1": 'icmp = "silent"',
    "q2": 'icmp = "silent"',
    "t1": 'icmp = "silent"',
    "l1": 'icmp = "limited"\nicmp_per_s = 1',
    "l2": 'icmp = "limited"\nicmp_per_s = 1',
    "e1": "quote_bytes = 8",
    "e2": "quote_bytes = 8",
    "n1": 'nat_for = ["hid"]',
}
_HOSTS = {"h1", "m1", "a1", "u1", "hid", "dead", "mute", "rare", "far", "near", "full", "small"}
_HOSTS |= {"bucket", "back", "short", "turn"}
_TRAFFIC = """
[[traffic]]
link = ["f1", "full"]
model = "cbr"
rate_bps = 9_999_000

[[traffic]]
link = ["back", "v1"]
model = "poisson"
rate_bps = 14_000_000
packet_bytes = [500, 1500]
"""
# The smallest that IPv6 lets a link have.
SMALL_MTU_BYTES = 1280

_SET_MTU = """
import sys
from pyroute2 import IPRoute
with IPRoute() as ip:
    ip.link("set", index=ip.link_lookup(ifname=sys.argv[1])[0], mtu=int(sys.argv[2]))
"""
# Moves the route to an address from one neighbour to the other and back, until it is ended.
_FLAP = """
import sys, time
from pyroute2 import IPRoute
to, *ways = sys.argv[1:]
with IPRoute() as ip:
    links = [ip.link_lookup(ifname=way)[0] for way in ways]
    gates = [ip.get_routes(family=2, oif=link) for link in links]
    turn = 0
    while True:
        hop = next(g for r in gates[turn % 2] for g in [r.get_attr("RTA_GATEWAY")] if g)
        ip.route("replace", dst=to + "/32", gateway=hop, oif=links[turn % 2])
        turn += 1
        time.sleep(0.4)
"""


def topology() -> Topology:
    """h1 (and a1, m1, u1, and hid behind a NAT) - r1 - r2 - an arm for each trouble."""
    links = [line.split() for line in _LINKS.strip().splitlines()]
    text = '[as.65001]\nname = "One"\n'
    for node in dict.fromkeys(node for link in links for node in link[:2]):
        kind = "host" if node in _HOSTS else "router"
        text += f'[nodes.{node}]\nkind = "{kind}"\nasn = 65001\n{_MANNERS.get(node, "")}\n'
    for a, b, *keys in links:
        more = "\n".join(key.replace("=", " = ") for key in keys)
        usual = "" if "capacity_bps" in more else "capacity_bps = 100_000_000\n"
        text += f'[[links]]\na = "{a}"\nb = "{b}"\n{usual}{more}\n'
    return parse(text + _TRAFFIC, place="bad.toml", default_name="bad")


def narrow(lab: Lab) -> None:
    """Let the link p1 - p2 carry small packets only."""
    for node, interface in (("p1", "to-p2"), ("p2", "to-p1")):
        command = [sys.executable, "-c", _SET_MTU, interface, str(SMALL_MTU_BYTES)]
        lab.run(node, command, check=True, timeout=20)


def flap(lab: Lab) -> subprocess.Popen[bytes]:
    """Have r2 reach `turn` by w1 and w2 in turn, until the process is ended."""
    command = [sys.executable, "-c", _FLAP, str(lab.address("turn")), "to-w1", "to-w2"]
    return lab.popen("r2", command)
