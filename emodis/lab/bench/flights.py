"""Trains on the wire: how long ours and a C loop's take, and how well paced gaps are kept."""

from __future__ import annotations

import contextlib
import itertools
import json
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from emodis.lab.bench import fly, reference
from emodis.lab.bench.comparison import Comparison
from emodis.lab.bench.roads import direct
from emodis.lab.errors import LabError
from emodis.lab.lab import Lab
from emodis.packets import pcap
from emodis.techniques.stats import median

OWN_PORT, OTHER_PORT = 33434, 40009
TIMEOUT_S = 120.0
WARM_UP = 2
RATIO = 1.3
# The C loop by what it has the kernel stamp.
REFERENCES = {"plain": "sendmmsg", "stamped": "sendmmsg and stamps"}
GAPS_US = (100, 200, 500, 1000, 2000)
# Up to this gap the error counts in microseconds, above it as a share of the gap.
SHORT_US, MOST_US, MOST_PERCENT = 500, 1.0, 0.5
ETHERNET_BYTES, IP_BYTES, UDP_BYTES = 14, 20, 8


@attrs.frozen
class Arrival:
    """A UDP packet as it came in at the far end of the wire."""

    at_ns: int
    port: int
    payload: bytes


def train_time(count: int, directory: Path) -> Iterator[Comparison | str]:
    """Ours against the C loop, by turns; a text where there is no compiler.

    Ours has its departures stamped, which costs the kernel time: so has the second loop.
    """
    program = reference.compiled("train", directory)
    if program is None:
        yield "trains are not compared: there is no C compiler on this machine"
        return
    with Lab.up(direct()) as lab:
        address = str(lab.address("h2"))
        for stamps, name in REFERENCES.items():
            own = [address, str(OWN_PORT), str(count + WARM_UP)]
            other_one = [str(program), address, str(OTHER_PORT), stamps]
            _, arrived = _flown(lab, ["trains", *own, *other_one], directory)
            ports = (OWN_PORT, OTHER_PORT)
            ours, other = (median(_durations_us(arrived, port, count)) for port in ports)
            yield Comparison(
                what="train of 120 packets",
                against=f"{reference.NAME}, {name}",
                unit="µs",
                ours=ours,
                other=other,
                result=ours / other,
                result_unit="x",
                limit=RATIO,
                samples=count,
            )


def pace(count: int, directory: Path) -> Iterator[Comparison | str]:
    """Paced trains alone, then beside a busy reactor."""
    with Lab.up(direct()) as lab:
        yield from _paces(lab, count, directory, "alone")
        with _beside(lab, "h1", "busy"):
            yield from _paces(lab, count, directory, "beside a busy reactor")


def _paces(lab: Lab, count: int, directory: Path, where: str) -> Iterator[Comparison]:
    words = ["pacing", str(lab.address("h2")), str(OWN_PORT), str(count), *map(str, GAPS_US)]
    output, arrived = _flown(lab, words, directory)
    trains = json.loads(output)
    errors_us = gap_errors_us(arrived, trains)
    for gap_us in GAPS_US:
        kept = [train["kept"] for train in trains if train["gap_ns"] == gap_us * 1000]
        found = errors_us[gap_us * 1000]
        error_us = median(found) if found else float(gap_us)
        short = gap_us <= SHORT_US
        yield Comparison(
            what=f"gaps of {gap_us} µs, {where}",
            against="",
            unit="µs off",
            ours=error_us,
            other=None,
            result=error_us if short else 100 * error_us / gap_us,
            result_unit="µs" if short else "% of the gap",
            limit=MOST_US if short else MOST_PERCENT,
            samples=len(found),
            note=f"{sum(kept)} of {len(kept)} trains kept",
        )


def gap_errors_us(
    arrived: Sequence[Arrival], trains: Sequence[Mapping[str, Any]]
) -> dict[int, list[float]]:
    """How far each gap between neighbours is off, of trains that were kept; by the gap in ns."""
    errors: dict[int, list[float]] = {train["gap_ns"]: [] for train in trains}
    seen = [(*struct.unpack(">II", arrival.payload[:8]), arrival.at_ns) for arrival in arrived]
    for (train, place, before_ns), (same, next_place, after_ns) in itertools.pairwise(seen):
        if same == train and next_place == place + 1 and trains[train]["kept"]:
            gap_ns = trains[train]["gap_ns"]
            errors[gap_ns].append(abs(after_ns - before_ns - gap_ns) / 1000)
    return errors


def _durations_us(arrived: Sequence[Arrival], port: int, count: int) -> list[float]:
    """From the first packet of each train to its last, warm-up left out."""
    times_ns = [arrival.at_ns for arrival in arrived if arrival.port == port]
    if len(times_ns) != (count + WARM_UP) * fly.PACKETS:
        raise LabError(f"{len(times_ns)} packets of trains arrived, not all; try again")
    starts = range(WARM_UP * fly.PACKETS, len(times_ns), fly.PACKETS)
    return [(times_ns[at + fly.PACKETS - 1] - times_ns[at]) / 1000 for at in starts]


def _flown(lab: Lab, words: Sequence[str], directory: Path) -> tuple[str, list[Arrival]]:
    """What the sender printed, and what arrived at the far end."""
    file = directory / "arrivals.pcap"
    with _beside(lab, "h2", "sink", str(OWN_PORT), str(OTHER_PORT)), lab.capture("h2", file) as tap:
        done = lab.run("h1", _argv(*words), capture_output=True, text=True, timeout=TIMEOUT_S)
        _, drops = tap.stop()
    if done.returncode or drops:
        last = (done.stderr.strip().splitlines() or [f"{drops} packets were not captured"])[-1]
        raise LabError(f"trains could not be measured: {last}")
    return done.stdout, list(_arrivals(file.read_bytes()))


def _arrivals(data: bytes) -> Iterator[Arrival]:
    for at_ns, frame in pcap.records(data, pcap.LinkType.ETHERNET):
        packet = frame[ETHERNET_BYTES:]
        if packet[0] >> 4 != 4 or packet[9] != 17:
            continue
        datagram = packet[IP_BYTES:]
        yield Arrival(at_ns, int.from_bytes(datagram[2:4], "big"), datagram[UDP_BYTES:])


@contextlib.contextmanager
def _beside(lab: Lab, host: str, *words: str) -> Iterator[None]:
    """A process of ours at a host, from its first word until the end of the block."""
    pipe = subprocess.PIPE
    process = lab.popen(host, _argv(*words), stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != fly.READY:
            raise LabError(f"{words[0]} did not start at {host}; try again")
        yield
    finally:
        process.kill()
        process.communicate()


def _argv(*words: str) -> list[str]:
    return [sys.executable, "-m", "emodis.lab.bench.fly", *words]
