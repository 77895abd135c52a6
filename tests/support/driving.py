"""Lets a conversation have its trains carried by a simulated path."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeVar

Sent = TypeVar("Sent")
Seen = TypeVar("Seen")
Found = TypeVar("Found")
SentIn = TypeVar("SentIn", contravariant=True)
SeenOut = TypeVar("SeenOut", covariant=True)


class Carrier(Protocol[SentIn, SeenOut]):
    """What trains can be sent over."""

    def carry(self, train: SentIn, /) -> SeenOut: ...


def drive(talk: Generator[Sent, Seen, Found], network: Carrier[Sent, Seen]) -> Found:
    """Run a conversation over a path to its end."""
    try:
        train = next(talk)
        while True:
            train = talk.send(network.carry(train))
    except StopIteration as end:
        result: Found = end.value
        return result
