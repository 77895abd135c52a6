"""Run one command inside a lab: `python -IS enter.py STATE HOST REPORT_FD COMMAND...`.

A script of the standard library alone, so that it starts in 10 ms. Only children enter a pid
namespace, so it makes one, and as a child of its own parent (CLONE_PARENT): to whoever started this
script the command is its own child, with exit status, signals and all. The report on REPORT_FD is
the command's pid, then what went wrong, if it did.
"""

import ctypes
import fcntl
import json
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.setns.argtypes = [ctypes.c_int, ctypes.c_int]
LIBC.syscall.restype = ctypes.c_long
LIBC.syscall.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t]
SYS_CLONE3, CLONE_PARENT, CLONE_ARGS = 435, 0x8000, 11
NEWUSER, NEWNS, NEWPID, NEWNET = 0x10000000, 0x20000, 0x20000000, 0x40000000


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def enter(state_path: str, host: str) -> None:
    """Move this process into the host; its children also into the lab's pid namespace."""
    with open(state_path) as file:
        state = json.load(file)
        process = f"/proc/{state['pid']}"
        places = [
            (f"{process}/ns/user", NEWUSER if state["user_namespace"] else 0),
            (f"{process}/ns/mnt", NEWNS),
            (f"{process}/ns/pid", NEWPID),
            (f"{process}/fd/{state['fds'][host]}", NEWNET),
        ]
        # All are opened before the first move: afterwards these paths mean something else.
        opened = [(os.open(p, os.O_RDONLY | os.O_CLOEXEC), kind) for p, kind in places if kind]
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # labd still holds it: so what was opened under its pid is its own
        else:
            raise ProcessLookupError("the lab is gone")
    directory = os.getcwd()
    for descriptor, kind in opened:
        check(LIBC.setns(descriptor, kind))
    os.chdir(directory)


def fork_for_parent() -> int:
    """fork(), but the child belongs to our parent. Returns 0 in the child."""
    arguments = (ctypes.c_uint64 * CLONE_ARGS)(CLONE_PARENT)
    return check(LIBC.syscall(SYS_CLONE3, arguments, ctypes.sizeof(arguments)))


def main(state_path: str, host: str, report: int, command: list[str]) -> None:
    os.set_inheritable(report, False)
    leader = os.getsid(0) == os.getpid()
    try:
        try:
            enter(state_path, host)
        except FileNotFoundError:
            raise ProcessLookupError("the lab is gone") from None
        if pid := fork_for_parent():
            os.write(report, b"%d\n" % pid)
            return
        if leader:
            os.setsid()
        os.execvp(command[0], command)
    except OSError as error:
        os.write(report, (error.strerror or str(error)).encode())
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
