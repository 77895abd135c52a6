from __future__ import annotations

import errno
import os

import attrs
import pytest

from emodis.lab import kernel
from emodis.lab.isolation import Refused, isolate


@attrs.define
class Kernel:
    """A kernel that refuses some kinds of namespace."""

    refuses: int
    number: int
    asked: list[int] = attrs.field(factory=list)
    written: list[str] = attrs.field(factory=list)

    def unshare(self, kinds: int) -> None:
        self.asked.append(kinds)
        granted = kernel.NEWUSER in self.asked[:-1]
        if kinds & self.refuses and not granted:
            raise OSError(self.number, os.strerror(self.number))

    def put(self, path: str, text: str) -> None:
        self.written.append(f"{path}={text}")


def installed(fake: Kernel, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(kernel, "unshare", fake.unshare)
    monkeypatch.setattr(kernel, "put", fake.put)
    monkeypatch.setattr(kernel, "set_dumpable", lambda: None)
    return fake


def test_who_may_needs_no_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = installed(Kernel(refuses=0, number=0), monkeypatch)
    assert isolate() is False
    assert kernel.NEWUSER not in fake.asked


def test_who_may_not_becomes_root_in_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = installed(Kernel(refuses=kernel.NEWNET, number=errno.EPERM), monkeypatch)
    assert isolate() is True
    assert f"/proc/self/uid_map=0 {os.getuid()} 1" in fake.written


@pytest.mark.parametrize(
    ("refuses", "number", "line"),
    [
        (
            kernel.NEWNET | kernel.NEWUSER,
            errno.EPERM,
            "no lab here: the kernel refuses a user namespace (Operation not permitted); run as",
        ),
        (
            kernel.NEWNET,
            errno.ENOSPC,
            "no lab here: the kernel refuses new namespaces (No space left on device); look at",
        ),
    ],
)
def test_a_refusal_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, refuses: int, number: int, line: str
) -> None:
    installed(Kernel(refuses=refuses, number=number), monkeypatch)
    with pytest.raises(Refused) as caught:
        isolate()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
