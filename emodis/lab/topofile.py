"""Topologies as TOML files: read with complaints that name file and table, written back the same.

`render(parse(text))` describes the same topology as `text`; the lab keeps that text beside its
state, so `truth` works on any lab that is up.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from emodis.lab.linktable import read_link, write_link
from emodis.lab.nodetable import MAX_ASN, read_node, write_node
from emodis.lab.tables import Table
from emodis.lab.topology import (
    MAX_CAPACITY_BPS,
    MTU_BYTES,
    Model,
    System,
    Topology,
    TopologyError,
    Traffic,
    Wake,
)

MIN_PACKET_BYTES = 60


def load(path: Path) -> Topology:
    """Read a topology file.

    Raises:
        TopologyError: one line with the file, the table and what to write instead.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TopologyError(f"{path}: is not a text file in UTF-8") from error
    return parse(text, place=str(path), default_name=path.stem)


def shipped() -> dict[str, Traversable]:
    """The topologies that come with the lab, by name."""
    folder = resources.files("emodis.lab") / "topologies"
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {entry.name.removesuffix(".toml"): entry for entry in files}


def find(name_or_path: str) -> Topology:
    """A shipped topology by its name, else the file at that path."""
    known = shipped()
    if name_or_path in known:
        text = known[name_or_path].read_text(encoding="utf-8")
        return parse(text, place=f"{name_or_path}.toml", default_name=name_or_path)
    if not Path(name_or_path).exists():
        names = ", ".join(sorted(known))
        raise TopologyError(f"{name_or_path}: no such file, nor a shipped topology ({names})")
    return load(Path(name_or_path))


def parse(text: str, *, place: str, default_name: str) -> Topology:
    """Make a topology of TOML text; `place` opens every complaint."""
    try:
        top = Table("the file", tomllib.loads(text))
        return _topology(top, default_name)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"{place}: not valid TOML: {error}") from error
    except TopologyError as error:
        raise TopologyError(f"{place}: {error}") from error


def _topology(top: Table, default_name: str) -> Topology:
    name = top.text("name", default_name)
    systems = [_system(asn, values) for asn, values in top.tables("as").items()]
    nodes = [read_node(node, values) for node, values in top.tables("nodes").items()]
    links = [read_link(k, values) for k, values in enumerate(top.list_of_tables("links"), 1)]
    traffic = [_traffic(k, values) for k, values in enumerate(top.list_of_tables("traffic"), 1)]
    top.finish()
    return Topology(
        name=name,
        systems={system.asn: system for system in systems},
        nodes={node.name: node for node in nodes},
        links=tuple(links),
        traffic=tuple(traffic),
    )


def _system(asn: str, values: Any) -> System:
    table = Table(f"[as.{asn}]", values)
    if not asn.isdecimal() or not 1 <= int(asn) <= MAX_ASN:
        raise TopologyError(f"[as.{asn}]: must be [as.NUMBER], e.g. [as.65001]")
    system = System(asn=int(asn), name=table.text("name"))
    table.finish()
    return system


def _traffic(number: int, values: Any) -> Traffic:
    table = Table(f"[[traffic]] number {number}", values)
    ends = values.get("link") if "link" in table else None
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(e, str) for e in ends):
        raise table.wrong("link", 'must be two node names, sender first, e.g. ["r1", "r2"]')
    traffic = Traffic(
        sender=ends[0],
        receiver=ends[1],
        model=table.choice("model", Model),
        rate_bps=table.whole("rate_bps", 1_000, MAX_CAPACITY_BPS),
        packet_bytes=table.wholes("packet_bytes", MIN_PACKET_BYTES, MTU_BYTES, MTU_BYTES),
        seed=table.whole("seed", 0, 2**63 - 1, number),
        wake=table.choice("wake", Wake, Wake.PACKET),
    )
    table.finish()
    return traffic


def render(topology: Topology) -> str:
    """The TOML text of a topology, every default written out."""
    lines = [f'name = "{topology.name}"']
    for system in topology.systems.values():
        lines += ["", f"[as.{system.asn}]", f"name = {_quoted(system.name)}"]
    lines += ["", "[nodes]"]
    for node in topology.nodes.values():
        lines.append(write_node(node))
    for link in topology.links:
        lines += ["", *write_link(link)]
    for traffic in topology.traffic:
        lines += ["", "[[traffic]]", f'link = ["{traffic.sender}", "{traffic.receiver}"]']
        lines += [f'model = "{traffic.model.value}"', f"rate_bps = {traffic.rate_bps}"]
        lines.append(f"packet_bytes = {list(traffic.packet_bytes)}")
        lines += [f"seed = {traffic.seed}", f'wake = "{traffic.wake.value}"']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
