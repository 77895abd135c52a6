"""The latest that the master's clock can be now, and its deadlines in our own clock.

A reply says what the master's clock was at some moment after our question left. So
`master_clock_ns + (now - sent)` is never too early, whatever the network did in between, and a
deadline kept by it is never overstepped. Local times are CLOCK_BOOTTIME in ns.
"""

from __future__ import annotations

import attrs

# Each of two disciplined clocks may be slewed by 500 ppm (RFC 5905): together 1 part in this many.
DRIFT_DIVISOR = 1000


@attrs.define
class MasterClock:
    """Keeps the tightest bound that is still valid. One per session: a restart resets a clock."""

    # Upper bound of (master's clock - ours), and when it was established.
    _offset_ns: int | None = attrs.field(default=None, init=False)
    _as_of_ns: int = attrs.field(default=0, init=False)

    def heard(self, *, sent_ns: int, received_ns: int, master_clock_ns: int) -> None:
        """An answer came in: sent and received in our clock, its content in the master's."""
        offset_ns = master_clock_ns - sent_ns
        most_ns = offset_ns + _drift_ns(received_ns - sent_ns)
        least_ns = master_clock_ns - received_ns
        held_ns = self._offset_at(received_ns)
        # An upper bound below what is now certain means that one of the clocks was paused.
        if held_ns is None or most_ns <= held_ns or held_ns < least_ns:
            self._offset_ns, self._as_of_ns = offset_ns, sent_ns

    def latest_ns(self, now_ns: int) -> int | None:
        """The latest that the master's clock can read now; None before any answer."""
        offset_ns = self._offset_at(now_ns)
        return None if offset_ns is None else now_ns + offset_ns

    def local_deadline_ns(self, clock_ns: int, now_ns: int) -> int | None:
        """Our own clock's reading before which the master's is surely before `clock_ns`.

        A deadline that far ahead that drift matters is drawn in accordingly.
        """
        latest_ns = self.latest_ns(now_ns)
        if latest_ns is None:
            return None
        ahead_ns = clock_ns - latest_ns
        if ahead_ns > 0:
            ahead_ns -= _drift_ns(ahead_ns)
        return now_ns + ahead_ns

    def _offset_at(self, now_ns: int) -> int | None:
        if self._offset_ns is None:
            return None
        return self._offset_ns + _drift_ns(max(0, now_ns - self._as_of_ns))


def _drift_ns(span_ns: int) -> int:
    """By how much two clocks may have come apart in this time, rounded up."""
    return -(-span_ns // DRIFT_DIVISOR)
