"""What this host can do for measurements, by trying; a line each for `doctor`.

Nothing is sent but two datagrams over the host's own loopback.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

import attrs

from emodis.packets.trial import Trial, has_ipv6, try_datagrams
from emodis.prober import access
from emodis.prober.steadiness import Footing, find_footing
from emodis.techniques.kinds import words

_CAPABILITY = "run as root, or give it the capability (systemd: AmbientCapabilities={name})"


@attrs.frozen
class Ability:
    """One thing that is there or missing, and what to do in the latter case."""

    name: str
    there: bool
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """For people."""
        if self.there:
            return f"ok       {self.name}: {self.text}"
        return f"missing  {self.name}: {self.text}; {self.remedy}"


def abilities() -> list[Ability]:
    """Try everything, now and with the rights of this process."""
    trial, raw = try_datagrams(), _opens_raw()
    return [
        _raw_sockets(raw),
        _echo(trial, raw),
        _error_queue(trial),
        _stamps(trial),
        _priority(find_footing()),
        _ipv6(has_ipv6()),
        _kinds(trial, raw),
    ]


def can_measure(found: Iterable[Ability]) -> bool:
    """Whether there is any way to send probes and hear of their fate."""
    return any(ability.there for ability in found if ability.name in (_RAW, _QUEUE))


_RAW, _QUEUE = "raw sockets", "UDP error queue"


def _opens_raw() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except OSError:
        return False
    return True


def _raw_sockets(there: bool) -> Ability:
    if there:
        return Ability(_RAW, True, "everything can be measured")
    text = (
        "load packets cannot be muted (Pathneck's last link), SYNs not be kept in one flow, "
        "nothing captured but igi"
    )
    return Ability(_RAW, False, text, _CAPABILITY.format(name="CAP_NET_RAW"))


def _echo(trial: Trial, raw: bool) -> Ability:
    name = "ICMP datagram sockets"
    if trial.echo:
        return Ability(name, True, "ICMP echo without raw sockets")
    if raw:
        return Ability(name, True, "closed to this user, and not needed beside raw sockets")
    text = "no ICMP echo without raw sockets"
    remedy = 'sysctl -w net.ipv4.ping_group_range="0 2147483647", or use -o proto=udp'
    return Ability(name, False, text, remedy)


def _error_queue(trial: Trial) -> Ability:
    if trial.errors:
        return Ability(_QUEUE, True, "UDP probes without raw sockets")
    text = "this kernel or its firewall keeps ICMP errors from UDP sockets"
    return Ability(_QUEUE, False, text, "let ICMP errors in, on the loopback interface, too")


def _stamps(trial: Trial) -> Ability:
    name = "kernel stamps"
    if trial.departures and trial.arrivals:
        return Ability(name, True, "of departures and arrivals")
    lacking = [
        word
        for word, there in (("departures", trial.departures), ("arrivals", trial.arrivals))
        if not there
    ]
    text = f"none of {' and '.join(lacking)}, so times are this process's"
    return Ability(name, False, text, "use a kernel with SO_TIMESTAMPING")


def _priority(footing: Footing) -> Ability:
    name = "real-time priority"
    if footing is Footing.REAL_TIME:
        return Ability(name, True, "while a train is under way")
    text = f"{footing.value}; on a busy host more trains are spoiled and sent again"
    return Ability(name, False, text, _CAPABILITY.format(name="CAP_SYS_NICE"))


def _kinds(trial: Trial, raw: bool) -> Ability:
    """What of all that follows for `-o proto=…`; an agent tells its master the same."""
    found = access.kinds(raw=raw, echo=trial.echo)
    return Ability("packets", True, words(found))


def _ipv6(there: bool) -> Ability:
    if there:
        return Ability("IPv6", True, "switched on")
    return Ability("IPv6", False, "only IPv4 is measured", "switch it on (sysctl disable_ipv6)")
