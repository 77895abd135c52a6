"""The [nodes] tables of a topology file: read, and written back the same."""

from __future__ import annotations

from typing import Any

from emodis.lab.tables import Table
from emodis.lab.topology import DEFAULT_ICMP_PER_S, Balance, IcmpLimits, Kind, Node

MAX_ASN = 2**32 - 1
# The kernel counts in ticks of 4 ms: beyond this its rate is not what was asked for.
MAX_ICMP_PER_S = 50
# RFC 792; RFC 1812 4.3.2.3 (an error of at most 576 bytes, less the two headers).
MIN_QUOTE_BYTES, MAX_QUOTE_BYTES = 8, 528


def read_node(name: str, values: Any) -> Node:
    """Make a node of its table."""
    table = Table(f"[nodes.{name}]", values)
    kind = table.choice("kind", Kind)
    usual = IcmpLimits.FREE if kind is Kind.ROUTER else IcmpLimits.LINUX
    icmp = table.choice("icmp", IcmpLimits, usual)
    if "icmp_per_s" in table and icmp is not IcmpLimits.LIMITED:
        raise table.wrong("icmp_per_s", 'is for icmp = "limited"; write that, or remove it')
    node = Node(
        name=name,
        kind=kind,
        asn=table.whole("asn", 1, MAX_ASN),
        icmp=icmp,
        icmp_per_s=table.whole("icmp_per_s", 1, MAX_ICMP_PER_S, DEFAULT_ICMP_PER_S),
        balance=table.choice("balance", Balance, Balance.NONE),
        nat_for=table.texts("nat_for"),
        quote_bytes=_quote_bytes(table),
    )
    table.finish()
    return node


def _quote_bytes(table: Table) -> int | None:
    if "quote_bytes" not in table:
        return None
    return table.whole("quote_bytes", MIN_QUOTE_BYTES, MAX_QUOTE_BYTES)


def write_node(node: Node) -> str:
    """The line of a node inside [nodes]."""
    fields = [f'kind = "{node.kind.value}"', f"asn = {node.asn}", f'icmp = "{node.icmp.value}"']
    if node.icmp is IcmpLimits.LIMITED:
        fields.append(f"icmp_per_s = {node.icmp_per_s}")
    if node.balance is not Balance.NONE:
        fields.append(f'balance = "{node.balance.value}"')
    if node.nat_for:
        fields.append(f"nat_for = {list(node.nat_for)}")
    if node.quote_bytes is not None:
        fields.append(f"quote_bytes = {node.quote_bytes}")
    return f"{node.name} = {{ {', '.join(fields)} }}"
