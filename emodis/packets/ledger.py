"""What is known about the train in flight: pure bookkeeping, no socket and no clock."""

from __future__ import annotations

import attrs

from emodis.packets.flow import IdBlock
from emodis.packets.model import Echo, Kind, Reply, ReplyKind, Train
from emodis.packets.replies import Answer

# ICMP types and codes by which only an end host answers, whatever address it does it from:
# protocol and port unreachable.
_END_OF_PATH = {4: {(3, 2), (3, 3)}, 6: {(1, 4)}}


@attrs.define
class _Probe:
    ttl: int
    # The user's clock just before the send call, and an estimate of when this packet was queued.
    call_ns: int | None = None
    queued_user_ns: int | None = None
    queued_ns: int | None = None
    left_ns: int | None = None
    reply: Reply | None = None


class Ledger:
    """One train's probes and their answers."""

    def __init__(self, train: Train, ids: IdBlock, target: object) -> None:
        self._ids = ids
        self._target = target
        self._kind = train.kind
        self._probes = [_Probe(probe.ttl) for probe in train.probes]
        awaited = train.awaited
        if awaited is None:
            awaited = frozenset(i for i, probe in enumerate(train.probes) if not probe.muted)
        self._awaited = set(awaited)
        self.duplicates = 0
        self.answers = 0
        # Sent, and without a stamp of departure.
        self.unstamped = 0
        self._sent = 0
        self._last: _Probe | None = None

    @property
    def complete(self) -> bool:
        """Every awaited probe has its answer (or will never have one, behind the target)."""
        return not self._awaited

    @property
    def last_left_ns(self) -> int | None:
        """Departure of the last probe that was sent; None while its stamp is missing."""
        return self._last.left_ns if self._last is not None else None

    @property
    def queueing(self) -> bool:
        """Some probes are stamped as having left, others not: this host's shaper holds them."""
        return 0 < self.unstamped < self._sent

    @property
    def all_left(self) -> bool:
        """The last probe that was sent has left; those before it have, or never will."""
        return self.last_left_ns is not None

    @property
    def holding(self) -> bool:
        """This host's shaper may be holding the last of them."""
        return self.queueing and not self.all_left

    def sent(self, first: int, count: int, before_ns: int, after_ns: int) -> None:
        """Probes first..first+count-1 were taken by a send call between these two times."""
        for step, probe in enumerate(self._probes[first : first + count]):
            probe.call_ns = before_ns
            probe.queued_user_ns = before_ns + (after_ns - before_ns) * step // count
            self._last = probe
        self._sent += count
        self.unstamped += count

    def cut_short(self) -> None:
        """The probes that have not been sent never will be: nobody waits for them."""
        self._awaited -= {i for i in self._awaited if self._probes[i].call_ns is None}

    def queued(self, index: int, at_ns: int) -> None:
        """Take a kernel stamp of queueing in."""
        probe = self._probes[index]
        if probe.queued_ns is None and probe.call_ns is not None and at_ns >= probe.call_ns:
            probe.queued_ns = at_ns

    def left(self, index: int, at_ns: int) -> None:
        """Take a kernel stamp of departure in; one from before the send call is not ours."""
        probe = self._probes[index]
        if probe.left_ns is None and probe.call_ns is not None and at_ns >= probe.call_ns:
            probe.left_ns = at_ns
            self.unstamped -= 1

    def record(self, answer: Answer, received_ns: int) -> bool:
        """Take an answer in; False if it is to none of this train's probes.

        One that precedes its probe is dropped, a second one only counted.
        """
        index = self._index(answer, received_ns)
        if index is None:
            return False
        probe = self._probes[index]
        if probe.call_ns is None or received_ns < probe.call_ns:
            return False
        if probe.reply is not None:
            self.duplicates += 1
            return True
        probe.reply = Reply(
            received_ns=received_ns,
            address=answer.address,
            kind=answer.kind,
            icmp_type=answer.icmp_type,
            icmp_code=answer.icmp_code,
            ttl=answer.ttl,
            quoted_ttl=answer.quoted_ttl,
            quoted_tos=answer.quoted_tos,
            marks=answer.marks,
            mpls=answer.mpls,
            interfaces=answer.interfaces,
            far_ns=answer.far_ns,
        )
        self.answers += 1
        self._awaited.discard(index)
        if self._is_targets(answer):
            self._awaited -= {i for i in self._awaited if self._probes[i].ttl > probe.ttl}
        return True

    def _index(self, answer: Answer, received_ns: int) -> int | None:
        """Which probe was answered.

        A datagram names none: it is taken for an answer to the last probe before it, which is
        right as long as probes are further apart than a round trip takes.
        """
        if answer.probe_id is not None:
            return self._ids.index(answer.probe_id)
        before = (
            index
            for index, probe in enumerate(self._probes)
            if probe.call_ns is not None and probe.call_ns <= received_ns
        )
        return max(before, default=None)

    def _is_targets(self, answer: Answer) -> bool:
        if answer.kind is ReplyKind.TIME_EXCEEDED:
            # A router that happens to own the address, or a loop: not the end of the path.
            return False
        if answer.address == self._target:
            return True
        says = (answer.icmp_type, answer.icmp_code)
        return self._kind is Kind.UDP and says in _END_OF_PATH[answer.address.version]

    def echoes(self) -> tuple[tuple[Echo, ...], bool]:
        """What each probe experienced, and whether every departure is a kernel stamp.

        A probe that was queued and never left, while others were stamped, is stuck in or was
        dropped by this host's own queue: it counts as not sent. Without any stamp the time before
        the send call stands in.
        """
        stamped = any(probe.left_ns is not None for probe in self._probes)
        echoes = []
        kernel = stamped
        for probe in self._probes:
            sent = probe.left_ns
            if sent is None and probe.call_ns is not None:
                lost = stamped and probe.queued_ns is not None and probe.reply is None
                sent = None if lost else probe.queued_user_ns
                kernel = kernel and lost
            queued = probe.queued_ns if probe.queued_ns is not None else probe.queued_user_ns
            echoes.append(Echo(sent_ns=sent, reply=probe.reply, queued_ns=queued))
        return tuple(echoes), kernel
