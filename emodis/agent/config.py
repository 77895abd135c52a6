"""What the volunteer configures: flag > EMODIS_AGENT_* environment > agent.toml > default.

Everything is parsed once, here, into one frozen value. Every complaint is one line that names the
place (flag, variable, or file and key) and what would be right.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs

from emodis.wire.uri import AGENT_PORT, BadUri, MasterUri, parse_master_uri

ENV_PREFIX = "EMODIS_AGENT_"
BYTES_PER_DAY = 2_000_000_000
BYTES_PER_RUN = 50_000_000
RUNS_PER_HOUR = 3600
LONGEST_PLACE = 100
LONGEST_TAG = 50
MOST_TAGS = 32

_TEXTS = ("master", "state_dir", "place", "pcap")
_LISTS = ("tags", "allow")
_COUNTS = ("bytes_per_day", "bytes_per_run", "runs_per_hour")
_SWITCHES = ("insecure",)
KEYS = (*_TEXTS, *_LISTS, *_COUNTS, *_SWITCHES)

Value = str | int | bool | tuple[str, ...]


class BadConfig(ValueError):
    """The configuration cannot be used; the text says where and why, in one line."""


@attrs.frozen(kw_only=True)
class Settings:
    """How this agent is to run. 0 means no limit of that kind."""

    master: MasterUri
    state_dir: Path
    place: str
    tags: tuple[str, ...]
    # Names of techniques, all known.
    allow: frozenset[str]
    bytes_per_day: int
    bytes_per_run: int
    runs_per_hour: int
    insecure: bool
    # Where captures of its runs are kept; None: nowhere.
    pcap: Path | None = None


@attrs.frozen
class _Found:
    value: Value
    # The flag, variable, or file and key that said so.
    where: str


def load_settings(
    *,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    is_root: bool,
    known_techniques: Collection[str],
    plugins: Collection[str] = (),
) -> Settings:
    """Put the sources together.

    Args:
        flags: by key as in `KEYS` plus `config`; None or an empty tuple is "not given".
        known_techniques: what `allow` may name; all of them where it is not given.
        plugins: what it may name, too, and what is never allowed without.

    Raises:
        BadConfig: with the first thing that is wrong.
    """
    found = _from_file(_config_path(flags, environment, is_root=is_root))
    found |= _from_environment(environment)
    found |= _from_flags(flags)
    return Settings(
        master=_master(found.get("master")),
        state_dir=_state_dir(found.get("state_dir"), environment, is_root=is_root),
        place=_place(found.get("place")),
        tags=_tags(found.get("tags")),
        allow=_allow(found.get("allow"), known_techniques, plugins),
        bytes_per_day=_count(found.get("bytes_per_day"), BYTES_PER_DAY),
        bytes_per_run=_count(found.get("bytes_per_run"), BYTES_PER_RUN),
        runs_per_hour=_count(found.get("runs_per_hour"), RUNS_PER_HOUR),
        insecure=bool(found["insecure"].value) if "insecure" in found else False,
        pcap=_folder(found["pcap"]) if "pcap" in found else None,
    )


# -- the three sources --------------------------------------------------------------------------


def _from_flags(flags: Mapping[str, object]) -> dict[str, _Found]:
    found = {}
    for key in KEYS:
        value = flags.get(key)
        if value is None or value == ():
            continue
        assert isinstance(value, str | int | bool | tuple)
        option = {"tags": "tag"}.get(key, key).replace("_", "-")
        found[key] = _Found(value, f"--{option}")
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Found]:
    found = {}
    for name, text in sorted(environment.items()):
        key = name.removeprefix(ENV_PREFIX).lower()
        if not name.startswith(ENV_PREFIX) or key == "config" or not text:
            continue
        if key not in KEYS:
            raise BadConfig(f"{name}: no such setting; there are {_listed(KEYS)}")
        found[key] = _Found(_from_text(key, text, name), name)
    return found


def _from_text(key: str, text: str, where: str) -> Value:
    if key in _LISTS:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if key in _COUNTS:
        if not text.strip().isdecimal():
            raise BadConfig(f"{where}: {text!r} is not a whole number of at least 0")
        return int(text)
    if key in _SWITCHES:
        word = text.strip().lower()
        if word not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
            raise BadConfig(f"{where}: {text!r} is neither true nor false")
        return word in {"1", "true", "yes", "on"}
    return text


def _config_path(
    flags: Mapping[str, object], environment: Mapping[str, str], *, is_root: bool
) -> Path | None:
    named = flags.get("config") or environment.get(f"{ENV_PREFIX}CONFIG")
    if named:
        return Path(str(named))
    if is_root:
        default = Path("/etc/emodis/agent.toml")
    else:
        default = _xdg(environment, "XDG_CONFIG_HOME", ".config") / "agent.toml"
    return default if default.exists() else None


def _from_file(path: Path | None) -> dict[str, _Found]:
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not a TOML file: {error}") from error
    found = {}
    for key, value in table.items():
        where = f"{path}: {key}"
        if key not in KEYS:
            raise BadConfig(f"{where}: no such setting; there are {_listed(KEYS)}")
        found[key] = _Found(_from_toml(key, value, where), where)
    return found


def _from_toml(key: str, value: object, where: str) -> Value:
    if key in _LISTS:
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise BadConfig(f"{where}: write a list of texts, as in {key} = ['…']")
        return tuple(value)
    wanted: type[str] | type[int] | type[bool] = str
    word = "a text in quotes"
    if key in _COUNTS:
        wanted, word = int, "a whole number"
    elif key in _SWITCHES:
        wanted, word = bool, "true or false"
    # A TOML true is not a number, though Python thinks so.
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadConfig(f"{where}: write {word}, not {value!r}")
    return value


# -- what a value may be ------------------------------------------------------------------------


def _master(found: _Found | None) -> MasterUri:
    if found is None:
        raise BadConfig(
            f"no master: name it by --master URI, {ENV_PREFIX}MASTER or `master` in agent.toml"
        )
    try:
        return parse_master_uri(str(found.value), AGENT_PORT)
    except BadUri as error:
        raise BadConfig(f"{found.where}: {error}") from error


def _state_dir(found: _Found | None, environment: Mapping[str, str], *, is_root: bool) -> Path:
    if found is not None:
        return _folder(found)
    if is_root:
        return Path("/var/lib/emodis/agent")
    return _xdg(environment, "XDG_STATE_HOME", ".local/state") / "agent"


def _folder(found: _Found) -> Path:
    return Path(str(found.value)).expanduser().absolute()


def _xdg(environment: Mapping[str, str], variable: str, default: str) -> Path:
    base = environment.get(variable, "")
    # The specification says that relative ones are to be ignored.
    if not base.startswith("/"):
        base = f"{environment.get('HOME') or Path.home()}/{default}"
    return Path(base) / "emodis"


def _place(found: _Found | None) -> str:
    return "" if found is None else _label(str(found.value), LONGEST_PLACE, found.where)


def _tags(found: _Found | None) -> tuple[str, ...]:
    if found is None:
        return ()
    assert isinstance(found.value, tuple)
    if len(found.value) > MOST_TAGS:
        raise BadConfig(f"{found.where}: {len(found.value)} tags are too many, {MOST_TAGS} fit")
    return tuple(dict.fromkeys(_label(tag, LONGEST_TAG, found.where) for tag in found.value))


def _label(text: str, longest: int, where: str) -> str:
    if len(text) > longest or not text.isprintable():
        raise BadConfig(f"{where}: write at most {longest} printable characters")
    return text.strip()


def _allow(
    found: _Found | None, built_in: Collection[str], plugins: Collection[str]
) -> frozenset[str]:
    if found is None:
        return frozenset(built_in)
    assert isinstance(found.value, tuple)
    known = (*built_in, *plugins)
    for name in found.value:
        if name not in known:
            raise BadConfig(f"{found.where}: no technique {name!r}; there are {_listed(known)}")
    if not found.value:
        raise BadConfig(f"{found.where}: allow at least one technique of {_listed(known)}")
    return frozenset(found.value)


def _count(found: _Found | None, default: int) -> int:
    if found is None:
        return default
    assert isinstance(found.value, int)
    if not 0 <= found.value < 1 << 63:
        raise BadConfig(f"{found.where}: {found.value} is not between 0 (no limit) and 2^63")
    return found.value


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
