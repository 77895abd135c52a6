"""Host names inside a lab: one hosts file for all its nodes, bind-mounted over /etc/hosts.

Interface addresses have names too ("to-r2.r1"), so that a traceroute with names reads well. No name
server listens, and asking one fails at once: nothing ever waits for DNS.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from emodis.lab import kernel
from emodis.lab.ipv6 import twin
from emodis.lab.plan import Plan

RESOLV = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


def hosts_file(plan: Plan) -> str:
    """Every node by its name in both families, every interface of a router as INTERFACE.NODE."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{node.address} {node.name}" for node in plan.nodes.values()]
    lines += [f"{twin(node.address)} {node.name}" for node in plan.nodes.values()]
    for node in plan.nodes.values():
        if node.loopback:
            lines += [f"{i.address} {i.name}.{node.name}" for i in node.interfaces]
    return "\n".join(lines) + "\n"


def install(plan: Plan, directory: Path) -> None:
    """Write the files and show them in this mount namespace to all that run in the lab."""
    hosts, resolv = directory / "hosts", directory / "resolv.conf"
    hosts.write_text(hosts_file(plan))
    resolv.write_text(RESOLV)
    kernel.bind(hosts, "/etc/hosts")
    with contextlib.suppress(FileNotFoundError):  # a machine without DNS has none to hide
        kernel.bind(resolv, "/etc/resolv.conf")
