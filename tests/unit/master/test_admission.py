from __future__ import annotations

import pytest

from emodis.master.admission import Admitted, admit
from emodis.master.config import Limits
from emodis.techniques import registry
from emodis.wire.v1.client_pb2 import Refused, Request
from emodis.wire.v1.common_pb2 import CODE_POLICY, ROLE_MANAGER, ROLE_REQUESTER, Role


def admitted(technique: str, role: Role.ValueType, interval_s: str) -> Admitted | Refused:
    call = registry.get(technique).call({"interval_s": interval_s})
    return admit(Request(call=call), find=registry.get, limits=Limits(), role=role)


@pytest.mark.parametrize("technique", ["ping", "loss"])
def test_a_requester_may_not_have_agents_send_fast(technique: str) -> None:
    refused = admitted(technique, ROLE_REQUESTER, "0.05")
    assert isinstance(refused, Refused)
    assert refused.code == CODE_POLICY
    assert "below 0.1 s is for managers" in refused.text
    assert "emodis-client measure" in refused.hint


@pytest.mark.parametrize("technique", ["ping", "loss"])
@pytest.mark.parametrize(("role", "interval_s"), [(ROLE_REQUESTER, "0.1"), (ROLE_MANAGER, "0.02")])
def test_who_may(technique: str, role: Role.ValueType, interval_s: str) -> None:
    assert isinstance(admitted(technique, role, interval_s), Admitted)
