from __future__ import annotations

import pytest

from emodis.agent.greeting import capabilities, forbidden_master
from emodis.wire.v1.common_pb2 import (
    PACKET_KIND_TCP,
    PACKET_KIND_UDP,
    TRANSPORT_UNPRIVILEGED,
)
from emodis.wire.v1.prober_pb2 import ProberReady
from tests.support.agents import FakeTechnique, techniques


@pytest.mark.parametrize(
    ("host", "insecure", "allowed"),
    [
        ("127.0.0.1", False, True),
        ("127.9.9.9", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("10.0.0.1", False, False),
        ("10.0.0.1", True, True),
        ("198.51.100.7", True, True),
        ("8.8.8.8", True, False),
        ("::ffff:8.8.8.8", True, False),
        # Names are asked about when they have an address.
        ("localhost", False, True),
    ],
)
def test_where_plaintext_may_go(host: str, insecure: bool, allowed: bool) -> None:
    assert (forbidden_master(host, insecure=insecure) is None) is allowed


def test_what_needs_raw_sockets_is_not_offered_without() -> None:
    known = {**techniques(), "easy": FakeTechnique("easy", NEEDS_RAW=False)}
    ready = ProberReady(
        transports=[TRANSPORT_UNPRIVILEGED], families=3, kinds=[PACKET_KIND_UDP, PACKET_KIND_TCP]
    )
    offered = capabilities(ready, ["easy", "light"], known)  # type: ignore[arg-type]
    assert [(c.technique, c.raw, c.families) for c in offered] == [("easy", False, 3)]
    assert offered[0].kinds == [PACKET_KIND_UDP, PACKET_KIND_TCP]
