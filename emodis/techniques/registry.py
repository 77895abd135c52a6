"""The techniques that there are. Parameters, help, validation and deadlines come from here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from emodis.techniques.base import Technique
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.ping import Ping
from emodis.techniques.traceroute import Traceroute

TECHNIQUES: Mapping[str, Technique] = MappingProxyType(
    {technique.NAME: technique for technique in (Ping(), Traceroute(), Pathneck())}
)


class UnknownTechnique(ValueError):
    """Nobody here can do that; the text names those that exist."""


def get(name: str) -> Technique:
    """The technique of that name.

    Raises:
        UnknownTechnique: if there is none.
    """
    try:
        return TECHNIQUES[name]
    except KeyError:
        known = ", ".join(sorted(TECHNIQUES))
        raise UnknownTechnique(f"there is no technique {name!r}; there are {known}") from None
