"""Which exit code an outcome has: the one place where DESIGN.md section 9 is spelt out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from emodis.client.exits import Exit
from emodis.client.finish import Finish, Way
from emodis.client.report import Report
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_BUDGET,
    CODE_FENCED,
    CODE_FRAME,
    CODE_FULL,
    CODE_NO_AGENT,
    CODE_OUT_OF_ORDER,
    CODE_POLICY,
    CODE_RATE,
    CODE_SHUTDOWN,
    CODE_SILENT,
    CODE_UNAUTHENTICATED,
    CODE_UNKNOWN_ID,
    CODE_UNSPECIFIED,
    CODE_VERSION,
    END_CANCELLED,
    END_DONE,
    END_EXPIRED,
    END_REFUSED,
    Code,
)

_BY_CODE: dict[Code.ValueType, Exit] = {
    CODE_UNSPECIFIED: Exit.FAILED,
    CODE_VERSION: Exit.UNREACHABLE,
    CODE_UNAUTHENTICATED: Exit.UNREACHABLE,
    CODE_FENCED: Exit.UNREACHABLE,
    CODE_FULL: Exit.REFUSED,
    CODE_POLICY: Exit.REFUSED,
    CODE_RATE: Exit.REFUSED,
    CODE_BUDGET: Exit.REFUSED,
    CODE_NO_AGENT: Exit.NO_AGENT,
    CODE_BAD_REQUEST: Exit.USAGE,
    CODE_UNKNOWN_ID: Exit.USAGE,
    CODE_OUT_OF_ORDER: Exit.UNREACHABLE,
    CODE_FRAME: Exit.UNREACHABLE,
    CODE_SHUTDOWN: Exit.UNREACHABLE,
    CODE_SILENT: Exit.UNREACHABLE,
}
_POLICY_CODES = frozenset({CODE_POLICY, CODE_RATE, CODE_BUDGET})


def of_code(code: Code.ValueType) -> Exit:
    """A call was refused, or a measurement given up, with this code (one newer than us: 1)."""
    return _BY_CODE.get(code, Exit.FAILED)


def of_finish(finish: Finish) -> Exit:
    """A conversation ended so."""
    match finish.way:
        case Way.COMPLETE:
            return Exit.OK
        case Way.REFUSED:
            return of_code(finish.code)
        case Way.TURNED_AWAY:
            # It does not talk to us: unreachable, unless a rule says so.
            return Exit.REFUSED if finish.code in _POLICY_CODES else Exit.UNREACHABLE
        case Way.UNREACHABLE | Way.LOST:
            return Exit.UNREACHABLE
        case Way.OVERDUE:
            return Exit.PARTIAL
        case Way.INTERRUPTED:
            return Exit.INTERRUPTED


def of_runs(report: Report) -> Exit:
    """What was measured, of what was wanted."""
    counts = report.counts
    done = counts[END_DONE]
    if done:
        return Exit.OK if done >= report.runs_total else Exit.PARTIAL
    if report.ended is not None and report.ended.code != CODE_UNSPECIFIED:
        return of_code(report.ended.code)
    ends = set(counts)
    if ends == {END_REFUSED}:
        return Exit.REFUSED
    if ends <= {END_EXPIRED, END_CANCELLED}:
        return Exit.PARTIAL
    return Exit.FAILED


def of_reports(reports: Iterable[Report], *, held: bool) -> Exit:
    """The whole command. `held`: a `--fail-if` came true.

    Being interrupted, refused or cut off outweighs what was measured; a threshold that came true
    outweighs what is missing.
    """
    known = list(reports)
    for report in known:
        code = of_finish(report.finish)
        if code not in {Exit.OK, Exit.PARTIAL}:
            return code
    if held:
        return Exit.FAILED
    codes = [of_runs(report) for report in known]
    codes += [of_finish(report.finish) for report in known]
    if not any(report.done for report in known):
        return next((code for code in codes if code is not Exit.OK), Exit.FAILED)
    return Exit.OK if all(code is Exit.OK for code in codes) else Exit.PARTIAL
