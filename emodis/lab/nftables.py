"""Just enough nfnetlink for nftables rules: pyroute2 knows no ingress hook and no random number.

Attributes are as in linux/netfilter/nf_tables.h: lengths in host order, values in network order.
A rule set is sent as one batch, which the kernel takes whole or not at all.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence

import attrs

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES = 12, 10
NLM_REQUEST, NLM_ACK, NLM_CREATE, NLM_APPEND = 1, 4, 0x400, 0x800
NLMSG_ERROR, BATCH_BEGIN, BATCH_END = 2, 16, 17
NEW_TABLE, NEW_CHAIN, NEW_RULE = 0, 3, 6
INET, IPV4, NETDEV = 1, 2, 5
NESTED = 0x8000
ANSWER_TIMEOUT_S = 5.0
ANSWER_BYTES = 1 << 16

# Registers of the rule machine, verdicts, comparisons.
VERDICT_REGISTER, REGISTER = 0, 8
DROP, ACCEPT = 0, 1
EQUAL, NOT_EQUAL, LESS = 0, 1, 2


@attrs.frozen(kw_only=True)
class Message:
    """One change of the rule set: `kind` is NEW_TABLE, NEW_CHAIN or NEW_RULE."""

    kind: int
    family: int
    body: bytes


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, struct.pack(">I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def table(family: int, name: str) -> Message:
    return Message(kind=NEW_TABLE, family=family, body=text(1, name))


def chain(
    family: int,
    name: str,
    *,
    kind: str,
    hook: int,
    priority: int,
    device: str = "",
) -> Message:
    """A chain of table `name`, called the same, that the kernel runs at a hook."""
    place = [number(1, hook), attribute(2, struct.pack(">i", priority))]
    if device:
        place.append(text(3, device))
    body = text(1, name) + text(3, name) + nest(4, *place) + number(5, ACCEPT) + text(7, kind)
    return Message(kind=NEW_CHAIN, family=family, body=body)


def rule(family: int, name: str, *expressions: bytes) -> Message:
    """A rule at the end of the chain `name` of the table `name`."""
    return Message(
        kind=NEW_RULE, family=family, body=text(1, name) + text(2, name) + nest(4, *expressions)
    )


def expression(name: str, *parts: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *parts))


def compare(operator: int, data: bytes) -> bytes:
    """Go on only if the register compares so with `data`."""
    return expression("cmp", number(1, REGISTER), number(2, operator), nest(3, attribute(1, data)))


def verdict(code: int) -> bytes:
    return expression(
        "immediate", number(1, VERDICT_REGISTER), nest(2, nest(2, attribute(1, _signed(code))))
    )


def random_below(limit: int, modulus: int) -> bytes:
    """Go on for `limit` of `modulus` packets, at random.

    The kernel compares bytes, so the number drawn is put into network order first.
    """
    draw = expression("numgen", number(1, REGISTER), number(2, modulus), number(3, 1), number(4, 0))
    order = expression(
        "byteorder",
        number(1, REGISTER),
        number(2, REGISTER),
        number(3, 1),
        number(4, 4),
        number(5, 4),
    )
    return draw + order + compare(LESS, struct.pack(">I", limit))


def encode(messages: Sequence[Message]) -> bytes:
    """The batch; message k has sequence number k, counted from 1."""
    frames = [_frame(BATCH_BEGIN, NLM_REQUEST, 0, 0, b"", NFNL_SUBSYS_NFTABLES)]
    for sequence, message in enumerate(messages, 1):
        flags = NLM_REQUEST | NLM_ACK | NLM_CREATE
        if message.kind == NEW_RULE:
            flags |= NLM_APPEND
        kind = NFNL_SUBSYS_NFTABLES << 8 | message.kind
        frames.append(_frame(kind, flags, sequence, message.family, message.body, 0))
    end = _frame(BATCH_END, NLM_REQUEST, len(messages) + 1, 0, b"", NFNL_SUBSYS_NFTABLES)
    return b"".join([*frames, end])


def apply(messages: Sequence[Message]) -> None:
    """Send the batch to the kernel, in the present namespace.

    Raises:
        OSError: the first refusal.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(ANSWER_TIMEOUT_S)
        netlink.send(encode(messages))
        left = len(messages)
        while left > 0:
            for code in _answers(netlink.recv(ANSWER_BYTES)):
                if code:
                    raise OSError(code, os.strerror(code))
                left -= 1


def _answers(data: bytes) -> list[int]:
    """The error numbers of the acknowledgements in what the kernel sent; 0 is success."""
    codes, offset = [], 0
    while offset < len(data):
        length, kind = struct.unpack_from("IH", data, offset)
        if kind == NLMSG_ERROR:
            codes.append(-struct.unpack_from("i", data, offset + 16)[0])
        if length < 16:
            codes.append(errno.EPROTO)
            break
        offset += (length + 3) & ~3
    return codes


def _frame(kind: int, flags: int, sequence: int, family: int, body: bytes, resource: int) -> bytes:
    header = struct.pack("IHHII", 20 + len(body), kind, flags, sequence, 0)
    return header + struct.pack(">BBH", family, 0, resource) + body


def _signed(code: int) -> bytes:
    return struct.pack(">i", code)
