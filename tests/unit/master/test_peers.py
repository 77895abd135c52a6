"""Techniques with two ends: only with a client that listens, and a token for each run."""

from __future__ import annotations

from typing import Any

import pytest

from emodis.master.admission import Admitted, admit
from emodis.master.assigner import partner_of
from emodis.master.config import Limits
from emodis.master.measurement import Measurement
from emodis.techniques import igi_keys, registry
from emodis.wire.v1.client_pb2 import Refused, Request
from emodis.wire.v1.common_pb2 import ROLE_MANAGER, PeerOffer, RunKey

IGI = registry.get("igi")
TOKEN = bytes(range(16))
OFFER = PeerOffer(tcp_port=40000, token=TOKEN)
RUN = RunKey(measurement_id="m", agent_id="a")


def wanted(**fields: Any) -> Request:
    return Request(**{"call": IGI.call({}), "peer": OFFER, **fields})


def verdict(request: Request) -> Admitted | Refused:
    return admit(request, find=registry.get, limits=Limits(), role=ROLE_MANAGER)


def measurement(request: Request) -> Measurement:
    return Measurement(
        id="m",
        client_id="c",
        call=request.call,
        technique=registry.get(request.call.technique),
        targets=(),
        request=request,
        budget_s=1.0,
        admitted_unix_ns=0,
    )


def test_a_client_that_listens_is_admitted() -> None:
    assert isinstance(verdict(wanted()), Admitted)


@pytest.mark.parametrize(
    "fields",
    [
        {"peer": PeerOffer()},
        {"peer": PeerOffer(tcp_port=80, token=TOKEN)},
        {"peer": PeerOffer(tcp_port=70_000, token=TOKEN)},
        {"peer": PeerOffer(tcp_port=40000, token=b"short")},
        {"peer": PeerOffer(tcp_port=80, token=TOKEN, relay=True)},
        {"destinations": ["192.0.2.7"]},
    ],
)
def test_agents_are_sent_to_nobody_else(fields: dict[str, Any]) -> None:
    assert isinstance(verdict(wanted(**fields)), Refused)


def test_a_client_that_cannot_listen_is_admitted_if_the_master_may_carry_its_words() -> None:
    offer = PeerOffer(token=TOKEN, relay=True)
    assert isinstance(verdict(wanted(peer=offer)), Admitted)
    handed = partner_of(measurement(wanted(peer=offer)), RUN)
    assert handed is not None
    assert handed.relay


def test_every_run_gets_a_token_of_its_own() -> None:
    offer = partner_of(measurement(wanted()), RUN)
    assert offer == PeerOffer(tcp_port=40000, token=igi_keys.run_token(TOKEN, RUN))
    other = partner_of(measurement(wanted()), RunKey(measurement_id="m", agent_id="b"))
    assert other is not None
    assert other.token not in {offer.token, TOKEN}


def test_other_techniques_have_no_partner() -> None:
    request = Request(call=registry.get("ping").call({}), peer=OFFER)
    assert partner_of(measurement(request), RUN) is None


ANSWERS = PeerOffer(answering_port=40001, token=TOKEN)


def test_where_the_client_answers_is_told_if_it_is_the_destination() -> None:
    request = Request(call=registry.get("pathneck").call({}), peer=ANSWERS)
    assert partner_of(measurement(request), RUN) == ANSWERS
    request.destinations.append("192.0.2.7")
    assert partner_of(measurement(request), RUN) is None
    request = Request(call=registry.get("ping").call({}), peer=ANSWERS)
    assert partner_of(measurement(request), RUN) is None


def test_the_token_is_not_written_down() -> None:
    kept = measurement(wanted()).record().request
    assert not kept.HasField("peer")
    assert kept.call == IGI.call({})
