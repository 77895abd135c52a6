"""What every technique of ours does the same way: calls in, parameters out, costs checked.

A technique fills in its classes and four methods; `base.Technique` is what the rest sees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from emodis.packets.model import Address
from emodis.techniques import parameters
from emodis.techniques.base import (
    BadParameters,
    Context,
    Conversation,
    Measured,
    Option,
    Pair,
    Plan,
    Scene,
    Spend,
    Technique,
)
from emodis.techniques.kinds import BY_PROTO, Kinds
from emodis.wire.v1.client_pb2 import Policy
from emodis.wire.v1.common_pb2 import Blame, Body, End, Ending, Quality

ChosenT = TypeVar("ChosenT")
ObservedT = TypeVar("ObservedT", bound=Message)
ResultT = TypeVar("ResultT", bound=Message)

# No single run may last longer (DESIGN.md section 4).
LONGEST_RUN_S = 120.0
DONE = Ending(end=End.END_DONE)


def failed(reason: str, hint: str, blame: Blame.ValueType) -> Ending:
    """It was tried and did not work."""
    return Ending(end=End.END_FAILED, reason=reason, hint=hint, blame=blame)


def nothing_sent() -> Ending:
    """No probe of a run has left."""
    hint = (
        "No probe left the measuring host; its doctor says what is missing (`emodis-agent doctor`, "
        "on a host of your own `emodis-client doctor`)."
    )
    return failed("send_failed", hint, Blame.BLAME_AGENT)


def grade(fair: Sequence[str], poor: Sequence[str]) -> Quality:
    """The quality word that follows from reasons to doubt."""
    word = Quality.WORD_POOR if poor else Quality.WORD_FAIR if fair else Quality.WORD_GOOD
    return Quality(word=word, reasons=[*poor, *fair])


class Form(ABC, Generic[ChosenT, ObservedT, ResultT]):
    """A technique's parameters, observations and result, whoever does it."""

    NAME: ClassVar[str]
    SCHEMA: ClassVar[int] = 1
    EXCLUSIVE: ClassVar[bool] = False
    # Until PM_RAN exists, light techniques run under `lock`.
    POLICY: ClassVar[Policy.ValueType] = Policy.POLICY_LOCK
    NEEDS_RAW: ClassVar[bool] = False
    SUMMARY: ClassVar[str]

    PARAMETERS: ClassVar[type[Any]]
    CALL: ClassVar[type[Message]]
    OBSERVATIONS: ClassVar[type[Message]]
    RESULT: ClassVar[type[Message]]

    @abstractmethod
    def usual(self, chosen: ChosenT) -> Spend:
        """What a run usually takes."""

    @abstractmethod
    def worst(self, chosen: ChosenT) -> Spend:
        """What a run takes at most."""

    @abstractmethod
    def evaluate(self, chosen: ChosenT, observations: ObservedT) -> Measured:
        """The pure estimator."""

    @abstractmethod
    def addresses(self, body: Body) -> Sequence[Address]:
        """Every address in a result."""

    def kinds(self, chosen: ChosenT) -> Kinds:
        """What must be sent: what the parameter `proto` says, UDP where there is none."""
        kind = BY_PROTO.get(getattr(chosen, "proto", "udp"))
        return frozenset() if kind is None else frozenset({kind})

    def needs(self, call: Body) -> Kinds:
        """See `kinds.Needing`."""
        return self.kinds(self._chosen(call))

    def options(self) -> Sequence[Option]:
        """Every parameter, in the order help shows them."""
        return parameters.options(self.PARAMETERS)

    def call(self, options: Mapping[str, str]) -> Body:
        """Validate `-o` texts and make the call, defaults filled in."""
        chosen = parameters.parse(self.PARAMETERS, options)
        self._bounded(chosen)
        message = parameters.to_message(chosen, self.CALL)
        return self._body(message)

    def expected(self, call: Body) -> Spend:
        """What a run usually takes."""
        return self.usual(self._chosen(call))

    def worst_case(self, call: Body) -> Spend:
        """The deadline and the byte budget of a run."""
        return self._bounded(self._chosen(call))

    def estimate(self, call: Body, observations: bytes) -> Measured:
        """Run the estimator again on stored observations (ValueError if they do not decode)."""
        return self.evaluate(self._chosen(call), self._decode(self.OBSERVATIONS, observations))

    def result(self, body: Body) -> ResultT:
        """Decode a result body (ValueError if it is not one of ours)."""
        self._check_ours(body, ValueError)
        decoded: ResultT = self._decode(self.RESULT, body.body)
        return decoded

    def _chosen(self, call: Body) -> ChosenT:
        self._check_ours(call, BadParameters)
        try:
            message = self._decode(self.CALL, call.body)
        except ValueError as error:
            raise BadParameters(str(error)) from error
        chosen: ChosenT = parameters.from_message(self.PARAMETERS, message)
        self._bounded(chosen)
        return chosen

    def _bounded(self, chosen: ChosenT) -> Spend:
        worst = self.worst(chosen)
        if worst.duration_s > LONGEST_RUN_S:
            raise BadParameters(
                f"these {self.NAME} parameters may take {worst.duration_s:.0f} s; "
                f"no run may take more than {LONGEST_RUN_S:.0f} s"
            )
        return worst

    def _body(self, message: Message) -> Body:
        return Body(technique=self.NAME, schema=self.SCHEMA, body=message.SerializeToString())

    def _check_ours(self, body: Body, error: type[ValueError]) -> None:
        if body.technique != self.NAME:
            raise error(f"this is {body.technique!r}, not {self.NAME!r}")
        if body.schema != self.SCHEMA:
            raise error(
                f"{self.NAME} speaks schema {self.SCHEMA} here, the other side {body.schema}"
            )

    def _decode(self, kind: type[Any], data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError as error:
            raise ValueError(f"not a {kind.DESCRIPTOR.name} of {self.NAME}") from error


class Skeleton(Form[ChosenT, ObservedT, ResultT]):
    """A technique that one prober does alone."""

    @abstractmethod
    def talk(self, chosen: ChosenT, context: Context) -> Conversation:
        """The conversation itself."""

    def conversation(self, call: Body, context: Context) -> Conversation:
        """Say what to send, be told what came back, return what was measured."""
        return self.talk(self._chosen(call), context)


class PlanSkeleton(Form[ChosenT, ObservedT, ResultT]):
    """A technique that is a plan. `usual` and `worst` are of its runs: see `base.Technique`."""

    NEEDS: ClassVar[tuple[Technique, ...]]
    EACH_AGENT: ClassVar[bool]

    @abstractmethod
    def ages(self, chosen: ChosenT) -> Mapping[str, float]:
        """Techniques whose stored results it would use, with the greatest age in s."""

    @abstractmethod
    def steps(self, chosen: ChosenT, scene: Scene) -> Plan[Mapping[Pair, Measured]]:
        """The plan itself."""

    def reuses(self, call: Body) -> Mapping[str, float]:
        """Techniques whose stored results it would use, with the greatest age in s."""
        return self.ages(self._chosen(call))

    def plan(self, call: Body, scene: Scene) -> Plan[Mapping[Pair, Measured]]:
        """Ask for measurements, be told what came of them, return what they mean."""
        return self.steps(self._chosen(call), scene)
