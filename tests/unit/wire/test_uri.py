from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodis.wire.uri import BadUri, MasterUri, parse_master_uri


@pytest.mark.parametrize(
    ("text", "host", "port", "plaintext"),
    [
        ("master.example", "master.example", 4710, False),
        ("master.example:99", "master.example", 99, False),
        ("emodis://10.0.0.1", "10.0.0.1", 4710, False),
        ("emodis://10.0.0.1:1/", "10.0.0.1", 1, False),
        ("tcp://10.0.0.1:65535", "10.0.0.1", 65535, True),
        ("[::1]", "::1", 4710, False),
        ("tcp://[2001:db8::1]:5", "2001:db8::1", 5, True),
        ("  tcp://host  ", "host", 4710, True),
    ],
)
def test_the_forms(text: str, host: str, port: int, plaintext: bool) -> None:
    assert parse_master_uri(text, 4710) == MasterUri(host=host, port=port, plaintext=plaintext)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://x",
        "a b",
        "host:",
        "host:0",
        "host:65536",
        "host:x",
        "::1",
        "tcp://",
        "x/y",
        "[x]",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(BadUri):
        parse_master_uri(text, 4710)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_and_what_is_read_prints_itself(text: str) -> None:
    try:
        uri = parse_master_uri(text, 4710)
    except BadUri:
        return
    assert parse_master_uri(str(uri), 1) == uri
