"""How losses lie in a series of probes: runs, memory, and whether they look like rationing.

A host that rations its answers (Linux: six at once, then one a second, for all but echo replies)
loses most of a fast series without any packet being lost on the way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from emodis.techniques.stats import NS_PER_S

# Rationing begins with a burst that is answered in full ...
_BURST = 5
# ... and goes on with one answer a second. Probes as rare as that cannot show it.
_RECUR_NS = (round(0.8 * NS_PER_S), round(2.2 * NS_PER_S))
_FASTEST_NS = round(0.7 * NS_PER_S)


def runs(lost: Sequence[bool]) -> list[int]:
    """Lengths of the runs of consecutive losses, in order."""
    return [len(list(group)) for is_lost, group in itertools.groupby(lost) if is_lost]


def after_loss_ratio(lost: Sequence[bool]) -> float | None:
    """P(lost | the one before was lost); None if no loss has a successor."""
    followers = [after for before, after in itertools.pairwise(lost) if before]
    return sum(followers) / len(followers) if followers else None


def rationed(sent_ns: Sequence[int], lost: Sequence[bool], *, proto: str) -> bool:
    """Whether the losses look like a host that answers about once a second (TECHNIQUES.md 1).

    They begin after five or more answers in a row, and what is answered from then on is about a
    second apart. UDP answers are rationed so often that a series which ends within the first
    silence is suspected, too; of the others it takes two more answers.

    Args:
        sent_ns: departures in sending order, shape (n,).
        lost: shape (n,).
        proto: "icmp", "udp" or "tcp".
    """
    first = next((i for i, is_lost in enumerate(lost) if is_lost), None)
    if first is None or first < _BURST or sum(lost) < 2:
        return False
    if (sent_ns[-1] - sent_ns[0]) / (len(sent_ns) - 1) > _FASTEST_NS:
        return False
    answered_ns = [at for at, is_lost in zip(sent_ns, lost, strict=True) if not is_lost]
    later_ns = answered_ns[first:]
    if len(later_ns) < (0 if proto == "udp" else 2):
        return False
    shortest_ns, longest_ns = _RECUR_NS
    gaps_ns = [after - before for before, after in itertools.pairwise(later_ns)]
    silences_ns = [
        after - before
        for before, after in itertools.pairwise([*answered_ns[first - 1 :], sent_ns[-1]])
    ]
    return min(gaps_ns, default=shortest_ns) >= shortest_ns and max(silences_ns) <= longest_ns
