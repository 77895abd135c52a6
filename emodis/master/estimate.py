"""What a measurement will take, said before it begins. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from emodis.master.keys import Pair
from emodis.techniques.base import Spend


def estimate(pairs: Collection[Pair], one: Spend) -> Spend:
    """Time and bytes of a round on an idle system.

    An agent does one run at a time and a destination takes one at a time, so a round of m agents
    and n destinations takes max(m, n) runs one after the other; a policy may need a little more.
    """
    by_agent = Counter(agent for agent, _ in pairs)
    by_destination = Counter(destination for _, destination in pairs)
    longest = max([*by_agent.values(), *by_destination.values()], default=0)
    return Spend(duration_s=longest * one.duration_s, sent_bytes=len(pairs) * one.sent_bytes)
