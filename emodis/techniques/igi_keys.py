"""Who may take part in a run: tokens, proofs, and the tag that every probe carries. Pure.

The client makes one token for a measurement. The master derives one for each run from it, so an
agent can speak for its own run only; the client derives the same when the agent says which it is.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from emodis.wire.v1.common_pb2 import RunKey

TOKEN_BYTES = 16
NONCE_BYTES = 16
TAG_BYTES = 8
# Ports below belong to services that no agent should be sent to.
LOWEST_PORT = 1024
HIGHEST_PORT = 65_535


def run_token(token: bytes, run: RunKey) -> bytes:
    """The token of one run; attempts of it share one."""
    name = "\0".join((run.measurement_id, str(run.round), run.agent_id, str(run.destination)))
    return _digest(token, b"run", name.encode())[:TOKEN_BYTES]


def sender_proof(token: bytes, nonce: bytes) -> bytes:
    """What the dialler shows."""
    return _digest(token, b"sender", nonce)


def receiver_proof(token: bytes, nonce: bytes) -> bytes:
    """What the listener shows."""
    return _digest(token, b"receiver", nonce)


def probe_tag(token: bytes, nonce: bytes) -> bytes:
    """The first bytes of every probe of this conversation."""
    return _digest(token, b"probe", nonce)[:TAG_BYTES]


def same(one: bytes, other: bytes) -> bool:
    """Compare without telling by the time it takes."""
    return hmac.compare_digest(one, other)


PROBE_HEADER = struct.Struct("!8sII")


def probe_header(tag: bytes, train: int, number: int) -> bytes:
    """What a probe begins with; the rest is noise, so that links that compress cannot."""
    return PROBE_HEADER.pack(tag, train, number)


COOKIE_BYTES = 8
# Trains count from 1.
_NO_TRAIN = 0


def opener(tag: bytes, cookie: bytes) -> bytes:
    """The datagram with which a listener opens the path of the probes to itself."""
    return PROBE_HEADER.pack(tag, _NO_TRAIN, 0) + cookie


def opener_cookie(payload: bytes, tag: bytes) -> bytes | None:
    """What the opener of this conversation carries; None if it is none."""
    if len(payload) != PROBE_HEADER.size + COOKIE_BYTES:
        return None
    found, train, _ = PROBE_HEADER.unpack_from(payload)
    return payload[PROBE_HEADER.size :] if train == _NO_TRAIN and same(found, tag) else None


def _digest(key: bytes, purpose: bytes, text: bytes) -> bytes:
    return hmac.new(key, purpose + b"\0" + text, hashlib.sha256).digest()
