from __future__ import annotations

import pytest

from emodis.client.places import objection


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("insecure", [False, True])
def test_loopback_always(address: str, insecure: bool) -> None:
    assert objection(address, insecure=insecure) is None


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.1", "203.0.113.9", "fd00::1"])
def test_private_and_lab_only_when_told_so(address: str) -> None:
    assert objection(address, insecure=True) is None
    assert "--insecure" in (objection(address, insecure=False) or "")


@pytest.mark.parametrize("address", ["8.8.8.8", "2600::1", "::ffff:8.8.8.8", "fe80::1%eth0"])
@pytest.mark.parametrize("insecure", [False, True])
def test_public_addresses_never(address: str, insecure: bool) -> None:
    assert "no TLS" in (objection(address, insecure=insecure) or "")
