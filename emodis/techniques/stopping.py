"""How many probes rule out that there is one more way on (MDA's stopping rule). Pure.

After k ways were seen in n answers, suppose there are K = k + 1, all equally likely. The chance
that n answers leave out at least one of them is, by inclusion and exclusion,

    sum over i = 1 .. K of (-1)^(i+1) C(K, i) (1 - i/K)^n,

and the rule asks on until it is at most a bound (Augustin, Friedman and Teixeira, "Multipath
tracing with Paris traceroute", 2007). More than K ways are even less likely to look like k.
"""

from __future__ import annotations

import functools
import math


def miss_ratio(ways: int, answers: int) -> float:
    """Chance that so many answers show only `ways` of `ways` + 1 equally likely ways, 0..1."""
    if answers <= ways:
        return 1.0
    possible = ways + 1
    # fsum: the terms alternate and are far larger than their sum.
    total = math.fsum(
        (-1) ** (i + 1) * math.comb(possible, i) * (1 - i / possible) ** answers
        for i in range(1, possible + 1)
    )
    return min(1.0, max(0.0, total))


@functools.cache
def enough(ways: int, bound: float) -> int:
    """The fewest answers after which `miss_ratio` is at most `bound` (0..1, exclusive).

    Raises:
        ValueError: for a bound that no number of answers reaches, or fewer than one way.
    """
    if ways < 1 or not 0 < bound < 1:
        raise ValueError(f"no number of answers rules out {ways} + 1 ways with bound {bound}")
    answers = ways + 1
    while miss_ratio(ways, answers) > bound:
        answers += 1
    return answers
