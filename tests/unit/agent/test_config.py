from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from emodis.agent.config import BYTES_PER_DAY, BadConfig, Settings, load_settings

KNOWN = ("pathneck", "ping")


@attrs.define
class Rig:
    """An ordinary user's home, with or without a file."""

    home: Path
    environment: dict[str, str] = attrs.field(factory=dict)

    def file(self, text: str) -> Path:
        path = self.home / ".config/emodis/agent.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return path

    def load(self, **flags: object) -> Settings:
        return load_settings(
            flags={"master": "tcp://h:1", **flags},
            environment={"HOME": str(self.home), **self.environment},
            is_root=False,
            known_techniques=KNOWN,
        )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_with_nothing_but_a_master_the_defaults_hold(rig: Rig) -> None:
    settings = rig.load()
    assert str(settings.master) == "tcp://h:1"
    assert settings.state_dir == rig.home / ".local/state/emodis/agent"
    assert settings.allow == frozenset(KNOWN)
    assert settings.bytes_per_day == BYTES_PER_DAY
    assert (settings.place, settings.tags, settings.insecure) == ("", (), False)


def test_a_flag_goes_before_the_environment_and_that_before_the_file(rig: Rig) -> None:
    rig.file('place = "file"\nbytes_per_day = 1\nruns_per_hour = 2\nallow = ["ping"]\n')
    rig.environment = {"EMODIS_AGENT_PLACE": "environment", "EMODIS_AGENT_BYTES_PER_DAY": "3"}
    settings = rig.load(place="flag")
    assert (settings.place, settings.bytes_per_day, settings.runs_per_hour) == ("flag", 3, 2)
    assert settings.allow == {"ping"}


def test_the_master_may_come_from_anywhere(rig: Rig) -> None:
    rig.file('master = "emodis://file"\n')
    assert str(rig.load(master=None).master) == "emodis://file:4710"
    rig.environment = {"EMODIS_AGENT_MASTER": "environment:5"}
    assert str(rig.load(master=None).master) == "emodis://environment:5"


def test_lists_and_switches_from_the_environment(rig: Rig) -> None:
    rig.environment = {
        "EMODIS_AGENT_TAGS": "dsl, vienna ,",
        "EMODIS_AGENT_INSECURE": "yes",
        "XDG_STATE_HOME": "/var/state",
        "UNRELATED": "x",
    }
    settings = rig.load()
    assert (settings.tags, settings.insecure) == (("dsl", "vienna"), True)
    assert settings.state_dir == Path("/var/state/emodis/agent")


def test_root_has_the_systems_directories() -> None:
    settings = load_settings(
        flags={"master": "h"}, environment={}, is_root=True, known_techniques=KNOWN
    )
    assert settings.state_dir == Path("/var/lib/emodis/agent")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("plce = 1", "agent.toml: plce: no such setting; there are allow, bytes_per_day"),
        ("bytes_per_day = '1'", "agent.toml: bytes_per_day: write a whole number, not '1'"),
        ("bytes_per_day = true", "agent.toml: bytes_per_day: write a whole number, not True"),
        ("bytes_per_day = -1", "agent.toml: bytes_per_day: -1 is not between 0 (no limit) and"),
        ("place = 7", "agent.toml: place: write a text in quotes, not 7"),
        ("insecure = 'yes'", "agent.toml: insecure: write true or false, not 'yes'"),
        ("tags = 'dsl'", "agent.toml: tags: write a list of texts"),
        ("tags = [1]", "agent.toml: tags: write a list of texts"),
        ("allow = ['nmap']", "agent.toml: allow: no technique 'nmap'; there are pathneck, ping"),
        ("allow = []", "agent.toml: allow: allow at least one technique of pathneck, ping"),
        (f"place = '{'x' * 101}'", "agent.toml: place: write at most 100 printable characters"),
        ('place = "a\\nb"', "agent.toml: place: write at most 100 printable characters"),
        ("tags = [" + "'t'," * 33 + "]", "agent.toml: tags: 33 tags are too many"),
        ("place =", "agent.toml: not a TOML file: "),
    ],
)
def test_a_bad_file_is_one_line_with_file_and_key(rig: Rig, text: str, complaint: str) -> None:
    rig.file(text)
    with pytest.raises(BadConfig) as raised:
        rig.load()
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PLCE", "x", "EMODIS_AGENT_PLCE: no such setting"),
        ("BYTES_PER_DAY", "1G", "EMODIS_AGENT_BYTES_PER_DAY: '1G' is not a whole number"),
        ("INSECURE", "perhaps", "EMODIS_AGENT_INSECURE: 'perhaps' is neither true nor false"),
        ("CONFIG", "/nonexistent/agent.toml", "/nonexistent/agent.toml: cannot be read"),
    ],
)
def test_a_bad_environment_names_the_variable(
    rig: Rig, variable: str, value: str, complaint: str
) -> None:
    rig.environment = {f"EMODIS_AGENT_{variable}": value}
    with pytest.raises(BadConfig) as raised:
        rig.load()
    assert complaint in str(raised.value)


def test_bad_flags_name_the_flag(rig: Rig) -> None:
    with pytest.raises(BadConfig, match="--master: 'http://x'"):
        rig.load(master="http://x")
    with pytest.raises(BadConfig, match="--tag: write at most 50"):
        rig.load(tags=("x" * 51,))
    with pytest.raises(BadConfig, match="no master: name it by --master"):
        rig.load(master=None)


def test_a_plugin_is_allowed_only_by_name() -> None:
    def allowed(*allow: str) -> frozenset[str]:
        return load_settings(
            flags={"master": "h", "allow": allow},
            environment={},
            is_root=True,
            known_techniques=KNOWN,
            plugins=("hopcount",),
        ).allow

    assert allowed() == frozenset(KNOWN)
    assert allowed("hopcount") == {"hopcount"}
    with pytest.raises(BadConfig, match=r"no technique 'hopcuont'; there are .*hopcount"):
        allowed("hopcuont")
