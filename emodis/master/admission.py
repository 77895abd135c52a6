"""Whether a request may run at all: what can be said before any name is resolved. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from emodis.master.config import Limits
from emodis.scheduling.model import Policy
from emodis.techniques import igi_keys
from emodis.techniques.base import BadParameters, Spend, Technique, for_managers, is_peered
from emodis.techniques.kinds import Kinds, needed
from emodis.topology.families import FAMILIES
from emodis.wire.v1.client_pb2 import (
    DIRECTION_DOWNSTREAM,
    DIRECTION_UNSPECIFIED,
    DISCIPLINE_RAN,
    POLICY_LOCK,
    POLICY_RING,
    POLICY_UNSPECIFIED,
    POLICY_WAVE,
    Refused,
    Request,
)
from emodis.wire.v1.client_pb2 import Policy as WirePolicy
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_BUDGET,
    CODE_POLICY,
    ROLE_MANAGER,
    Body,
    Role,
)

IDEMPOTENCY_BYTES = 16
_POLICIES = {POLICY_RING: Policy.RING, POLICY_LOCK: Policy.LOCK}


@attrs.frozen(kw_only=True)
class Admitted:
    """A request that makes sense. Its families are known when its names are resolved."""

    technique: Technique
    call: Body
    worst: Spend
    policy: Policy
    # The packets that agents must be able to send for it.
    kinds: Kinds


def bad(text: str, hint: str = "") -> Refused:
    """The request itself is wrong."""
    return Refused(code=CODE_BAD_REQUEST, text=text, hint=hint)


def admit(
    request: Request,
    *,
    find: Callable[[str], Technique | None],
    limits: Limits,
    role: Role.ValueType,
) -> Admitted | Refused:
    """Check everything that needs nobody's help; `find` knows the techniques by name."""
    return _unsupported(request) or _malformed(request, limits) or _call(request, find, role)


def policy_of(wanted: WirePolicy.ValueType) -> Policy:
    """The scheduler's word for it."""
    return _POLICIES[wanted]


def too_many(runs: int, limits: Limits) -> Refused | None:
    """The cap on agents times destinations."""
    if runs <= limits.runs_per_request:
        return None
    return Refused(
        code=CODE_BUDGET,
        text=f"{runs} runs, and the master allows {limits.runs_per_request} in one request",
        hint="name fewer destinations or fewer agents, or use ANY",
    )


def _unsupported(request: Request) -> Refused | None:
    if request.direction not in {DIRECTION_UNSPECIFIED, DIRECTION_DOWNSTREAM}:
        return bad(
            "the master only measures downstream",
            "upstream runs on the client's own host: `emodis-client measure`",
        )
    if request.family not in FAMILIES:
        return bad(f"there is no address family {request.family}", "use 4 or 6, or leave it open")
    if request.schedule.discipline == DISCIPLINE_RAN:
        return bad("the schedule RAN is not in this version", "use `--schedule syn`")
    if request.schedule.policy == POLICY_WAVE:
        return bad("the policy WAVE is not in this version", "use `--policy ring` or `lock`")
    if request.schedule.policy not in {POLICY_UNSPECIFIED, *_POLICIES}:
        return bad(f"there is no policy {request.schedule.policy}", "use ring or lock")
    period = request.period
    if period.period_s != 0 or period.rounds > 1 or period.until_unix_ns != 0:
        return bad("periodic requests are not in this version", "ask once, without a period")
    return None


def _malformed(request: Request, limits: Limits) -> Refused | None:
    if request.idempotency and len(request.idempotency) != IDEMPOTENCY_BYTES:
        return bad(f"the idempotency key must have {IDEMPOTENCY_BYTES} bytes")
    if not (math.isfinite(request.timeout_s) and request.timeout_s >= 0):
        return bad(f"a timeout of {request.timeout_s:g} s makes no sense", "0 means none")
    ratio = request.agents.auto.coverage_ratio
    if not 0 <= ratio <= 1:
        return bad(f"coverage_ratio {ratio:g} is not between 0 and 1", "0 means the default")
    most = request.agents.auto.max_agents
    if 0 < most < request.min_agents:
        return bad(
            f"at least {request.min_agents} agents and at most {most} are wanted",
            "raise max_agents, or leave it out",
        )
    if len(request.destinations) > limits.destinations_per_request:
        return bad(
            f"{len(request.destinations)} destinations, and the master allows "
            f"{limits.destinations_per_request} in one request",
            "split the request",
        )
    return None


def _call(
    request: Request, find: Callable[[str], Technique | None], role: Role.ValueType
) -> Admitted | Refused:
    technique = find(request.call.technique)
    if technique is None:
        return bad(
            f"unknown technique {request.call.technique[:80]!r}",
            "`emodis-client request --help` lists the techniques",
        )
    if request.call.schema != technique.SCHEMA:
        return bad(
            f"{technique.NAME} parameters of schema {request.call.schema}, "
            f"this master knows {technique.SCHEMA}",
            "use a client and a master of the same version",
        )
    try:
        worst = technique.worst_case(request.call)
        kinds = needed(technique, request.call)
    except BadParameters as error:
        return bad(str(error))
    denied = "" if role == ROLE_MANAGER else for_managers(technique, request.call)
    if denied:
        hint = "`emodis-client measure` sends from your own host as you like"
        return Refused(code=CODE_POLICY, text=denied, hint=hint)
    if is_peered(technique):
        alone = _without_partner(request, technique)
        if alone is not None:
            return alone
    return Admitted(
        technique=technique,
        call=request.call,
        worst=worst,
        policy=policy_of(request.schedule.policy or technique.POLICY),
        kinds=kinds,
    )


def _without_partner(request: Request, technique: Technique) -> Refused | None:
    """Why there is nobody at the other end; agents are only ever sent to the requester itself."""
    if request.destinations:
        return bad(
            f"{technique.NAME} measures between an agent and the requester",
            "name no destination",
        )
    port, token = request.peer.tcp_port, request.peer.token
    in_range = igi_keys.LOWEST_PORT <= port <= igi_keys.HIGHEST_PORT
    reachable = in_range or (request.peer.relay and not port)
    if not reachable or len(token) != igi_keys.TOKEN_BYTES:
        return bad(
            f"{technique.NAME} needs a client that listens; this one offers no port for it",
            "use a client of the master's version",
        )
    return None
