"""Run one command as somebody who may do nothing special: `python -IS unprivileged.py COMMAND...`.

A script of the standard library alone, as `enter` is. The command keeps its user, so that it finds
its files, and loses every capability for good: none is left in the bounding set when it is
executed, not even for user 0. What every distribution allows its users stays allowed: ICMP
datagram sockets (net.ipv4.ping_group_range), unless `--no-echo` comes first.
"""

import contextlib
import ctypes
import os
import sys

PR_CAPBSET_DROP = 24
# More than any kernel has; for those that it does not know prctl says EINVAL.
CAPABILITIES = 64
NO_ECHO = "--no-echo"
PING_GROUPS = "/proc/sys/net/ipv4/ping_group_range"


def wrapped(command: list[str], *, echo: bool = True) -> list[str]:
    """The command line that runs this command so."""
    return [sys.executable, "-IS", __file__, *([] if echo else [NO_ECHO]), *command]


def allow_echo(allowed: bool) -> None:
    """Open ICMP datagram sockets of this network namespace to our group, or close them to all."""
    group = os.getgid()
    # Without the right to write there the namespace stays as it is.
    with contextlib.suppress(OSError), open(PING_GROUPS, "w") as file:
        file.write(f"{group} {group}" if allowed else "1 0")


def drop_everything() -> None:
    """Leave no capability that an executed program could have."""
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    for capability in range(CAPABILITIES):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def main(words: list[str]) -> None:
    echo = words[:1] != [NO_ECHO]
    command = words if echo else words[1:]
    allow_echo(echo)
    drop_everything()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
