from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import attrs
import pytest

from emodis.packets.flow import IdBlock
from emodis.packets.ledger import Ledger
from emodis.packets.model import Kind, Mark, MplsLabel, Probe, ReplyKind, Train
from emodis.packets.replies import Answer
from tests.unit.packets.answers import ROUTER, THERE

IDS = IdBlock(100, 20)


def ledger(
    ttls: list[int], *, muted: set[int] | None = None, awaited: set[int] | None = None
) -> Ledger:
    """A train of these TTLs that has been sent by one call from 1000 to 2000 ns."""
    probes = tuple(
        Probe(ttl=ttl, size_bytes=60, muted=index in (muted or ()))
        for index, ttl in enumerate(ttls)
    )
    train = Train(
        kind=Kind.UDP,
        probes=probes,
        wait_ns=1,
        awaited=None if awaited is None else frozenset(awaited),
    )
    made = Ledger(train, IdBlock(IDS.first, len(probes)), THERE)
    made.sent(0, len(probes), 1000, 2000)
    return made


def answer(
    index: int,
    *,
    kind: ReplyKind = ReplyKind.TIME_EXCEEDED,
    source: str | IPv4Address = ROUTER,
    code: int = 0,
) -> Answer:
    icmp_type = {ReplyKind.ECHO_REPLY: 0, ReplyKind.UNREACHABLE: 3}.get(kind, 11)
    return Answer(
        probe_id=IDS.at(index),
        kind=kind,
        address=IPv4Address(source),
        icmp_type=icmp_type,
        icmp_code=code,
        ttl=60,
        quoted_ttl=1,
        size_bytes=88,
        marks=frozenset({Mark.NAT}),
        mpls=(MplsLabel(label=16, traffic_class=0, bottom=True, ttl=1),),
    )


def arrival(index: int) -> Answer:
    """The destination's own answer."""
    return answer(index, kind=ReplyKind.UNREACHABLE, source=THERE, code=3)


class TestCompletion:
    def test_it_is_complete_when_every_probe_is_answered(self) -> None:
        made = ledger([1, 2])
        assert not made.complete
        made.record(answer(0), 3000)
        assert not made.complete
        made.record(answer(1), 3000)
        assert made.complete

    def test_muted_probes_are_not_awaited(self) -> None:
        made = ledger([1, 255, 2], muted={1})
        made.record(answer(0), 3000)
        made.record(answer(2), 3000)
        assert made.complete

    def test_only_those_listed_are_awaited(self) -> None:
        made = ledger([1, 2, 3], awaited={1})
        made.record(answer(1), 3000)
        assert made.complete

    def test_the_target_answers_for_all_larger_ttls(self) -> None:
        made = ledger([1, 2, 3, 4])
        made.record(arrival(2), 3000)
        made.record(answer(0), 3000)
        assert not made.complete
        made.record(answer(1), 3000)
        assert made.complete

    def test_a_router_that_cannot_deliver_answers_for_itself_only(self) -> None:
        made = ledger([1, 2])
        made.record(answer(0, kind=ReplyKind.UNREACHABLE, code=1), 3000)
        assert not made.complete

    def test_a_port_unreachable_is_the_target_under_another_address(self) -> None:
        made = ledger([1, 2])
        made.record(answer(0, kind=ReplyKind.UNREACHABLE, code=3), 3000)
        assert made.complete

    @pytest.mark.parametrize(("code", "ends"), [(4, True), (0, False), (2, False), (3, False)])
    def test_ipv6_says_port_unreachable_by_another_code(self, code: int, ends: bool) -> None:
        made = ledger([1, 2])
        refusal = attrs.evolve(
            answer(0), kind=ReplyKind.UNREACHABLE, address=ip_address("fd00::7"), icmp_type=1
        )
        made.record(attrs.evolve(refusal, icmp_code=code), 3000)
        assert made.complete is ends

    def test_time_exceeded_from_the_target_does_not_end_the_path(self) -> None:
        made = ledger([1, 2])
        made.record(answer(0, source=THERE), 3000)
        assert not made.complete

    def test_what_will_never_be_sent_is_not_awaited(self) -> None:
        probes = (Probe(ttl=1, size_bytes=60), Probe(ttl=2, size_bytes=60))
        train = Train(kind=Kind.UDP, probes=probes, wait_ns=1)
        made = Ledger(train, IdBlock(IDS.first, 2), THERE)
        made.sent(0, 1, 1000, 2000)
        made.cut_short()
        assert not made.complete
        made.record(answer(0), 3000)
        assert made.complete


