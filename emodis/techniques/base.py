"""What a technique is: parameters with bounds, a conversation or a plan, a pure estimator.

Nothing here or in any technique opens a socket, reads a clock or knows Twisted. Messages are the
technique's own protobuf types (`techniques.proto`), carried as opaque bodies by everyone else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar, runtime_checkable

import attrs
from google.protobuf.message import Message

from emodis.packets.model import Address, Train, TrainOutcome
from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body, Ending, Outcome, Quality, Target

T = TypeVar("T")


class BadParameters(ValueError):
    """A parameter is unknown, malformed or out of range; the text says which, and the range."""


@attrs.frozen(kw_only=True)
class Spend:
    """What a run takes, for estimates, deadlines and budgets. Bytes are IP bytes sent."""

    duration_s: float
    sent_bytes: int


@attrs.frozen(kw_only=True)
class Cooperation:
    """The destination listens on this port and answers probes with this tag (`Train.tag`)."""

    port: int
    tag: bytes


@attrs.frozen(kw_only=True)
class Context:
    """What a conversation may know beside its parameters."""

    address: Address
    # For whatever must vary between runs; conversations have no other source of chance.
    seed: int
    # Whether the transport sends muted probes; without raw sockets none does.
    can_mute: bool = True
    # None: nothing is known of the destination but its address.
    cooperation: Cooperation | None = None
    # Two-ended techniques: the two speak to each other through the master.
    relayed: bool = False


@attrs.frozen(kw_only=True)
class Measured:
    """How a conversation ended. `result` is None where nothing could be estimated."""

    ending: Ending
    result: Message | None
    observations: Message
    quality: Quality


Conversation = Generator[Train, TrainOutcome, Measured]


# An agent's id and the index of a destination.
Pair = tuple[str, int]


@attrs.frozen(kw_only=True)
class Child:
    """A measurement that a plan asks for: every one of these agents to every one of these targets.

    `destinations` are indexes into the targets that the plan was given. Where not every agent
    shall measure every destination, `pairs` says who measures what.
    """

    call: Body
    agents: tuple[str, ...]
    destinations: tuple[int, ...]
    policy: Policy.ValueType
    pairs: frozenset[Pair] | None = None


# The answer to a child maps (agent id, destination index) to its outcome; what is missing never
# ended. What the plan returns at last is its own affair.
Plan = Generator[Child, Mapping[Pair, Outcome], T]


@attrs.frozen(kw_only=True)
class Vantage:
    """An agent as a plan sees it. `asn` 0 = unknown; an empty `id` is this very host."""

    id: str
    place: str = ""
    asn: int = 0
    # Only where the plan needs it: that of this very host.
    address: Address | None = None


@attrs.frozen(kw_only=True)
class Stored:
    """A result that was there before the plan began."""

    body: Body
    started_unix_ns: int


@attrs.frozen(kw_only=True)
class Scene:
    """What a plan may know beside its parameters.

    `pairs` is who shall measure what. `known` holds earlier results by the names of their
    techniques, of any agent. `owner` is the AS number of an address (0 = unknown); None where
    there is no map at all. `is_exchange`: the address lies on the fabric of an exchange point.
    """

    targets: tuple[Target, ...]
    agents: tuple[Vantage, ...]
    pairs: frozenset[Pair]
    policy: Policy.ValueType
    now_unix_ns: int
    known: Mapping[str, Mapping[Pair, Stored]] = attrs.field(factory=dict)
    owner: Callable[[Address], int] | None = None
    is_exchange: Callable[[Address], bool] = lambda address: False


@attrs.frozen
class Answer:
    """What was found towards a destination."""

    target: Target
    result: Body


@attrs.frozen(kw_only=True)
class Option:
    """One `-o name=value` of a technique, for help texts and error messages."""

    name: str
    unit: str
    default: object
    bounds: str
    help: str


class Technique(Protocol):
    """One way to measure. Instances are stateless and live in `registry`.

    Each is `Conversational` or `Planned`; what both have is here.
    """

    NAME: ClassVar[str]
    SCHEMA: ClassVar[int]
    # A run of it has its agent to itself (packet trains).
    EXCLUSIVE: ClassVar[bool]
    POLICY: ClassVar[Policy.ValueType]
    # Cannot be done without raw sockets.
    NEEDS_RAW: ClassVar[bool]
    SUMMARY: ClassVar[str]

    def options(self) -> Sequence[Option]:
        """Every parameter, in the order help shows them."""
        ...

    def call(self, options: Mapping[str, str]) -> Body:
        """Validate `-o` texts and make the call, defaults filled in.

        Raises:
            BadParameters: for an unknown name, a value that does not parse or is out of range.
        """
        ...

    def expected(self, call: Body) -> Spend:
        """What one agent usually takes for one destination, all children of a plan together.

        Raises BadParameters as `worst_case` does.
        """
        ...

    def worst_case(self, call: Body) -> Spend:
        """The deadline and the byte budget of a run; of a plan: of the longest run it asks for.

        Raises:
            BadParameters: for a body that does not decode, is out of range, or whose worst case
                exceeds 120 s.
        """
        ...

    def estimate(self, call: Body, observations: bytes) -> Measured:
        """Run the estimator again on stored observations."""
        ...

    def result(self, body: Body) -> Any:
        """Decode a result body into the technique's own message (ValueError if it is not one)."""
        ...

    def addresses(self, body: Body) -> Sequence[Address]:
        """Every address in a result, for looking up owners and names."""
        ...


