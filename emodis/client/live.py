"""What a user sees on stderr while results come in.

On a terminal one line that changes; elsewhere (a pipe, CI, TERM=dumb) a plain line now and then.
stdout stays untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

import attrs
from rich.console import Console
from rich.live import Live
from rich.text import Text

from emodis.client.render.directory import choice, estimate
from emodis.client.render.edges import explained
from emodis.client.render.words import count, printable
from emodis.wire.v1.client_pb2 import (
    RUN_STATE_RUNNING,
    Accepted,
    Progress,
    Result,
    Selected,
    ToClient,
)
from emodis.wire.v1.common_pb2 import End

# Not more often than this on a plain stream.
PLAIN_INTERVAL_S = 2.0


class View(Protocol):
    """Whoever wants to be shown."""

    def take(self, message: ToClient) -> None: ...
    def close(self) -> None: ...


@attrs.define
class State:
    """How far it is, from messages alone."""

    upstream: bool = False
    # Say why each agent was chosen.
    explain: bool = False
    total: int = 0
    ended: int = 0
    discovering: bool = False
    traced: int = 0
    # Trains or probes of the runs that are running.
    steps: dict[tuple[str, int], tuple[int, int]] = attrs.field(factory=dict)

    def take(self, message: ToClient) -> None:
        """Learn from one message."""
        match message.WhichOneof("body"):
            case "accepted":
                self.discovering = message.accepted.discovery_s > 0
            case "selected":
                self.discovering = False
                # With both directions, this host's own runs are over.
                self.total, self.ended = message.selected.runs_total, 0
                self.steps.clear()
            case "progress":
                self._progress(message.progress)
            case "result":
                self._result(message.result)
            case _:
                pass

    def _progress(self, progress: Progress) -> None:
        if progress.discovery:
            self.traced += progress.done == progress.total > 0
            return
        if progress.state == RUN_STATE_RUNNING:
            key = (progress.run.agent_id, progress.run.destination)
            self.steps[key] = (progress.done, progress.total)
            if progress.done == progress.total > 0:
                # Also runs that a plan has asked for, which have no result of their own here.
                del self.steps[key]

    def _result(self, result: Result) -> None:
        self.steps.pop((result.run.agent_id, result.run.destination), None)
        if not result.late and result.outcome.ending.end != End.END_UNSPECIFIED:
            self.ended += 1

    def words(self) -> str:
        """One line."""
        if self.discovering:
            return "looking at the routes to choose agents…"
        if not self.total:
            # Results that are read back come without a plan.
            return f"{count(self.ended, 'run')} in" if self.ended else "waiting for the master…"
        line = f"{self.ended} of {count(self.total, 'run')} in"
        if self.steps and self.ended < self.total:
            done = sum(done for done, _ in self.steps.values())
            total = sum(total for _, total in self.steps.values())
            share = f", {100 * done // total} %" if total else ""
            line += f", {len(self.steps)} running{share}"
        return line


@attrs.define
class PlainView:
    """Lines, seldom."""

    out: TextIO
    now_s: Callable[[], float]
    state: State = attrs.field(factory=State)
    verbose: bool = False
    _said_s: float = attrs.field(default=float("-inf"), init=False)
    _last: str = attrs.field(default="", init=False)

    def take(self, message: ToClient) -> None:
        self.state.take(message)
        for line in announcement(message, self.state, verbose=self.verbose):
            self._say(line)
        words = self.state.words()
        told = message.WhichOneof("body") == "result" or self.state.discovering
        if told and words != self._last:
            now_s = self.now_s()
            if now_s - self._said_s >= PLAIN_INTERVAL_S or self.state.ended == self.state.total:
                self._said_s, self._last = now_s, words
                self._say(words)

    def close(self) -> None:
        """Nothing to tidy up."""

    def _say(self, line: str) -> None:
        self.out.write(printable(line) + "\n")
        self.out.flush()


@attrs.define
class LiveView:
    """One line that changes, gone when it is over."""

    console: Console
    state: State = attrs.field(factory=State)
    verbose: bool = False
    _live: Live | None = attrs.field(default=None, init=False)

    def take(self, message: ToClient) -> None:
        self.state.take(message)
        for line in announcement(message, self.state, verbose=self.verbose):
            self.console.print(Text(printable(line)))
        if message.WhichOneof("body") in {"ended", "agents", "status"}:
            return
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(Text(self.state.words(), style="dim"), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def announcement(message: ToClient, state: State, *, verbose: bool) -> list[str]:
    """What is worth a line of its own anywhere."""
    match message.WhichOneof("body"):
        case "selected":
            selected = message.selected
            lines = [estimate(selected, upstream=state.upstream), *_coverage(selected)]
            if state.explain:
                return lines + explained(selected)
            lines += [f"not covered: {branch}" for branch in selected.uncovered]
            return lines + ([choice(one) for one in selected.agents] if verbose else [])
        case "accepted":
            return _discovery(message.accepted) if verbose else []
        case _:
            return []


def _coverage(selected: Selected) -> list[str]:
    """How much of the destinations' known edge routes the chosen agents see (AUTO only)."""
    known, covered = selected.branches_known, selected.branches_covered
    if not known:
        return []
    return [f"they cover {covered} of {known} known edge routes"]


def _discovery(accepted: Accepted) -> list[str]:
    lines = [f"measurement {accepted.measurement_id}"]
    if accepted.discovery_s:
        lines.append(f"choosing agents takes up to {accepted.discovery_s:.0f} s")
    return lines


def view(
    stream: TextIO,
    environ: Mapping[str, str],
    now_s: Callable[[], float],
    *,
    upstream: bool = False,
    verbose: bool = False,
    explain: bool = False,
) -> View:
    """The one that suits where stderr goes."""
    state = State(upstream=upstream, explain=explain)
    ci = environ.get("CI", "").lower() not in {"", "0", "false"}
    if ci or not stream.isatty() or environ.get("TERM", "dumb") == "dumb":
        return PlainView(stream, now_s, state, verbose)
    return LiveView(Console(file=stream, highlight=False, markup=False), state, verbose)