class TestAnswers:
    def test_what_the_router_told_of_the_path_is_kept(self) -> None:
        made = ledger([1])
        made.record(answer(0), 3000)
        (echo,), _ = made.echoes()
        assert echo.reply is not None
        assert echo.reply.marks == {Mark.NAT}
        assert [entry.label for entry in echo.reply.mpls] == [16]

    def test_a_datagram_answers_the_last_probe_before_it(self) -> None:
        probes = tuple(Probe(ttl=64, size_bytes=60) for _ in range(3))
        made = Ledger(Train(kind=Kind.UDP, probes=probes, wait_ns=1), IdBlock(IDS.first, 3), THERE)
        spoken = Answer(
            probe_id=None, kind=ReplyKind.DATAGRAM, address=THERE, ttl=60, size_bytes=33
        )
        assert not made.record(spoken, 500)
        made.sent(0, 1, 1000, 1100)
        made.sent(1, 1, 2000, 2100)
        assert not made.record(spoken, 500)
        assert made.record(spoken, 1500)
        made.sent(2, 1, 3000, 3100)
        assert made.record(spoken, 2500)
        assert made.record(spoken, 2600)
        echoes, _ = made.echoes()
        assert [echo.reply and echo.reply.received_ns for echo in echoes] == [1500, 2500, None]
        assert made.duplicates == 1

    def test_the_first_is_kept_and_the_others_counted(self) -> None:
        made = ledger([1])
        assert made.record(answer(0), 3000)
        assert made.record(answer(0, source="10.0.0.9"), 2500)
        echoes, _ = made.echoes()
        assert echoes[0].reply is not None
        assert str(echoes[0].reply.address) == ROUTER
        assert (made.answers, made.duplicates) == (1, 1)

    def test_one_that_precedes_its_probe_is_dropped(self) -> None:
        made = ledger([1])
        assert not made.record(answer(0), 999)
        assert made.echoes()[0][0].reply is None

    def test_one_to_another_train_is_not_ours(self) -> None:
        made = ledger([1])
        assert not made.record(answer(5), 3000)
        assert made.answers == 0

    def test_one_to_a_probe_that_never_left_is_not_believed(self) -> None:
        train = Train(kind=Kind.UDP, probes=(Probe(ttl=1, size_bytes=60),), wait_ns=1)
        made = Ledger(train, IdBlock(100, 1), THERE)
        assert not made.record(answer(0), 3000)
        echo = made.echoes()[0][0]
        assert (echo.sent_ns, echo.queued_ns) == (None, None)


class TestStamps:
    def test_kernel_stamps_are_preferred(self) -> None:
        made = ledger([1, 2])
        for index in (0, 1):
            made.queued(index, 1100 + index)
            made.left(index, 1500 + index)
        echoes, kernel = made.echoes()
        assert kernel
        assert [(echo.queued_ns, echo.sent_ns) for echo in echoes] == [(1100, 1500), (1101, 1501)]
        assert made.last_left_ns == 1501
        assert made.unstamped == 0

    def test_without_any_the_clock_around_the_call_stands_in(self) -> None:
        echoes, kernel = ledger([1, 2, 3, 4]).echoes()
        assert not kernel
        assert [echo.sent_ns for echo in echoes] == [1000, 1250, 1500, 1750]
        assert [echo.queued_ns for echo in echoes] == [1000, 1250, 1500, 1750]

    def test_one_that_stays_in_our_own_queue_was_not_sent(self) -> None:
        made = ledger([1, 2])
        made.queued(0, 1100)
        made.queued(1, 1101)
        made.left(0, 1500)
        assert made.queueing
        echoes, kernel = made.echoes()
        assert kernel
        assert (echoes[1].sent_ns, echoes[1].queued_ns) == (None, 1101)

    def test_one_that_lost_its_stamps_but_was_answered_did_leave(self) -> None:
        made = ledger([1, 2])
        made.left(0, 1500)
        made.record(answer(1), 3000)
        echoes, kernel = made.echoes()
        assert not kernel
        assert echoes[1].sent_ns == 1500

    @pytest.mark.parametrize("at_ns", [0, 999])
    def test_a_stamp_from_before_the_call_is_another_packets(self, at_ns: int) -> None:
        made = ledger([1])
        made.queued(0, at_ns)
        made.left(0, at_ns)
        echoes, kernel = made.echoes()
        assert not kernel
        assert echoes[0].sent_ns == 1000

    def test_only_the_first_stamp_counts(self) -> None:
        made = ledger([1])
        made.left(0, 1500)
        made.left(0, 1700)
        assert made.echoes()[0][0].sent_ns == 1500
        assert made.unstamped == 0
