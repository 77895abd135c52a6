"""Who may open raw sockets, and who dies with whom (prctl(2) and capset(2) by ctypes).

The daemon gives CAP_NET_RAW up, its probers get it again by being executed:
- root: an executed program of user 0 gets every capability of the bounding set, so the daemon drops
  it from its effective and its permitted set. Not where no_new_privs or SECBIT_NOROOT stand in the
  way; then as below.
- anybody else: it comes from the ambient set or from the file's capabilities, and ambient ones need
  it permitted. So the daemon drops it from its effective set only: its sockets calls are refused,
  its probers' are not. Code that took the daemon over could raise it again; against that the only
  help is not to give it to the daemon at all.
"""

from __future__ import annotations

import ctypes
import os
import signal

import attrs

CAP_NET_RAW = 13
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_READ = 23
_PR_GET_SECUREBITS = 27
_PR_SET_TIMERSLACK = 29
_PR_GET_NO_NEW_PRIVS = 39
_SECBIT_NOROOT = 1


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """Half of the three sets: capabilities 0..31, or those above."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_Halves = _Sets * 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
_libc.capget.argtypes = _libc.capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)


@attrs.frozen
class Held:
    """What the calling thread may do now, and what it may make itself able to do."""

    effective: bool
    permitted: bool


def net_raw() -> Held:
    """Whether this thread holds CAP_NET_RAW."""
    low = _read()[0]
    bit = 1 << CAP_NET_RAW
    return Held(effective=bool(low.effective & bit), permitted=bool(low.permitted & bit))


def drop_net_raw() -> None:
    """Give CAP_NET_RAW up, but leave it to programs this process executes.

    Works on the calling thread, and on threads started by it later: call it before there are any.
    May be called again, and without privileges it changes nothing.
    """
    halves = _read()
    low = halves[0]
    bit = 1 << CAP_NET_RAW
    regained = _regained_by_exec()
    if not low.effective & bit and not (regained and low.permitted & bit):
        return
    low.effective &= ~bit
    if regained:
        low.permitted &= ~bit
    header = _Header(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(halves)))


def die_with_parent(parent_pid: int) -> bool:
    """Ask to be killed when the parent's thread ends; False if the parent is gone already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent_pid


def wake_on_time() -> None:
    """Have timers of this process expire when they should, not up to 50 us later."""
    _prctl(_PR_SET_TIMERSLACK, 1)


def _regained_by_exec() -> bool:
    return (
        os.geteuid() == 0
        and not _prctl(_PR_GET_NO_NEW_PRIVS)
        and not _prctl(_PR_GET_SECUREBITS) & _SECBIT_NOROOT
        and bool(_prctl(_PR_CAPBSET_READ, CAP_NET_RAW))
    )


def _read() -> ctypes.Array[_Sets]:
    header, halves = _Header(_CAPABILITY_VERSION_3, 0), _Halves()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(halves)))
    return halves


def _prctl(operation: int, argument: int = 0) -> int:
    return _check(_libc.prctl(operation, argument, 0, 0, 0))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
