"""System calls that Python 3.11 has no name for. Every one declares its argument types.

Without them ctypes cuts pointers to 32 bits and the kernel answers EFAULT, or nothing at all.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

NEWUSER, NEWNS, NEWPID, NEWNET = 0x10000000, 0x20000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
PR_SET_DUMPABLE, PR_SET_TIMERSLACK = 4, 29
SIOCETHTOOL = 0x8946
# ETHTOOL_STSO, SGSO, SGRO, SSG, STXCSUM: in this order, each needs the one after it.
OFFLOADS = (0x1F, 0x24, 0x2C, 0x19, 0x17)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.unshare.argtypes = [ctypes.c_int]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def unshare(kinds: int) -> None:
    """Leave the namespaces of these kinds for new ones."""
    _check(_libc.unshare(kinds))


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread (and no other) into a namespace."""
    _check(_libc.setns(descriptor, kind))


def new_network() -> int:
    """Move into a new network namespace; it lives as long as the descriptor returned."""
    unshare(NEWNET)
    return current_network()


def current_network() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, None))


def bind(source: Path, target: str) -> None:
    """Show the file `source` in place of `target`, in this mount namespace."""
    mount(str(source), target, "none", MS_BIND)


def unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), MNT_DETACH))


def make_mounts_private() -> None:
    """What we mount is not seen outside."""
    mount("none", "/", "none", MS_REC | MS_PRIVATE)


def set_dumpable() -> None:
    """Let our user open our /proc/PID/fd again after a change of user namespace."""
    _check(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))


def set_timer_slack_ns(slack_ns: int) -> None:
    _check(_libc.prctl(PR_SET_TIMERSLACK, slack_ns, 0, 0, 0))


def offloads_off(interface: str) -> None:
    """Let every packet cross a veth one by one, at its own size and with its checksum."""
    argument = ctypes.create_string_buffer(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in OFFLOADS:
            struct.pack_into("II", argument, 0, command, 0)
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(argument))
            fcntl.ioctl(any_socket, SIOCETHTOOL, request.ljust(40, b"\0"))


def put(path: str, text: str) -> None:
    """Write a kernel file in one call, so that its refusal is ours to see."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
