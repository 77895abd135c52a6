"""What an agent says of itself in Hello, and whether the other end may hear it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from emodis import __version__
from emodis.agent.config import Settings
from emodis.techniques.base import Technique
from emodis.topology.special import canonical, is_local
from emodis.wire.hello import PROTOCOL_MAX, PROTOCOL_MIN
from emodis.wire.v1.common_pb2 import (
    ROLE_AGENT,
    TRANSPORT_RAW,
    Capability,
    Caps,
    Hello,
)
from emodis.wire.v1.prober_pb2 import ProberReady

SOFTWARE = f"emodis-agent {__version__}"


def forbidden_master(host: str, *, insecure: bool) -> str | None:
    """Why nothing may be said in plaintext to this address; None if it may be, or if it is a name.

    A name is asked about again once it has been resolved and connected.
    """
    try:
        address = canonical(host)
    except ValueError:
        return None
    if address.is_loopback:
        return None
    if not insecure:
        return (
            f"{address} is not this machine and encryption does not exist yet: "
            "use --insecure to talk in plaintext to private and lab addresses"
        )
    if not is_local(address):
        return (
            f"{address} is outside private, loopback and lab ranges: "
            "until encryption exists a master there cannot be used"
        )
    return None


@attrs.frozen(kw_only=True)
class Self:
    """What stays the same over all sessions of one process."""

    agent_id: str
    boot_id: bytes
    settings: Settings
    capabilities: tuple[Capability, ...]

    def hello(self, *, own_host: str, spooled_runs: int) -> Hello:
        """Hello on a connection whose own end has this address."""
        settings = self.settings
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            software=SOFTWARE,
            role=ROLE_AGENT,
            id=self.agent_id,
            boot_id=self.boot_id,
            capabilities=self.capabilities,
            addresses=_packed(own_host),
            place=settings.place,
            tags=settings.tags,
            caps=Caps(
                runs_per_hour=min(settings.runs_per_hour, (1 << 32) - 1),
                bytes_per_day=settings.bytes_per_day,
            ),
            spooled_runs=spooled_runs,
        )


def capabilities(
    ready: ProberReady, allow: Iterable[str], techniques: Mapping[str, Technique]
) -> tuple[Capability, ...]:
    """What the probers can do of what the volunteer enabled."""
    raw = TRANSPORT_RAW in ready.transports
    return tuple(
        Capability(
            technique=name,
            schema=techniques[name].SCHEMA,
            raw=raw,
            families=ready.families,
            kinds=ready.kinds,
        )
        for name in sorted(allow)
        if raw or not techniques[name].NEEDS_RAW
    )


def _packed(host: str) -> list[bytes]:
    try:
        return [canonical(host).packed]
    except ValueError:
        return []
