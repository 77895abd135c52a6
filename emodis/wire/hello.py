"""Who may talk to whom: protocol versions and the five keepalive times."""

from __future__ import annotations

import attrs

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
# A dialler or master that does not hear the other's first message within this time hangs up.
HANDSHAKE_TIMEOUT_S = 10.0


class VersionMismatch(ValueError):
    """No version in common; the text names both ranges."""


def agree_on_version(theirs_min: int, theirs_max: int) -> int:
    """The highest version both sides speak.

    Raises:
        VersionMismatch: if there is none.
    """
    if theirs_min > theirs_max or theirs_max < PROTOCOL_MIN or theirs_min > PROTOCOL_MAX:
        raise VersionMismatch(
            f"no protocol version in common: we speak {span(PROTOCOL_MIN, PROTOCOL_MAX)}, "
            f"the other side speaks {span(theirs_min, theirs_max)}"
        )
    return min(PROTOCOL_MAX, theirs_max)


def span(low: int, high: int) -> str:
    """A version range for people."""
    return str(low) if low == high else f"{low} to {high}"


@attrs.frozen(kw_only=True)
class KeepaliveTimes:
    """The five times of DESIGN.md section 3; a set that does not fit cannot be made.

    After a silent cut the dialler must give up first, then the master, and only then may the
    dialler dial again. The two timers start up to one interval and a round trip apart. And a
    session whose line is merely slow must not time out at all.
    """

    interval_s: float = 15.0
    agent_timeout_s: float = 45.0
    master_timeout_s: float = 52.0
    reconnect_floor_s: float = 30.0
    rtt_max_s: float = 5.0

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, it is {value:g}")
        answered_s = self.interval_s + self.rtt_max_s
        if not answered_s < self.agent_timeout_s:
            raise ValueError(
                "an answer must come before the agent gives up: interval_s + rtt_max_s < "
                f"agent_timeout_s, but {self.interval_s:g} + {self.rtt_max_s:g} = "
                f"{answered_s:g} is not below {self.agent_timeout_s:g}"
            )
        earliest_s = self.agent_timeout_s + self.rtt_max_s
        if not earliest_s < self.master_timeout_s:
            raise ValueError(
                "the agent must give up before the master: agent_timeout_s + rtt_max_s < "
                f"master_timeout_s, but {self.agent_timeout_s:g} + {self.rtt_max_s:g} = "
                f"{earliest_s:g} is not below {self.master_timeout_s:g}"
            )
        latest_s = self.master_timeout_s + self.interval_s + self.rtt_max_s
        back_s = self.agent_timeout_s + self.reconnect_floor_s
        if not latest_s < back_s:
            raise ValueError(
                "the master must give up before the agent dials again: master_timeout_s + "
                "interval_s + rtt_max_s < agent_timeout_s + reconnect_floor_s, but "
                f"{self.master_timeout_s:g} + {self.interval_s:g} + {self.rtt_max_s:g} = "
                f"{latest_s:g} is not below {self.agent_timeout_s:g} + "
                f"{self.reconnect_floor_s:g} = {back_s:g}"
            )
