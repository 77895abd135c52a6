"""Socket filters in classic BPF, so that the kernel wakes us for our own answers only.

Coarser than `quotes` and `replies`, which have the last word: a quote with IP options passes on its
protocol and destination alone, and so does one whose source address is not ours (a NAT's).
"""

from __future__ import annotations

import ctypes
import socket
import struct

from emodis.packets.invitation import ASKS, ASKS_AT, INVITATION_AT
from emodis.packets.model import Kind
from emodis.packets.quotes import Expectation
from emodis.packets.replies import ECHO_REPLY, ERRORS
from emodis.packets.templates import ECHO_REQUEST

# linux/filter.h: instruction classes and modes, as far as they are needed here.
_LOAD_HEADER_LENGTH = 0xB1  # X = 4 * (packet[k] & 15)
_LOAD_INDEX = 0x01  # X = k
_LOAD_WORD = 0x20  # A = packet[k:k+4]
_LOAD_HALF = 0x28
_LOAD_WORD_X = 0x40  # A = packet[X+k:X+k+4]
_LOAD_HALF_X = 0x48
_LOAD_BYTE_X = 0x50
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_EQUAL = 0x35
_RETURN = 0x06
_SO_ATTACH_FILTER = 26
_WHOLE_PACKET = 0xFFFFFFFF
# Where a quoted header stands in an ICMP error, and in it protocol, source, destination, its end.
_QUOTE = 8
_UDP_HEADER_BYTES = 8
_FIELDS = {4: (9, 12, 16, 20), 6: (6, 8, 24, 40)}

# (code, k, label if true, label if false); a str alone is a label.
_Step = tuple[int, int] | tuple[int, int, str, str] | str


def _assemble(steps: list[_Step]) -> bytes:
    """Turn labels into jump distances; "" means the next instruction."""
    places: dict[str, int] = {}
    instructions: list[tuple[int, int, str, str]] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(instructions)
        else:
            instructions.append(step if len(step) == 4 else (*step, "", ""))
    code = bytearray()
    for at, (operation, operand, if_true, if_false) in enumerate(instructions):
        jumps = (places[label] - at - 1 if label else 0 for label in (if_true, if_false))
        code += struct.pack("HBBI", operation, *jumps, operand)
    return bytes(code)


_END: list[_Step] = ["drop", (_RETURN, 0), "pass", (_RETURN, _WHOLE_PACKET)]
NOTHING = _assemble([(_RETURN, 0)])


def icmp_answers(expected: Expectation) -> bytes:
    """For the ICMP socket: errors that quote probes like these, and replies to such echoes.

    With IPv4 the packet begins with its IP header, with IPv6 behind it; there the source of an echo
    reply cannot be looked at.
    """
    errors: list[_Step] = [
        (_JUMP_EQUAL, icmp_type, "quote", "") for icmp_type in ERRORS[expected.version]
    ]
    return _assemble(
        [
            _skip_header(expected),
            (_LOAD_BYTE_X, 0),
            *errors,
            *_echo_reply(expected),
            "quote",
            *_quote(expected),
            *_END,
        ]
    )


def own_words(expected: Expectation) -> bytes:
    """For a UDP or TCP socket: what the probed port says to one of our ports."""
    source: list[_Step] = []
    if expected.version == 4:
        source = _same(expected.target.packed, 12, _LOAD_WORD)
    return _assemble(
        [
            *source,
            _skip_header(expected),
            (_LOAD_HALF_X, 0),
            (_JUMP_EQUAL, expected.port, "", "drop"),
            (_LOAD_HALF_X, 2),
            *_in_range(expected.idents, "drop"),
            *_END,
        ]
    )


def asking(tag: bytes) -> bytes:
    """For a bound UDP socket: probes with this tag that ask to be answered."""
    return _assemble(
        [
            *_same(tag, _UDP_HEADER_BYTES + INVITATION_AT, _LOAD_WORD),
            (_LOAD_HALF, _UDP_HEADER_BYTES + ASKS_AT),
            (_JUMP_EQUAL, ASKS, "pass", "drop"),
            *_END,
        ]
    )


def attach(sock: socket.socket, program: bytes) -> None:
    """Replace the socket's filter in one step; what is queued already stays queued."""
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog; the kernel copies the program during the call.
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)


def _skip_header(expected: Expectation) -> _Step:
    return (_LOAD_HEADER_LENGTH, 0) if expected.version == 4 else (_LOAD_INDEX, 0)


def _echo_reply(expected: Expectation) -> list[_Step]:
    echo_reply = ECHO_REPLY[expected.version]
    if expected.kind is not Kind.ICMP_ECHO:
        return [(_JUMP_EQUAL, echo_reply, "drop", "drop")]
    source: list[_Step] = []
    if expected.version == 4:
        source = _same(expected.target.packed, 12, _LOAD_WORD)
    return [
        (_JUMP_EQUAL, echo_reply, "", "drop"),
        *source,
        (_LOAD_HALF_X, 4),
        *_in_range(expected.idents, "drop"),
    ]


def _quote(expected: Expectation) -> list[_Step]:
    protocol_at, source_at, target_at, header_bytes = _FIELDS[expected.version]
    transport = _QUOTE + header_bytes
    ident_at = transport
    ours: list[_Step] = [
        (_LOAD_HALF_X, transport + 2),
        (_JUMP_EQUAL, expected.port, "", "drop"),
    ]
    if expected.kind is Kind.ICMP_ECHO:
        ident_at = transport + 4
        ours = [
            (_LOAD_BYTE_X, transport),
            (_JUMP_EQUAL, ECHO_REQUEST[expected.version], "", "drop"),
        ]
    options: list[_Step] = []
    if expected.version == 4:
        options = [(_LOAD_BYTE_X, _QUOTE), (_JUMP_EQUAL, 0x45, "", "pass")]
    return [
        (_LOAD_BYTE_X, _QUOTE + protocol_at),
        (_JUMP_EQUAL, expected.protocol, "", "drop"),
        *_same(expected.target.packed, _QUOTE + target_at),
        *options,
        *ours,
        (_LOAD_HALF_X, ident_at),
        *_in_range(expected.idents, "source"),
        "source",
        *_other(expected.source.packed, _QUOTE + source_at),
    ]


def _in_range(idents: range, otherwise: str) -> list[_Step]:
    """Pass if A is one of these."""
    return [
        (_JUMP_GREATER_EQUAL, idents[0], "", otherwise),
        (_JUMP_GREATER, idents[-1], otherwise, "pass"),
    ]


def _same(address: bytes, at: int, load: int = _LOAD_WORD_X) -> list[_Step]:
    """Drop what has another address there."""
    steps: list[_Step] = []
    for offset, (value,) in enumerate(struct.iter_unpack("!I", address)):
        steps += [(load, at + 4 * offset), (_JUMP_EQUAL, value, "", "drop")]
    return steps


def _other(address: bytes, at: int) -> list[_Step]:
    """Pass what has another address there, drop what has this one."""
    steps: list[_Step] = []
    for offset, (value,) in enumerate(struct.iter_unpack("!I", address)):
        steps += [(_LOAD_WORD_X, at + 4 * offset), (_JUMP_EQUAL, value, "", "pass")]
    # Falls through to "drop", which is next.
    return steps
