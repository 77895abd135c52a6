"""ping and traceroute beside the usual tools, where they are installed, and C references."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from emodis.lab.bench import reference
from emodis.lab.bench.comparison import Comparison
from emodis.lab.bench.roads import eleven_hops, near
from emodis.lab.bench.trial import only_run
from emodis.lab.deployment import program
from emodis.lab.errors import LabError
from emodis.lab.lab import Lab
from emodis.techniques.stats import median

TIMEOUT_S = 60.0
PROBES, INTERVAL_S = 20, 0.05
ROUNDS = 3
MOST_OFF_US, MOST_RATIO = 20.0, 1.2
# How the C reference of ping stamps: as iputils does, and as we do.
REFERENCE_STAMPS = {reference.NAME: "iputils", f"{reference.NAME}, kernel stamps": "kernel"}
IPUTILS_RTT = re.compile(r"time=([\d.]+) ms")
TRACED = re.compile(r"^ *\d+ +(\S+)", re.MULTILINE)


@attrs.frozen
class Route:
    """How long it took, and the first address of each hop ("*": none)."""

    seconds: float
    hops: tuple[str, ...]


def ping(rounds: int, directory: Path) -> Iterator[Comparison | str]:
    """The median RTT of each, by turns on one path."""
    count, interval = str(PROBES), f"{INTERVAL_S:g}"
    with Lab.up(near()) as lab:
        address = str(lab.address("h2"))
        others: dict[str, Callable[[], float]] = {}
        if found := reference.compiled("ping", directory):
            interval_us = str(round(INTERVAL_S * 1e6))
            for name, stamps in REFERENCE_STAMPS.items():
                argv = [str(found), address, count, interval_us, stamps]
                others[name] = partial(_reference_rtt_us, lab, argv)
        else:
            yield "the C reference of ping is left out: there is no C compiler on this machine"
        if tool := shutil.which("ping"):
            words = [tool, "-n", "-c", count, "-i", interval, address]
            others["iputils ping"] = lambda: median(
                [float(ms) * 1000 for ms in IPUTILS_RTT.findall(_said(lab, words))]
            )
        else:
            yield "iputils is left out: there is no ping on this machine"
        own = ["ping", "-o", f"count={count}", "-o", f"interval_s={interval}"]
        # Ours and each other one, round by round.
        samples = [
            (
                _measured(lab, own)["result"]["rtt_median_ns"] / 1000,
                [ask() for ask in others.values()],
            )
            for _ in range(rounds)
        ]
    for k, name in enumerate(others):
        yield Comparison(
            what="ping, median RTT",
            against=name,
            unit="µs",
            ours=median([ours for ours, _ in samples]),
            other=median([theirs[k] for _, theirs in samples]),
            result=abs(median([ours - theirs[k] for ours, theirs in samples])),
            result_unit="µs apart",
            limit=MOST_OFF_US,
            samples=rounds,
        )


def traceroute(rounds: int, directory: Path) -> Iterator[Comparison | str]:
    """From the first probe to the last answer that was needed, by turns on one path."""
    with Lab.up(eleven_hops()) as lab:
        address = str(lab.address("h2"))
        others: dict[str, Callable[[], Route]] = {}
        if found := reference.compiled("traceroute", directory):
            argv = [str(found), address, str(ROUNDS)]
            others[reference.NAME] = lambda: _reference_route(_said(lab, argv))
        else:
            yield "the C reference of traceroute is left out: there is no C compiler here"
        if tool := shutil.which("traceroute"):
            words = [tool, "-n", "-q", str(ROUNDS), address]
            others["traceroute -n"] = lambda: _timed(lab, words)
        else:
            yield "Debian's traceroute is left out: there is none on this machine"
        own = ["traceroute", "-o", f"rounds={ROUNDS}"]
        samples = [
            (_own_route(_measured(lab, own, "--observations")), [ask() for ask in others.values()])
            for _ in range(rounds)
        ]
    for k, name in enumerate(others):
        same = sum(ours.hops == theirs[k].hops for ours, theirs in samples)
        yield Comparison(
            what=f"traceroute, 11 hops, {ROUNDS} rounds",
            against=name,
            unit="ms",
            ours=1000 * median([ours.seconds for ours, _ in samples]),
            other=1000 * median([theirs[k].seconds for _, theirs in samples]),
            result=median([ours.seconds / theirs[k].seconds for ours, theirs in samples]),
            result_unit="x",
            limit=MOST_RATIO,
            samples=rounds,
            note=f"same hops in {same} of {rounds}",
        )


def _said(lab: Lab, argv: Sequence[str]) -> str:
    done = lab.run("h1", argv, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it lost an answer; try again"])[-1]
        raise LabError(f"{argv[0]} ended with {done.returncode}: {last}")
    return str(done.stdout)


def _measured(lab: Lab, words: Sequence[str], *more: str) -> dict[str, Any]:
    argv = [program("emodis-client"), "measure", "--tech", *words, "h2", "--format", "json", *more]
    done = lab.run("h1", argv, capture_output=True, text=True, timeout=TIMEOUT_S)
    run = only_run(done.stdout, done.stderr)
    if not run.get("result"):
        raise LabError(f"{words[0]} could not be measured: {run.get('reason')}")
    return run


def _reference_rtt_us(lab: Lab, argv: Sequence[str]) -> float:
    return median([int(line) / 1000 for line in _said(lab, argv).split()])


def _own_route(run: dict[str, Any]) -> Route:
    """From the stamps of the probes that the answer consists of."""
    hops = run["result"]["hops"]
    sent_ns, received_ns = [], []
    for train in run["observations"]["trains"]:
        for probe in train["probes"]:
            if probe["ttl"] <= len(hops) and probe["sent_ns"] is not None:
                sent_ns.append(train["t0_unix_ns"] + probe["sent_ns"])
                if probe["received_ns"] is not None:
                    received_ns.append(train["t0_unix_ns"] + probe["received_ns"])
    addresses = [[answer["address"] or "*" for answer in hop["answers"]] for hop in hops]
    return Route((max(received_ns) - min(sent_ns)) / 1e9, tuple(min(one) for one in addresses))


def _reference_route(said: str) -> Route:
    elapsed_ns, *hops = said.split()
    return Route(int(elapsed_ns) / 1e9, tuple(hops))


def _timed(lab: Lab, argv: Sequence[str]) -> Route:
    """A tool that does not say how long it took: from its start to its end."""
    script = 'date +%s%N; "$@"; date +%s%N'
    before, *lines, after = _said(lab, ["sh", "-c", script, "sh", *argv]).splitlines()
    return Route((int(after) - int(before)) / 1e9, tuple(TRACED.findall("\n".join(lines))))
