from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emodis.master.cli import main
from emodis.master.config import BadConfiguration, Settings, endpoint, load

HOME = Path("/home/somebody")


def settings(
    text: str | None = None,
    tmp_path: Path | None = None,
    environment: dict[str, str] | None = None,
    **flags: Any,
) -> Settings:
    file = None
    if text is not None:
        assert tmp_path is not None
        file = tmp_path / "master.toml"
        file.write_text(text)
    return load(flags, environment or {}, file, HOME)


def test_defaults_stay_on_loopback() -> None:
    made = settings()
    assert made.listen_agents == "tcp:4710:interface=127.0.0.1"
    assert made.listen_clients == "tcp:4711:interface=127.0.0.1"
    assert made.keepalive.interval_s == 15
    assert made.state_dir == HOME / ".local/state/emodis/master"
    assert made.store_url.endswith("/emodis/master/emodis.sqlite3")
    assert made.store_url.startswith("sqlite:////")


def test_flag_before_environment_before_file(tmp_path: Path) -> None:
    text = 'listen_agents = "tcp:1"\nlisten_clients = "tcp:2"\nstate_dir = "/file"\n'
    environment = {"EMODIS_MASTER_LISTEN_CLIENTS": "tcp:3", "EMODIS_MASTER_STATE_DIR": "/env"}
    made = settings(text, tmp_path, environment, state_dir="/flag", insecure=True)
    assert (made.listen_agents, made.listen_clients) == ("tcp:1", "tcp:3")
    assert made.state_dir == Path("/flag")


def test_the_list_of_exchanges_is_a_file() -> None:
    assert settings().exchanges is None
    assert settings(exchanges="/etc/exchanges.txt").exchanges == Path("/etc/exchanges.txt")


def test_the_environment_reaches_into_sections() -> None:
    made = settings(
        environment={
            "EMODIS_MASTER_KEEPALIVE_INTERVAL_S": "5",
            "EMODIS_MASTER_LIMITS_CONNECTIONS": "9",
            "EMODIS_MASTER_INSECURE": "yes",
            "EMODIS_CLIENT_ANYTHING": "not ours",
        }
    )
    assert made.keepalive.interval_s == 5
    assert made.limits.connections == 9
    assert made.insecure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listen = 1", "listen: unknown key; did you mean listen_"),
        ("[keepalive]\nintervall_s = 1", "[keepalive] intervall_s: unknown key; did you mean"),
        ("insecure = 1", "insecure: 1 is not true or false"),
        ("lease_s = 'long'", "lease_s: 'long' is not a number"),
        ("lease_s = -1", "lease_s must not be negative"),
        ("keepalive = 3", "must be a section: write [keepalive]"),
        ("[limits]\nconnections = 0", "[limits] connections must be at least 1"),
        ("[limits]\nconnections = 1.5", "connections: 1.5 is not a whole number"),
        ("x =", "not TOML"),
        (
            "[keepalive]\nagent_timeout_s = 50",
            "[keepalive] the agent must give up before the master",
        ),
        (
            "[keepalive]\nreconnect_floor_s = 10",
            "[keepalive] the master must give up before the agent dials again",
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_file_key_and_advice(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(BadConfiguration) as caught:
        settings(text, tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    if "lease_s must" not in words:
        assert str(tmp_path / "master.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("EMODIS_MASTER_INSECURE", "maybe", "'maybe' is not true or false"),
        ("EMODIS_MASTER_LEASE_S", "x", "'x' is not a number"),
        ("EMODIS_MASTER_LISTN_AGENTS", "x", "did you mean EMODIS_MASTER_LISTEN_AGENTS"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    variable: str, value: str, words: str
) -> None:
    with pytest.raises(BadConfiguration, match=variable) as caught:
        settings(environment={variable: value})
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_said_so() -> None:
    with pytest.raises(BadConfiguration, match=r"nowhere\.toml: cannot be read"):
        load({}, {}, Path("nowhere.toml"), HOME)


@pytest.mark.parametrize(
    ("description", "insecure", "made"),
    [
        ("tcp:0", False, "tcp:0:interface=127.0.0.1"),
        ("tcp:0", True, "tcp:0"),
        ("tcp:0:interface=127.0.0.2", False, "tcp:0:interface=127.0.0.2"),
        ("tcp:0:interface=10.0.0.1", True, "tcp:0:interface=10.0.0.1"),
        ("tcp6:0", False, r"tcp6:0:interface=\:\:1"),
        (r"tcp6:0:interface=\:\:1", False, r"tcp6:0:interface=\:\:1"),
    ],
)
def test_an_endpoint_is_completed(description: str, insecure: bool, made: str) -> None:
    assert endpoint(description, insecure=insecure, key="listen_agents") == made


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("tcp:0:interface=10.0.0.1", "--insecure"),
        ("tcp:0:interface=0.0.0.0", "--insecure"),
        ("tcp:0:interface=eth0", "--insecure"),
        ("unix:/tmp/x", "not a TCP endpoint"),
        ("4710", "not a TCP endpoint"),
    ],
)
def test_plaintext_does_not_leave_loopback_by_itself(description: str, words: str) -> None:
    with pytest.raises(BadConfiguration, match="listen_agents") as caught:
        endpoint(description, insecure=False, key="listen_agents")
    assert words in str(caught.value)


def test_the_command_says_it_in_one_line_and_exits_2(tmp_path: Path) -> None:
    ended = CliRunner().invoke(
        main, ["run", "--listen-agents", "tcp:0:interface=0.0.0.0"], env={"HOME": str(tmp_path)}
    )
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("emodis-master: listen_agents:")