class Conversational(Technique, Protocol):
    """A technique that one prober does alone."""

    def conversation(self, call: Body, context: Context) -> Conversation:
        """Say what to send, be told what came back, return what was measured."""
        ...


class Planned(Technique, Protocol):
    """A technique that is a plan: measurements of other techniques, and an estimator over them.

    The master (for agents) or the client (for its own host) carries it out: each child becomes a
    measurement of its own with `parent_id`, under the same scheduling, and what `plan` returns is
    stored and delivered as the results of the parent. Cancelling the parent takes the running
    child back and closes the generator. No agent runs it, so no volunteer has to enable it; it
    stands in `registry.PLANS`. `skeleton.PlanSkeleton` has all but the five things below.
    """

    # What every agent must be able to do.
    NEEDS: ClassVar[tuple[Technique, ...]]
    # True: a result for each agent and destination. False: one for each destination, from all
    # agents together; the agent id of its run is empty.
    EACH_AGENT: ClassVar[bool]

    def reuses(self, call: Body) -> Mapping[str, float]:
        """Techniques whose stored results it would use, with the greatest age in s."""
        ...

    def plan(self, call: Body, scene: Scene) -> Plan[Mapping[Pair, Measured]]:
        """Ask for measurements, be told what came of them, return what they mean.

        The keys of what it returns are `result_pairs`; one that is missing ends as failed.
        """
        ...


def is_plan(technique: Technique) -> TypeGuard[Planned]:
    """Whether it is `Planned`."""
    return hasattr(technique, "plan")


class Peered(Technique, Protocol):
    """A technique with two ends: a prober sends paced trains, the requester's host reports them.

    A request for it carries a `PeerOffer`, and its destination is the requester itself.
    """

    def talk_to_peer(
        self, call: Body, context: Context
    ) -> Generator[PacedTrain, PacedOutcome, Measured]:
        """Say what to send, be told how it left and arrived, return what was measured."""
        ...

    def partner_sends(self, call: Body) -> bool:
        """Whether some of the trains go the other way."""
        ...


def is_peered(technique: Technique) -> TypeGuard[Peered]:
    """Whether it is `Peered`."""
    return hasattr(technique, "talk_to_peer")


def cooperates(technique: Technique) -> bool:
    """Whether it makes use of a destination that listens: `Context.cooperation`.

    A request for such a technique that names no destination may carry a `PeerOffer` with an
    answering port; without one, or where nothing gets through, it measures all the same.
    """
    return bool(getattr(technique, "COOPERATES", False))


def for_managers(technique: Technique, call: Body) -> str:
    """Why only a manager may ask agents for this; empty: anybody may.

    A technique with such a rule has a method `for_managers` of its own. What a host measures for
    its own user is not asked.
    """
    own: Callable[[Body], str] | None = getattr(technique, "for_managers", None)
    return own(call) if own is not None else ""


@attrs.frozen
class Sides:
    """Who has to measure: this very host outwards, agents towards the destination, or both."""

    here: bool
    there: bool


class Outward(Planned, Protocol):
    """A plan with a side that only the requester's own host can measure: the ways out of it.

    The client carries that out. In its scene `agents` begins with this host (its `id` is empty);
    the others are landmarks, which `targets` have by the same names.
    """

    def sides(self, call: Body) -> Sides:
        """Who has to measure."""
        ...

    def outward_spend(self, call: Body, landmarks: int) -> Spend:
        """What that usually takes towards so many landmarks."""
        ...

    def outward(self, call: Body, scene: Scene) -> Plan[Measured]:
        """Ask for measurements of this host, be told what came of them, return what they mean."""
        ...

    def joined(self, call: Body, observations: bytes, others: Sequence[Answer]) -> Measured:
        """The same with what agents found at other ends."""
        ...


def is_outward(technique: Technique) -> TypeGuard[Outward]:
    """Whether it is `Outward`."""
    return hasattr(technique, "outward")


def result_pairs(technique: Technique, pairs: frozenset[Pair]) -> frozenset[Pair]:
    """The results there will be when these agents measure these destinations."""
    if is_plan(technique) and not technique.EACH_AGENT:
        return frozenset(("", destination) for _, destination in pairs)
    return pairs


@runtime_checkable
class Speaking(Protocol):
    """A technique that puts its own results into words, for faces that know nothing of it."""

    def sentence(self, result: Any) -> str:
        """What one run found, in a sentence without its full stop; "" leaves it to the table."""
        ...
