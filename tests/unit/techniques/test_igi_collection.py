"""Which datagrams are probes of a train that the partner sends."""

from __future__ import annotations

from emodis.techniques import igi_keys
from emodis.techniques.igi_collection import Collection

TAG = b"t" * igi_keys.TAG_BYTES
PROBES = [igi_keys.probe_header(TAG, 3, number) + b"noise" for number in range(3)]
STRANGE = (
    b"",
    PROBES[2],
    igi_keys.probe_header(TAG, 2, 0),
    igi_keys.probe_header(b"u" * igi_keys.TAG_BYTES, 3, 0),
)


def test_each_probe_counts_once_in_order_of_arrival() -> None:
    found = Collection(tag=TAG, train=3, packets=2)
    for number, at_ns in ((1, 10), (1, 13), (0, 14)):
        found.add(PROBES[number], at_ns, from_partner=True)
    assert found.complete
    assert found.arrivals == ((1, 10), (0, 14))
    assert (found.duplicates, found.foreign) == (1, 0)


def test_what_is_no_probe_of_the_partner_is_foreign() -> None:
    found = Collection(tag=TAG, train=3, packets=2)
    for payload in STRANGE:
        found.add(payload, 11, from_partner=True)
    found.add(PROBES[0], 12, from_partner=False)
    assert (found.arrivals, found.foreign) == ((), 5)
