"""`emodis-lab bench report`: what the benchmarks left, as Markdown for docs/accuracy.md. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emodis.lab.bench import accuracy, broute, comparison, document, timing
from emodis.lab.bench.comparison import Comparison
from emodis.lab.bench.subjects import SUBJECTS, tally
from emodis.lab.bench.tally import COLUMNS, Share
from emodis.lab.bench.targets import verdict
from emodis.lab.bench.trial import Trial
from emodis.lab.errors import LabError

# Kinds of paths that have an option of their own; all others are counted by `--others`.
COUNTED = {"clear", "loaded", "flat", broute.KIND}
# Without root, of the share of right answers.
MOST_POINTS_APART = 3
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def markdown(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one document, its origin first.

    Raises:
        LabError: if it was written by another version.
    """
    try:
        match found["schema"]:
            case document.SCHEMA:
                yield from _accuracy(found)
            case timing.SCHEMA:
                yield from _timing(found)
            case other:
                raise LabError(f"this version of emodis-lab cannot read {other!r}; measure again")
    except (KeyError, TypeError) as error:
        raise LabError(f"the file is not whole ({error}); measure again") from error


def differences(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the rights of the measuring host change, where the same paths were measured with both.

    Only paths that are in both documents count.
    """
    accuracies = [found for found in documents if found["schema"] == document.SCHEMA]
    if len({found["seeds"] for found in accuracies}) != 1:
        return
    full, without = (
        [found for found in accuracies if found["access"] == access]
        for access in ("full", "unprivileged")
    )
    if not full or not without:
        return
    with_rights, without_any = _by_path(full), _by_path(without)
    both = sorted(with_rights.keys() & without_any.keys())
    others = {_row(share): share for share in tally([without_any[key] for key in both])}
    shares = [share for share in tally([with_rights[key] for key in both]) if _row(share) in others]
    yield from ("", "**With all rights and without capabilities, on the same paths.**", "")
    rows = (_difference(share, others[_row(share)]) for share in shares)
    yield from _table(["", "full", "without", "points apart", "at most", "met"], rows)


def _by_path(documents: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Trial]:
    trials = [trial for found in documents for trial in accuracy.trials_of(found)]
    return {(trial.TECHNIQUE, trial.kind, trial.number): trial for trial in trials}


def _row(share: Share) -> tuple[str, str]:
    return share.technique, share.label


def _difference(full: Share, without: Share) -> Sequence[str]:
    points = 100 * abs(full.ratio - without.ratio)
    return (
        f"{full.technique}: {full.label.strip()}",
        *(f"{share.hits}/{share.trials}" for share in (full, without)),
        f"{points:.1f}",
        f"{MOST_POINTS_APART:g}",
        "yes" if points <= MOST_POINTS_APART else "NO",
    )


def filled(page: str, lines: Sequence[str]) -> str:
    """A page with the lines between its two marks instead of what is there.

    Raises:
        LabError: if it has no such marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise LabError(f"the page has no place for figures; put {BEGIN} and {END} there")
    return "\n".join([head + BEGIN, *lines, end + tail])


def _accuracy(found: Mapping[str, Any]) -> Iterator[str]:
    rights = ", without capabilities" if found["access"] != "full" else ""
    seeds = f"{found['seeds']} seeds from {found['first_seed']}"
    yield from _origin(found, f"Accuracy, {seeds}{rights}.")
    trials = accuracy.trials_of(found)
    places = _places(trials)
    measured = ", ".join(f"{places[kind]} {kind}" for kind in sorted(places))
    yield from (f"- `{command}`" for command in _commands(found, trials))
    yield from ("", f"Measured: {measured or 'nothing'}.", "")
    by_technique: dict[str, list[Share]] = {}
    for share in tally(trials):
        by_technique.setdefault(share.technique, []).append(share)
    for technique, shares in by_technique.items():
        yield from _table([technique, *COLUMNS[1:], "targets"], map(_cells, shares))


def _places(trials: Sequence[Trial]) -> Counter[str]:
    """How many paths there are of each kind."""
    return Counter(kind for kind, _ in {(trial.kind, trial.number) for trial in trials})


def _commands(found: Mapping[str, Any], trials: Sequence[Trial]) -> Iterator[str]:
    """What measures the same again, with `--resume` where it takes several.

    Techniques may have been asked on different numbers of the paths that `--others` counts.
    """
    asked = {trial.TECHNIQUE for trial in trials}
    others = {name: _others(name, trials) for name in SUBJECTS if name in asked}
    # Who needs none of them is measured by any.
    others = {name: number or max(others.values()) for name, number in others.items()}
    places = _places(trials)
    for number in sorted(set(others.values()), reverse=True):
        words = {
            "tech": ",".join(name for name in others if others[name] == number),
            "seeds": found["seeds"],
            "seed": found["first_seed"],
            "access": found["access"],
            "paths": places["clear"] + places["loaded"],
            "others": number,
            "flat": places["flat"],
            "destinations": places[broute.KIND],
        }
        yield "emodis-lab bench accuracy " + " ".join(f"--{key} {words[key]}" for key in words)


def _others(technique: str, trials: Sequence[Trial]) -> int:
    found = _places([trial for trial in trials if technique == trial.TECHNIQUE])
    return max((count for kind, count in found.items() if kind not in COUNTED), default=0)


def _cells(share: Share) -> Sequence[str]:
    failed = f" ({share.failed} without a result)" if share.failed else ""
    first, count, *others = share.cells()
    return (_indented(first), count + failed, *others, verdict(share))


def _indented(label: str) -> str:
    return f"- {label.strip()}" if label.startswith(" ") else label


def _timing(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _origin(found, "Time and exactness, by turns with the references.")
    rows = [Comparison.from_json(row) for row in found["rows"]]
    yield from _table(comparison.COLUMNS, (row.cells() for row in rows))
    yield from (f"- {line}" for line in found["left_out"])
    yield ""


def _origin(found: Mapping[str, Any], what: str) -> Iterator[str]:
    commit = f", commit {found['commit']}" if found["commit"] else ""
    yield from ("", f"**{what}**", "", f"{found['software']}{commit}, on {found['machine']}.", "")


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
