"""Flags, environment and TOML, merged once into frozen Settings: flag > EMODIS_MASTER_* > file.

Every error is one line that names the place, the key and what to do.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs

from emodis.wire.hello import KeepaliveTimes
from emodis.wire.uri import AGENT_PORT, CLIENT_PORT

ENVIRONMENT = "EMODIS_MASTER_"
LOOPBACK = "127.0.0.1"


class BadConfiguration(ValueError):
    """The text is one line for the operator."""


@attrs.frozen(kw_only=True)
class Limits:
    """What one request, and all of them, may take."""

    runs_per_request: int = 10_000
    destinations_per_request: int = 1_000
    measurements: int = 1_000
    connections: int = 15_000

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, it is {value}")


@attrs.frozen(kw_only=True)
class Settings:
    """All that `app` needs to know. Endpoints are complete, with their interface."""

    state_dir: Path
    listen_agents: str
    listen_clients: str
    insecure: bool
    as_map: Path | None
    lease_s: float
    keepalive: KeepaliveTimes
    limits: Limits
    # Prefixes of exchange points.
    exchanges: Path | None = None

    @property
    def store_url(self) -> str:
        """The database, inside the state directory."""
        return f"sqlite:///{self.state_dir.absolute() / 'emodis.sqlite3'}"


_TOP: dict[str, type] = {
    "state_dir": str,
    "listen_agents": str,
    "listen_clients": str,
    "insecure": bool,
    "as_map": str,
    "exchanges": str,
    "lease_s": float,
}
_SECTIONS: dict[str, tuple[type, dict[str, type]]] = {
    "keepalive": (KeepaliveTimes, dict.fromkeys(attrs.fields_dict(KeepaliveTimes), float)),
    "limits": (Limits, dict.fromkeys(attrs.fields_dict(Limits), int)),
}
_DEFAULTS: dict[str, Any] = {
    "listen_agents": f"tcp:{AGENT_PORT}",
    "listen_clients": f"tcp:{CLIENT_PORT}",
    "insecure": False,
    "as_map": None,
    "exchanges": None,
    "lease_s": 120.0,
}


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None, home: Path
) -> Settings:
    """Merge the three sources; `flags` holds what was given on the command line only.

    Raises:
        BadConfiguration: with one line for the operator.
    """
    merged: dict[tuple[str, ...], Any] = {}
    if file is not None:
        merged.update(_from_file(file))
    merged.update(_from_environment(environment))
    merged.update({(key,): value for key, value in flags.items() if value is not None})
    top = _DEFAULTS | {path[0]: value for path, value in merged.items() if len(path) == 1}
    sections = {
        name: _section(name, kind, merged, file) for name, (kind, _keys) in _SECTIONS.items()
    }
    if not top["lease_s"] >= 0:
        raise BadConfiguration(f"lease_s must not be negative, it is {top['lease_s']:g}")
    insecure = bool(top["insecure"])
    return Settings(
        state_dir=Path(top.get("state_dir") or default_state_dir(environment, home)),
        listen_agents=endpoint(top["listen_agents"], insecure=insecure, key="listen_agents"),
        listen_clients=endpoint(top["listen_clients"], insecure=insecure, key="listen_clients"),
        insecure=insecure,
        as_map=Path(top["as_map"]) if top["as_map"] else None,
        exchanges=Path(top["exchanges"]) if top["exchanges"] else None,
        lease_s=float(top["lease_s"]),
        keepalive=sections["keepalive"],
        limits=sections["limits"],
    )


def default_file(environment: Mapping[str, str], home: Path) -> Path | None:
    """The file that is read when none is named: master.toml in the XDG directory, if it exists."""
    base = environment.get("XDG_CONFIG_HOME") or str(home / ".config")
    path = Path(base) / "emodis" / "master.toml"
    return path if path.is_file() else None


def default_state_dir(environment: Mapping[str, str], home: Path) -> Path:
    """Where the store lives unless the operator says otherwise."""
    base = environment.get("XDG_STATE_HOME") or str(home / ".local" / "state")
    return Path(base) / "emodis" / "master"


def endpoint(description: str, *, insecure: bool, key: str) -> str:
    """A complete TCP endpoint. Plaintext stays on loopback unless `insecure`.

    Raises:
        BadConfiguration: if it is no TCP endpoint, or would be open to others without `insecure`.
    """
    kind, fields = _fields(description)
    interface = fields.get("interface")
    if kind not in {"tcp", "tcp6"}:
        raise BadConfiguration(
            f"{key}: {description!r} is not a TCP endpoint; write tcp:PORT or "
            "tcp:PORT:interface=ADDRESS"
        )
    if insecure:
        return description
    if interface is None:
        loopback = LOOPBACK if kind == "tcp" else r"\:\:1"
        return f"{description}:interface={loopback}"
    if not _is_loopback(interface):
        raise BadConfiguration(
            f"{key}: {interface} is not a loopback address, and there is no encryption yet; "
            "add --insecure (then only private and lab peers are served), or use 127.0.0.1"
        )
    return description


def _fields(description: str) -> tuple[str, dict[str, str]]:
    """The kind of a Twisted endpoint string, and its keyword fields."""
    parts = [
        part.replace("\0", ":").strip() for part in description.replace(r"\:", "\0").split(":")
    ]
    return parts[0], dict(part.split("=", 1) for part in parts[1:] if "=" in part)


def _is_loopback(interface: str) -> bool:
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return False


def _from_file(file: Path) -> dict[tuple[str, ...], Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfiguration(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{file}: not TOML: {error}") from error
    found: dict[tuple[str, ...], Any] = {}
    for key, value in data.items():
        if key in _SECTIONS:
            if not isinstance(value, dict):
                raise BadConfiguration(f"{file}: {key} must be a section: write [{key}]")
            keys = _SECTIONS[key][1]
            for name, inner in value.items():
                where = f"{file}: [{key}] {name}"
                _known(name, keys, where)
                found[key, name] = _typed(inner, keys[name], where)
        else:
            _known(key, {**_TOP, **_SECTIONS}, f"{file}: {key}")
            found[(key,)] = _typed(value, _TOP[key], f"{file}: {key}")
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, ...], Any]:
    paths = {(key,): kind for key, kind in _TOP.items()} | {
        (section, key): kind
        for section, (_kind, keys) in _SECTIONS.items()
        for key, kind in keys.items()
    }
    names = {ENVIRONMENT + "_".join(path).upper(): path for path in paths}
    found: dict[tuple[str, ...], Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT) or variable == f"{ENVIRONMENT}CONFIG":
            continue
        _known(variable, names, f"environment: {variable}")
        path = names[variable]
        found[path] = _parsed(text, paths[path], f"environment: {variable}")
    return found


def _known(key: str, known: Mapping[str, Any], where: str) -> None:
    if key in known:
        return
    close = difflib.get_close_matches(key, known, n=1)
    advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    raise BadConfiguration(f"{where}: unknown key; {advice}")


def _typed(value: Any, kind: type, where: str) -> Any:
    """A TOML value of the right type; an integer will do where a float is wanted."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise BadConfiguration(f"{where}: {value!r} is not {_WORDS[kind]}")
    return value


def _parsed(text: str, kind: type, where: str) -> Any:
    """A value from the environment."""
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise BadConfiguration(f"{where}: {text!r} is not {_WORDS[bool]}")
        return _BOOLEANS[text.lower()]
    try:
        return kind(text)
    except ValueError as error:
        raise BadConfiguration(f"{where}: {text!r} is not {_WORDS[kind]}") from error


_BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "0": False,
    "false": False,
    "no": False,
    "": False,
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _section(
    name: str, kind: type, merged: Mapping[tuple[str, ...], Any], file: Path | None
) -> Any:
    values = {path[1]: value for path, value in merged.items() if path[0] == name and path[1:]}
    try:
        return kind(**values)
    except ValueError as error:
        raise BadConfiguration(f"{file or 'environment'}: [{name}] {error}") from error
