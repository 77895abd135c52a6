"""The first message of a connection: who may stay (DESIGN.md 3). Pure."""

from __future__ import annotations

import re

from emodis import __version__
from emodis.wire.hello import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    KeepaliveTimes,
    VersionMismatch,
    agree_on_version,
)
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_FULL,
    CODE_VERSION,
    ROLE_AGENT,
    ROLE_MANAGER,
    ROLE_REQUESTER,
    Code,
    Hello,
    Refusal,
    Role,
    Welcome,
)

SOFTWARE = f"emodis-master {__version__}"
# Whoever is told "full" comes back later than after an ordinary loss.
FULL_RETRY_AFTER_S = 60.0
BOOT_ID_BYTES = 16
# What may stand in a log line, a file name and a lock key: no spaces, no control characters.
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def refusal(code: Code.ValueType, text: str, *, retry_after_s: float = 0.0) -> Refusal:
    """A refusal that names our versions, so that both can be printed."""
    return Refusal(
        code=code,
        text=text,
        retry_after_s=retry_after_s,
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
    )


def check_agent(hello: Hello, *, full: bool) -> Refusal | None:
    """Why this agent may not join; None when it may."""
    common = _check(hello, full=full)
    if common is not None:
        return common
    if hello.role != ROLE_AGENT:
        return refusal(CODE_BAD_REQUEST, "this port is for agents; clients use the other one")
    if len(hello.boot_id) != BOOT_ID_BYTES:
        return refusal(CODE_BAD_REQUEST, f"the boot id must have {BOOT_ID_BYTES} bytes")
    return None


def check_client(hello: Hello, *, full: bool) -> Refusal | None:
    """Why this client may not come in; None when it may."""
    common = _check(hello, full=full)
    if common is not None:
        return common
    if hello.role not in {ROLE_REQUESTER, ROLE_MANAGER}:
        return refusal(CODE_BAD_REQUEST, "this port is for clients; agents use the other one")
    return None


def _check(hello: Hello, *, full: bool) -> Refusal | None:
    try:
        agree_on_version(hello.protocol_min, hello.protocol_max)
    except VersionMismatch as error:
        return refusal(CODE_VERSION, str(error))
    if not _ID.fullmatch(hello.id):
        return refusal(
            CODE_BAD_REQUEST, "the id must be 1 to 64 letters, digits, dots, colons, _ or -"
        )
    if full:
        return refusal(
            CODE_FULL,
            "the master has as many connections as it may; try again later",
            retry_after_s=FULL_RETRY_AFTER_S,
        )
    return None


def welcome(
    hello: Hello,
    *,
    session_id: str,
    times: KeepaliveTimes,
    granted: Role.ValueType,
    master_clock_ns: int,
    master_unix_ns: int,
) -> Welcome:
    """The answer to a Hello that was accepted; it counts as the first KeepaliveReply."""
    return Welcome(
        protocol=agree_on_version(hello.protocol_min, hello.protocol_max),
        software=SOFTWARE,
        session_id=session_id,
        interval_s=times.interval_s,
        agent_timeout_s=times.agent_timeout_s,
        master_timeout_s=times.master_timeout_s,
        reconnect_floor_s=times.reconnect_floor_s,
        rtt_max_s=times.rtt_max_s,
        master_clock_ns=master_clock_ns,
        master_unix_ns=master_unix_ns,
        role=granted,
    )
