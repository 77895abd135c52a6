"""The step out of this machine into namespaces of our own; as root directly, else by a user one.

It is never decided by asking the user id: root in a container may be refused what a user namespace
grants. What the kernel refuses is tried and then named in one line.
"""

from __future__ import annotations

import errno
import os

from emodis.lab import kernel
from emodis.lab.errors import LabError

USER_NAMESPACE_HINT = (
    "run as root, or allow user namespaces (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
)
LIMITS_HINT = "look at sysctl user.max_net_namespaces, max_pid_namespaces, max_mnt_namespaces"


class Refused(LabError):
    """The kernel refuses something that a lab cannot do without."""


def refused(what: str, error: OSError, hint: str = "") -> Refused:
    """One line: what was refused, in the kernel's own words, and what may help."""
    tail = f"; {hint}" if hint else ""
    return Refused(f"no lab here: the kernel refuses {what} ({error.strerror}){tail}")


def isolate() -> bool:
    """Leave for new pid, mount and network namespaces; children are in them, and are root there.

    Returns:
        Whether it took a user namespace.

    Raises:
        Refused: one line naming what was refused.
    """
    kinds = kernel.NEWPID | kernel.NEWNS | kernel.NEWNET
    try:
        kernel.unshare(kinds)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise refused("new namespaces", error, LIMITS_HINT) from error
    else:
        return False
    _become_root()
    try:
        kernel.unshare(kinds)
    except OSError as error:
        raise refused("new namespaces inside a user namespace", error, LIMITS_HINT) from error
    return True


def _become_root() -> None:
    uid, gid = os.getuid(), os.getgid()
    try:
        kernel.unshare(kernel.NEWUSER)
    except OSError as error:
        raise refused("a user namespace", error, USER_NAMESPACE_HINT) from error
    kernel.set_dumpable()
    try:
        kernel.put("/proc/self/setgroups", "deny")
        kernel.put("/proc/self/uid_map", f"0 {uid} 1")
        kernel.put("/proc/self/gid_map", f"0 {gid} 1")
    except OSError as error:
        raise refused("to map our user id", error, USER_NAMESPACE_HINT) from error
