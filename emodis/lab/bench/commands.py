"""`emodis-lab bench`: Emodis measured against the truth of the lab, from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emodis.lab.errors import LabError

if TYPE_CHECKING:
    from emodis.lab.bench.accuracy import Plan
    from emodis.lab.bench.comparison import Comparison
    from emodis.lab.bench.trial import Trial

# Kinds of paths by the option that says how many.
OTHERS = ("tight", "any", "quiet", "lossy", "room", "far")


class Names(click.ParamType[tuple[str, ...]]):
    """Some of a few words, joined by commas, in the order in which they are known."""

    name = "LIST"

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        known = list(self._known())
        wanted = value.split(",") if value else known
        for name in wanted:
            if name not in known:
                self.fail(f"there is no {name!r}; the bench knows {', '.join(known)}")
        return tuple(name for name in known if name in wanted)


def _subjects() -> Iterable[str]:
    from emodis.lab.bench.subjects import SUBJECTS

    return SUBJECTS


def _parts() -> Iterable[str]:
    from emodis.lab.bench.timing import PARTS

    return PARTS


@click.group()
def bench() -> None:
    """Measure Emodis itself against the truth."""


def _measuring(command: Any) -> Any:
    """The options that say which paths, with which rights, and where trials are kept."""
    for option in (
        click.option("--resume", is_flag=True, help="Go on with FILE where it was broken off."),
        click.option("--json", "file", metavar="FILE", help="Keep every trial there, too."),
        click.option(
            "--jobs",
            default=1,
            type=click.IntRange(1, 8),
            help="Paths at a time; igi and broute are measured alone. [1]",
        ),
        click.option(
            "--access",
            type=click.Choice(["full", "unprivileged"]),
            default="full",
            help="Measure with the rights there are, or without any capability. [full]",
        ),
        click.option(
            "--seed", default=0, type=click.IntRange(0, 999_999), help="The first number. [0]"
        ),
        click.option(
            "--seeds",
            type=click.Choice(["development", "reported"]),
            default="development",
            help="Whose figures are reported must not be looked at while working. [development]",
        ),
    ):
        command = option(command)
    return command


@bench.command()
@click.option(
    "--tech", "techniques", type=Names(_subjects), default="", help="Which, by commas. [all]"
)
@click.option("--paths", default=20, type=click.IntRange(0), help="Clear bottlenecks. [20]")
@click.option("--others", default=5, type=click.IntRange(0), help="Of each other kind. [5]")
@click.option("--flat", default=10, type=click.IntRange(0), help="Paths without any. [10]")
@click.option("--destinations", default=2, type=click.IntRange(0), help="For broute. [2]")
@_measuring
def accuracy(
    techniques: tuple[str, ...], paths: int, others: int, flat: int, destinations: int, **more: Any
) -> None:
    """How right the answers of all techniques are, on random paths.

    Half of the paths with a clear bottleneck carry other traffic. The other kinds: the tight link
    is not the narrow one; no rule at all; routers that answer seldom or never; loss; loads up to
    70 % for available bandwidth; delays for routes and times. A technique is asked on those kinds
    that can tell something about it. Internets for broute have hosts with agents all over.
    """
    counts = {"clear": paths - paths // 2, "loaded": paths // 2}
    counts |= dict.fromkeys(OTHERS, others)
    counts |= {"flat": flat, "internet": destinations}
    _run(techniques, counts, **more)


@bench.command()
@click.option("--destinations", default=10, type=click.IntRange(1), help="How many. [10]")
@_measuring
def broute(destinations: int, **more: Any) -> None:
    """Whether BRoute finds the ways into hosts of random Internets, and bounds them rightly."""
    _run(("broute",), {"internet": destinations}, **more)


@bench.command()
@click.option("--only", "parts", type=Names(_parts), default="", help="Parts, by commas. [all]")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Instead of 10; 30 for trains.")
@click.option("--json", "file", metavar="FILE", help="Keep the figures there, too.")
def timing(parts: tuple[str, ...], rounds: int | None, file: str | None) -> None:
    """Speed and exactness beside the usual tools and C references, by turns in one run.

    ping: the median RTT. traceroute: the time for 11 hops. trains: 120 packets at once. pacing: how
    far gaps are off. References are compiled on the spot; tools that are not installed are left
    out.
    """
    from emodis.lab.bench import timing as bench_timing
    from emodis.lab.bench.document import origin, write

    here = origin()

    def keep(rows: Sequence[Comparison], left_out: Sequence[str]) -> None:
        if file:
            write(Path(file), {**bench_timing.content(rows, left_out), **here})

    keep((), ())
    bench_timing.run(parts, rounds=rounds, say=click.echo, keep=keep)


@bench.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--into", metavar="PAGE", help="Put it there, between the two marks for figures.")
def report(files: tuple[str, ...], into: str | None) -> None:
    """What accuracy and timing left in each FILE, as Markdown, targets included.

    Of two files of the same paths, one with all rights and one without, it says the difference.
    """
    from emodis.lab.bench.document import read
    from emodis.lab.bench.report import differences, filled, markdown

    found = [read(Path(file)) for file in files]
    lines = [line for one in found for line in markdown(one)]
    lines += differences(found)
    if into is None:
        click.echo("\n".join(lines))
        return
    page = Path(into)
    try:
        page.write_text(filled(page.read_text(encoding="utf-8"), lines), encoding="utf-8")
    except OSError as error:
        raise LabError(f"cannot change {into}: {error.strerror}") from error


def _run(
    techniques: tuple[str, ...],
    counts: dict[str, int],
    *,
    seeds: str,
    seed: int,
    access: str,
    jobs: int,
    file: str | None,
    resume: bool,
) -> None:
    from emodis.lab.bench import accuracy as bench_accuracy
    from emodis.lab.bench.paths import Seeds
    from emodis.lab.bench.trial import Access

    if resume and file is None:
        raise click.UsageError("--resume goes on with a file; name it with --json FILE")
    plan = bench_accuracy.Plan(
        counts=counts,
        techniques=techniques,
        seeds=Seeds(seeds),
        first=seed,
        access=Access(access),
    )
    kept = Kept(plan, Path(file) if file else None)
    known = kept.known() if resume else []
    kept.keep(known)
    bench_accuracy.run(plan, known=known, jobs=jobs, say=click.echo, keep=kept.keep)


class Kept:
    """The file of one run, or none."""

    def __init__(self, plan: Plan, file: Path | None) -> None:
        from emodis.lab.bench.document import origin

        self._plan, self._file = plan, file
        self._origin = origin() if file else {}

    def known(self) -> list[Trial]:
        """What an earlier run has left."""
        from emodis.lab.bench.accuracy import trials_of
        from emodis.lab.bench.document import continuable

        assert self._file is not None
        before = continuable(self._file, self._content(()))
        return trials_of(before) if before else []

    def keep(self, trials: Sequence[Trial]) -> None:
        from emodis.lab.bench.document import write

        if self._file:
            write(self._file, self._content(trials))

    def _content(self, trials: Sequence[Trial]) -> dict[str, Any]:
        from emodis.lab.bench.accuracy import content

        return {**content(self._plan, trials), **self._origin}
