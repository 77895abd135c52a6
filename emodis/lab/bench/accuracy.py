"""`emodis-lab bench accuracy`: does Pathneck name the right link, on seeded random paths?

Each path is a lab of its own; `emodis-client measure` runs in it as a user would run it, and the
link it names is compared with the fluid train's choke. On a flat path every link is alike, and only
the first one stretches a train: whatever else is named is a false bottleneck.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emodis import __version__
from emodis.lab.bench.paths import Seeds, path
from emodis.lab.bench.tally import HEADING, tally
from emodis.lab.bench.trial import Access, Trial, measure

SCHEMA = "emodis.accuracy/1"


def run(
    counts: Mapping[str, int],
    *,
    seeds: Seeds,
    first: int,
    access: Access = Access.FULL,
    say: Callable[[str], None],
    keep: Callable[[Sequence[Trial]], None],
) -> list[Trial]:
    """Measure so many paths of each kind, numbered from `first`: a line for each, then the table.

    `keep` is given all trials after each of them, so that a run that is broken off leaves its own.
    """
    trials: list[Trial] = []
    for kind, count in counts.items():
        for number in range(first, first + count):
            trials.append(measure(path(kind, seeds, number), kind, number, access=access))
            say(line(trials[-1]))
            keep(trials)
    say("")
    rights = ", without capabilities" if access is Access.UNPRIVILEGED else ""
    say(f"{seeds.value} seeds from {first}{rights}")
    say(HEADING)
    for share in tally(trials):
        say(share.row())
    return trials


def line(trial: Trial) -> str:
    """One trial in words."""
    note = trial.note.strip("; ")
    return (
        f"{trial.name}: {trial.links} links, choke {trial.choke_ttl} of "
        f"{trial.capacity_bps / 1e6:.1f} Mbit/s at {trial.cross_ratio:.0%} load; "
        f"named {trial.named_ttl} (at most {trial.bound_bps / 1e6:.1f} Mbit/s) in "
        f"{trial.duration_s:.1f} s, {trial.sent_bytes / 1e3:.0f} kB, {trial.word}"
        + (f" [{note}]" if note else "")
    )


def document(
    trials: Sequence[Trial],
    counts: Mapping[str, int],
    *,
    seeds: Seeds,
    first: int,
    access: Access = Access.FULL,
) -> dict[str, Any]:
    """Everything, for machines; `paths` is what was asked for, also where less was measured."""
    return {
        "schema": SCHEMA,
        "software": f"emodis {__version__}",
        "technique": "pathneck",
        "seeds": seeds.value,
        "first_seed": first,
        "access": access.value,
        "paths": dict(counts),
        "shares": [share.as_json() for share in tally(trials)],
        "trials": [trial.as_json() for trial in trials],
    }


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file at once, so that it is whole whenever somebody looks."""
    beside = file.with_name(f"{file.name}.new")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    beside.replace(file)
