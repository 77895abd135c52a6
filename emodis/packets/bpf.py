"""Socket filters in classic BPF, so that the kernel wakes us for our own answers only.

Coarser than `replies`, which has the last word: a quote with IP options passes on its protocol and
destination alone.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from ipaddress import IPv4Address

from emodis.packets.flow import UDP_PORT
from emodis.packets.model import Kind
from emodis.packets.replies import ECHO_REPLY, ECHO_REQUEST, TIME_EXCEEDED, UNREACHABLE

# linux/filter.h: instruction classes and modes, as far as they are needed here.
_LOAD_HEADER_LENGTH = 0xB1  # X = 4 * (packet[k] & 15)
_LOAD_WORD = 0x20  # A = packet[k:k+4]
_LOAD_WORD_X = 0x40  # A = packet[X+k:X+k+4]
_LOAD_HALF_X = 0x48
_LOAD_BYTE_X = 0x50
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_EQUAL = 0x35
_RETURN = 0x06
_SO_ATTACH_FILTER = 26
_WHOLE_PACKET = 0xFFFFFFFF

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


NOTHING = _assemble([(_RETURN, 0)])


def answers(kind: Kind, target: IPv4Address, idents: range) -> bytes:
    """The program that passes answers to probes with these source ports or ICMP ids."""
    first, last, address = idents[0], idents[-1], int(target)
    is_udp = kind is Kind.UDP
    echo: list[_Step] = [
        (_LOAD_WORD, 12),
        (_JUMP_EQUAL, address, "", "drop"),
        (_LOAD_HALF_X, 4),
        (_JUMP_GREATER_EQUAL, first, "", "drop"),
        (_JUMP_GREATER, last, "drop", "pass"),
    ]
    ports: list[_Step] = [
        (_LOAD_HALF_X, 30),
        (_JUMP_EQUAL, UDP_PORT, "", "drop"),
        (_LOAD_HALF_X, 28),
    ]
    ids: list[_Step] = [
        (_LOAD_BYTE_X, 28),
        (_JUMP_EQUAL, ECHO_REQUEST, "", "drop"),
        (_LOAD_HALF_X, 32),
    ]
    return _assemble(
        [
            (_LOAD_HEADER_LENGTH, 0),
            (_LOAD_BYTE_X, 0),
            (_JUMP_EQUAL, TIME_EXCEEDED, "quote", ""),
            (_JUMP_EQUAL, UNREACHABLE, "quote", ""),
            (_JUMP_EQUAL, ECHO_REPLY, "drop" if is_udp else "", "drop"),
            *([] if is_udp else echo),
            "quote",
            (_LOAD_BYTE_X, 8 + 9),
            (_JUMP_EQUAL, 17 if is_udp else 1, "", "drop"),
            (_LOAD_WORD_X, 8 + 16),
            (_JUMP_EQUAL, address, "", "drop"),
            (_LOAD_BYTE_X, 8),
            (_JUMP_EQUAL, 0x45, "", "pass"),
            *(ports if is_udp else ids),
            (_JUMP_GREATER_EQUAL, first, "", "drop"),
            (_JUMP_GREATER, last, "drop", "pass"),
            "drop",
            (_RETURN, 0),
            "pass",
            (_RETURN, _WHOLE_PACKET),
        ]
    )


def attach(sock: socket.socket, program: bytes) -> None:
    """Replace the socket's filter in one step; what is queued already stays queued."""
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog; the kernel copies the program during the call.
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
