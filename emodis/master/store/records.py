"""Measurements and agents as the store keeps them, whole and frozen."""

from __future__ import annotations

import attrs

from emodis.wire.v1.client_pb2 import Ended, Request, Selected
from emodis.wire.v1.common_pb2 import Body, Hello, Target


@attrs.frozen(kw_only=True)
class MeasurementRecord:
    """What was admitted, who was chosen for it, and how it ended. Times are the master's.

    `idempotency` only counts where `parent_id` is empty: a child of a plan is nobody's request.
    """

    id: str
    # Empty: not the child of a plan.
    parent_id: str = ""
    client_id: str
    # Empty: this request cannot be recognised when it is sent again.
    idempotency: bytes = b""
    # Defaults filled in.
    call: Body
    # In the order of RunKey.destination.
    targets: tuple[Target, ...]
    # As it was asked; empty for a child.
    request: Request = attrs.field(factory=Request)
    admitted_unix_ns: int
    # None: not chosen yet.
    selected: Selected | None = None
    # Both None: it goes on.
    ended: Ended | None = None
    ended_unix_ns: int | None = None


@attrs.frozen(kw_only=True)
class AgentRecord:
    """An agent that was here once, as it was then."""

    # Without its token.
    hello: Hello
    asn: int
    # When the master last heard of it, as far as that was written down.
    last_seen_unix_ns: int
