from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from emodis.topology.exchanges import BadPrefixes, Exchanges

LIST = """
# fabric       name
198.51.100.0/24 # Big Exchange
203.0.113.128/26
2001:db8:7::/64
"""


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("198.51.100.77", True),
        ("198.51.101.77", False),
        ("203.0.113.129", True),
        ("203.0.113.1", False),
        ("2001:db8:7::5", True),
        ("2001:db8:8::5", False),
    ],
)
def test_what_lies_on_a_fabric(text: str, inside: bool) -> None:
    assert (ip_address(text) in Exchanges.parse(LIST.splitlines())) is inside


def test_without_a_list_nothing_does() -> None:
    assert ip_address("198.51.100.77") not in Exchanges()
    assert "198.51.100.77" not in Exchanges.parse(LIST.splitlines())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("198.51.100.0/33", "line 2"),
        ("198.51.100.7/24", "host bits"),
        ("exchange", "line 2"),
        ("0.0.0.0/0", "is everything"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "exchanges.txt"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(BadPrefixes, match=why) as caught:
        Exchanges.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadPrefixes, match="cannot read the exchanges"):
        Exchanges.open(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadPrefixes, match="no text file"):
        Exchanges.open(tmp_path / "binary")
