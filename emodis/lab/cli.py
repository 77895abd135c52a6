"""`emodis-lab`: a virtual Internet on this machine, from the command line.

Exit codes: 0 done, 1 the lab cannot do it (one line on stderr says why), 2 usage, 130 on ^C;
`exec` and `demo` end with the status of what they ran.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import click

from emodis import __version__
from emodis.lab import state as states
from emodis.lab.attempt import why_not
from emodis.lab.bench.commands import bench
from emodis.lab.errors import LabError
from emodis.lab.generate import random_internet, random_path
from emodis.lab.impairment import Impairment
from emodis.lab.lab import Lab, read_topology
from emodis.lab.topofile import render, shipped
from emodis.lab.topology import IcmpLimits, Topology
from emodis.lab.truth import DEFAULT_PACKET_BYTES, LinkTruth, Truth
from emodis.lab.unprivileged import wrapped

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
MBPS = 1_000_000
MS = 1_000_000
GENERATORS: dict[str, Callable[[int], Topology]] = {
    "path": random_path,
    "internet": random_internet,
}
ICMP_WORDS = {
    IcmpLimits.LIMITED: "limits its ICMP errors",
    IcmpLimits.SILENT: "never answers",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emodis-lab")
def lab() -> None:
    """A virtual Internet in network namespaces, with known truth.

    Needs root, or a kernel that gives ordinary users namespaces of their own.
    """


@lab.command()
@click.argument("topology", metavar="FILE", required=False)
@click.option("--generate", type=click.Choice(sorted(GENERATORS)), help="Make one up instead.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Which one to make up.")
@click.option("--name", help="What to call the lab; else what the topology is called.")
@click.option("--print", "only_print", is_flag=True, help="Only print the topology as TOML.")
def up(
    topology: str | None, generate: str | None, seed: int, name: str | None, only_print: bool
) -> None:
    """Build the network of a topology FILE; it stays until `down`.

    FILE may be the name of a shipped topology: demo, diamond, hard or path.
    """
    if (topology is None) == (generate is None):
        known = ", ".join(sorted(shipped()))
        raise click.UsageError(f"give either a FILE (or one of {known}) or --generate")
    wanted: Topology | str = GENERATORS[generate](seed) if generate else str(topology)
    if only_print:
        click.echo(render(read_topology(wanted)), nl=False)
        return
    built = Lab.up(wanted, name, detached=True)
    built.close()
    click.echo(f"{built.name} is up: {len(built.topology.nodes)} nodes, hosts: ", nl=False)
    click.echo(" ".join(built.hosts))
    click.echo(f"Its AS map, for --as-map: {built.as_map}", err=True)
    click.echo(f"Try: emodis-lab exec {built.name} {built.hosts[0]} -- COMMAND", err=True)


@lab.command()
@click.argument("name")
def down(name: str) -> None:
    """End a lab and every process in it."""
    Lab.attach(name).down()


@lab.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_labs(as_json: bool) -> None:
    """Show the labs that are up."""
    rows = []
    for _, state in states.living():
        age_s = time.clock_gettime(time.CLOCK_REALTIME) - state.since_unix_s
        row = {"name": state.name, "pid": state.pid, "nodes": len(state.fds), "age_s": round(age_s)}
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo("{name}  {nodes} nodes  up for {age_s} s  pid {pid}".format(**row))
    if not rows:
        click.echo("No lab is up.", err=True)


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--unprivileged", is_flag=True, help="Without any capability, as ordinary users.")
def execute(name: str, host: str, command: tuple[str, ...], unprivileged: bool) -> None:
    """Run COMMAND at a host (or router) of a lab: exec NAME HOST -- COMMAND..."""
    attached = Lab.attach(name)
    process = attached.popen(host, wrapped(list(command)) if unprivileged else command)
    attached.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is the command's; we wait for its end
    status = process.wait()
    raise SystemExit(128 - status if status < 0 else status)


@lab.command()
@click.argument("name")
@click.argument("source")
@click.argument("destination")
@click.option("--packet-bytes", type=click.IntRange(28, 1500), default=DEFAULT_PACKET_BYTES)
@click.option("-6", "--ipv6", is_flag=True, help="Addresses of IPv6; the way is the same.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def truth(
    name: str, source: str, destination: str, packet_bytes: int, ipv6: bool, as_json: bool
) -> None:
    """What a perfect measurement from SOURCE to DESTINATION would say.

    Rates count Ethernet bits, as the links do; the IP columns count IP bits of packets of
    --packet-bytes. Where routers spread flows over equal paths, the first is shown in full.
    """
    attached = Lab.attach(name)
    found, *others = attached.truths(source, destination, packet_bytes=packet_bytes, ipv6=ipv6)
    attached.close()
    if as_json:
        equal = [other.as_json() for other in others]
        click.echo(json.dumps({**found.as_json(), "equal_paths": equal}, indent=2))
        return
    click.echo("\n".join(_table(found)))
    for other in others:
        click.echo("equal path: " + " ".join([source, *(hop.node for hop in other.hops)]))


@lab.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """The guided tour: find bottlenecks by real packets and compare with the truth."""
    from emodis.lab.demo import main as demo_main

    raise SystemExit(demo_main(arguments))


lab.add_command(bench)


@lab.command()
def check() -> None:
    """Say whether labs can be built here, and if not, what the kernel refuses."""
    if reason := why_not():
        raise LabError(reason)
    click.echo("Labs can be built here.")


def _table(found: Truth) -> Iterator[str]:
    """The truth for people: one line per hop with the link that leads to it, then the answers."""
    packets = f"packets of {found.packet_bytes} bytes"
    yield f"{found.source} to {found.destination}, {packets}, rates in Mbit/s"
    width = max(15, *(len(str(hop.address)) for hop in found.hops))
    yield (f"ttl  node          {'address':{width}}  AS      capacity  cross  available  IP avail.")
    for hop, link in zip(found.hops, found.links, strict=True):
        rates = (link.capacity_ethernet_bps, link.cross_ethernet_bps, link.avail_ethernet_bps)
        columns = [f"{rate / MBPS:.2f}" for rate in (*rates, link.avail_ip_bps)]
        yield (
            f"{hop.ttl:3}  {hop.node:12}  {hop.address!s:{width}}  {hop.asn:<8}"
            "{:>8}{:>7}{:>11}{:>11}".format(*columns)
        )
    yield _sentence("narrow link (least capacity)", found.narrow, found.narrow.capacity_ip_bps)
    yield _sentence("tight link (least available)", found.tight, found.tight.avail_ip_bps)
    yield _sentence("choke of a fluid train", found.choke, found.choke.train_ip_bps)
    if found.rtt_ns:
        yield f"delay: {found.owd_ns / MS:.3f} ms one way, {found.rtt_ns / MS:.3f} ms round trip"
    if found.round_trip_loss_ratio:
        both = f"{found.round_trip_loss_ratio:.2%} round trip"
        yield f"random loss: {found.loss_ratio:.2%} one way, {both}"
    if found.seen_as:
        yield f"{found.source} is seen as {found.seen_as}, by random ports"
    if found.hidden_by:
        yield f"{found.destination} is behind {found.hidden_by}, which drops what is not asked for"
    for hop in found.hops:
        if hop.icmp in ICMP_WORDS:
            yield f"{hop.node} {ICMP_WORDS[hop.icmp]}"
    for link in found.links:
        if unkind := _unkind(link.impairment):
            yield f"{link.sender} -> {link.receiver}: {unkind}"


def _unkind(impairment: Impairment) -> str:
    """What a link does to packets, beyond its rate; empty if nothing."""
    said = [
        (impairment.delay_s, f"delay {impairment.delay_ns / MS:g} ms"),
        (impairment.jitter_s, f"jitter up to {impairment.jitter_ns / MS:g} ms"),
        (impairment.loss_ratio, f"loses {impairment.loss_ratio:.2%}"),
        (impairment.duplicate_ratio, f"duplicates {impairment.duplicate_ratio:.2%}"),
        (impairment.reorder_ratio, f"reorders {impairment.reorder_ratio:.2%}"),
    ]
    return ", ".join(text for value, text in said if value)


def _sentence(what: str, link: LinkTruth, ip_bps: float) -> str:
    where = f"{link.sender} -> {link.receiver} ({link.from_address} -> {link.to_address})"
    return f"{what}: {where}, {ip_bps / MBPS:.2f} Mbit/s of IP bits"


def main() -> None:
    """Entry point: click without its own way of ending, so that every failure is one line."""
    try:
        status = lab.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        status = error.exit_code
    except click.Abort:
        status = EXIT_INTERRUPTED
    except LabError as error:
        click.echo(f"emodis-lab: {error}", err=True)
        status = EXIT_FAILED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_FAILED
    sys.exit(status)


if __name__ == "__main__":
    main()
