"""A master as `doctor` shows it."""

from __future__ import annotations

from emodis import __version__
from emodis.client.service import MasterStatus
from emodis.prober.abilities import Ability

NAME = "master"


def master_ability(master: str, told: MasterStatus) -> Ability:
    """Whether it has answered, and with which version."""
    if told.status is None:
        text = f"{master} does not answer ({told.finish.text})"
        return Ability(NAME, False, text, "start it, or check --master and firewalls")
    text = f"{master} answers, {told.status.software}; this is emodis-client {__version__}"
    return Ability(NAME, True, text)
