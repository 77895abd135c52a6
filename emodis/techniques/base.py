"""What a technique is: parameters with bounds, a conversation or a plan, a pure estimator.

Nothing here or in any technique opens a socket, reads a clock or knows Twisted. Messages are the
technique's own protobuf types (`techniques.proto`), carried as opaque bodies by everyone else.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import attrs
from google.protobuf.message import Message

from emodis.packets.model import Address, Train, TrainOutcome
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Body, Ending, Outcome, Quality

T = TypeVar("T")


class BadParameters(ValueError):
    """A parameter is unknown, malformed or out of range; the text says which, and the range."""


@attrs.frozen(kw_only=True)
class Spend:
    """What a run takes, for estimates, deadlines and budgets. Bytes are IP bytes sent."""

    duration_s: float
    sent_bytes: int


@attrs.frozen(kw_only=True)
class Context:
    """What a conversation may know beside its parameters."""

    address: Address
    # For whatever must vary between runs; conversations have no other source of chance.
    seed: int


@attrs.frozen(kw_only=True)
class Measured:
    """How a conversation ended. `result` is None where nothing could be estimated."""

    ending: Ending
    result: Message | None
    observations: Message
    quality: Quality


Conversation = Generator[Train, TrainOutcome, Measured]


@attrs.frozen(kw_only=True)
class Child:
    """A measurement that a plan asks for: every one of these agents to every one of these targets.

    `destinations` are indexes into the targets that the plan was given.
    """

    call: Body
    agents: tuple[str, ...]
    destinations: tuple[int, ...]
    policy: Policy.ValueType


# The answer to a child maps (agent id, destination index) to its outcome; what is missing never
# ended. What the plan returns at last is its own affair.
Plan = Generator[Child, Mapping[tuple[str, int], Outcome], T]


@attrs.frozen(kw_only=True)
class Option:
    """One `-o name=value` of a technique, for help texts and error messages."""

    name: str
    unit: str
    default: object
    bounds: str
    help: str


class Technique(Protocol):
    """One way to measure. Instances are stateless and live in `registry`."""

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
        """What a run usually takes; raises BadParameters as `worst_case` does."""
        ...

    def worst_case(self, call: Body) -> Spend:
        """The deadline and the byte budget of a run.

        Raises:
            BadParameters: for a body that does not decode, is out of range, or whose worst case
                exceeds 120 s.
        """
        ...

    def conversation(self, call: Body, context: Context) -> Conversation:
        """Say what to send, be told what came back, return what was measured."""
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
