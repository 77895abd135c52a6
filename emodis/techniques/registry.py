"""The techniques that there are. Parameters, help, validation and deadlines come from here.

Agents and probers do those in `TECHNIQUES`; those in `PLANS` are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from emodis.techniques.base import Conversational, Planned, Technique
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.ping import Ping
from emodis.techniques.traceroute import Traceroute

TECHNIQUES: Mapping[str, Conversational] = MappingProxyType(
    {technique.NAME: technique for technique in (Ping(), Traceroute(), Pathneck())}
)
PLANS: Mapping[str, Planned] = MappingProxyType({})


class UnknownTechnique(ValueError):
    """Nobody here can do that; the text names those that exist."""


def get(name: str) -> Technique:
    """The technique of that name, conversation or plan.

    Raises:
        UnknownTechnique: if there is none.
    """
    found = TECHNIQUES.get(name) or PLANS.get(name)
    if found is None:
        known = ", ".join(sorted({*TECHNIQUES, *PLANS}))
        raise UnknownTechnique(f"there is no technique {name!r}; there are {known}")
    return found


def conversational(name: str) -> Conversational:
    """The technique of that name that one prober does alone.

    Raises:
        UnknownTechnique: if there is none, or it is a plan.
    """
    try:
        return TECHNIQUES[name]
    except KeyError:
        known = ", ".join(sorted(TECHNIQUES))
        raise UnknownTechnique(f"there is no technique {name!r}; there are {known}") from None
