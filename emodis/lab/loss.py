"""Random loss of what arrives at an interface, by the kernel itself: no process, no delay.

It happens behind the packet sockets, so `Lab.capture` still shows what the rule then drops.
"""

from __future__ import annotations

from emodis.lab import nftables

NAME = "loss"
INGRESS_HOOK, FIRST_PRIORITY = 0, 0
MODULUS = 1_000_000


def lose(interface: str, ratio: float) -> None:
    """Drop that share of all that arrives at an interface of the present namespace.

    Raises:
        OSError: if the kernel has no nftables, or refuses them.
    """
    table = f"{NAME}-{interface}"
    nftables.apply(rules(table, interface, ratio))


def rules(table: str, interface: str, ratio: float) -> list[nftables.Message]:
    return [
        nftables.table(nftables.NETDEV, table),
        nftables.chain(
            nftables.NETDEV,
            table,
            kind="filter",
            hook=INGRESS_HOOK,
            priority=FIRST_PRIORITY,
            device=interface,
        ),
        nftables.rule(
            nftables.NETDEV,
            table,
            nftables.random_below(round(ratio * MODULUS), MODULUS),
            nftables.verdict(nftables.DROP),
        ),
    ]
