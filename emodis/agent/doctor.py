"""What stands in an agent's way: abilities of this host, and whether its master answers.

The master is greeted at its port for agents by somebody who is none: it refuses that, naming the
versions it speaks, and no session begins that could push a running agent aside.
"""

from __future__ import annotations

import socket

from google.protobuf.message import DecodeError

from emodis.agent.greeting import SOFTWARE
from emodis.prober.abilities import Ability
from emodis.wire.framing import FrameReader, FrameTooLarge, encode_frame
from emodis.wire.hello import HANDSHAKE_TIMEOUT_S, PROTOCOL_MAX, PROTOCOL_MIN, span
from emodis.wire.uri import MasterUri
from emodis.wire.v1.agent_pb2 import FromAgent, ToAgent
from emodis.wire.v1.common_pb2 import CODE_FULL, CODE_VERSION, ROLE_REQUESTER, Hello, Refusal

MASTER = "master"
_CHUNK_BYTES = 1 << 16


def master_ability(uri: MasterUri, timeout_s: float = HANDSHAKE_TIMEOUT_S) -> Ability:
    """Dial it, and hear which protocol it speaks."""
    try:
        with socket.create_connection((uri.host, uri.port), timeout_s) as line:
            said = _ask(line)
    except OSError as error:
        text = f"nobody answers at {uri} ({error.strerror or error})"
        return Ability(MASTER, False, text, "start it, or check --master and firewalls")
    if said is None:
        text = f"what answers at {uri} does not speak as a master does to agents"
        return Ability(MASTER, False, text, "check --master: agents have a port of their own")
    ours, theirs = (
        span(PROTOCOL_MIN, PROTOCOL_MAX),
        span(said.protocol_min, said.protocol_max),
    )
    if said.code == CODE_VERSION:
        text = f"{uri} speaks protocol version {theirs}, this {SOFTWARE} {ours}"
        return Ability(MASTER, False, text, "update the older side")
    if said.code == CODE_FULL:
        return Ability(MASTER, False, f"{uri} takes no more connections", "try again later")
    return Ability(MASTER, True, f"{uri} answers; protocol version {theirs}, here {ours}")


def _ask(line: socket.socket) -> Refusal | None:
    """Its refusal; None if that is not what came."""
    hello = Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        software=SOFTWARE,
        role=ROLE_REQUESTER,
        id="doctor",
    )
    line.sendall(encode_frame(FromAgent(hello=hello).SerializeToString()))
    reader = FrameReader()
    try:
        while data := line.recv(_CHUNK_BYTES):
            for frame in reader.feed(data):
                message = ToAgent.FromString(frame)
                return message.refusal if message.HasField("refusal") else None
    except (FrameTooLarge, DecodeError):
        return None
    return None
