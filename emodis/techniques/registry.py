"""The techniques that there are. Parameters, help, validation and deadlines come from here.

Agents and probers do those in `TECHNIQUES` and `PLUGINS`; those in `PLANS` are made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from emodis.techniques import installed
from emodis.techniques.base import Conversational, Planned, Technique
from emodis.techniques.broute import Broute
from emodis.techniques.igi import Igi
from emodis.techniques.loss import Loss
from emodis.techniques.pathneck import Pathneck
from emodis.techniques.ping import Ping
from emodis.techniques.plugins import BrokenPlugin, Plugins
from emodis.techniques.traceroute import Traceroute

TECHNIQUES: Mapping[str, Conversational] = MappingProxyType(
    {t.NAME: t for t in (Ping(), Traceroute(), Pathneck(), Igi(), Loss())}
)
PLANS: Mapping[str, Planned] = MappingProxyType({plan.NAME: plan for plan in (Broute(),)})
# What other packages bring.
_points, _left_out = installed.found({*TECHNIQUES, *PLANS})
PLUGINS = Plugins(_points)


class UnknownTechnique(ValueError):
    """Nobody here can do that; the text names those that exist, or says what is wrong with it."""


def names() -> tuple[str, ...]:
    """Every technique of this installation, built-in ones first; imports no plug-in."""
    return (*TECHNIQUES, *PLANS, *PLUGINS.installed)


def get(name: str) -> Technique:
    """The technique of that name, conversation or plan.

    Raises:
        UnknownTechnique: if there is none, or it is a plug-in that cannot be used.
    """
    if name not in names():
        raise _unknown(name, names())
    return PLANS[name] if name in PLANS else conversational(name)


def conversational(name: str) -> Conversational:
    """The technique of that name that one prober does alone.

    A plug-in is imported when it is first asked for.

    Raises:
        UnknownTechnique: if there is none, it is a plan, or a plug-in that cannot be used.
    """
    if name in TECHNIQUES:
        return TECHNIQUES[name]
    if name not in PLUGINS.installed:
        raise _unknown(name, (*TECHNIQUES, *PLUGINS.installed))
    try:
        return PLUGINS.load(name)
    except BrokenPlugin as error:
        raise UnknownTechnique(str(error)) from error


def usable(wanted: Iterable[str]) -> tuple[Mapping[str, Technique], tuple[str, ...]]:
    """Those of the wanted that work, and one line for each plug-in that does not.

    Plug-ins that are not wanted are not imported.
    """
    working: dict[str, Technique] = {}
    complaints = list(_left_out)
    for name in wanted:
        try:
            working[name] = get(name)
        except UnknownTechnique as error:
            complaints.append(str(error))
    return working, tuple(complaints)


def _unknown(name: str, known: Iterable[str]) -> UnknownTechnique:
    return UnknownTechnique(f"there is no technique {name!r}; there are {', '.join(sorted(known))}")
