"""Where settings come from: flag, else `EMODIS_*` environment, else the TOML file.

Light on purpose: `--help` loads it. The file is `emodis/client.toml` under XDG_CONFIG_HOME.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emodis.client.exits import Exit, Trouble

FORMATS = ("table", "json")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})
_KEYS = {
    "master": str,
    "insecure": bool,
    "as_map": str,
    "format": str,
    "token": str,
    "no_names": bool,
}


@attrs.frozen(kw_only=True)
class Flags:
    """What was said on the command line; None = not said."""

    master: str | None = None
    insecure: bool | None = None
    as_map: str | None = None
    format: str | None = None
    no_names: bool | None = None
    verbose: bool = False


@attrs.frozen(kw_only=True)
class Settings:
    """What holds."""

    master: str | None
    insecure: bool
    as_map: Path | None
    format: str
    verbose: bool
    # Look up the host names of hops.
    names: bool = True
    token: str = attrs.field(default="", repr=False)


def settle(flags: Flags, environ: Mapping[str, str]) -> Settings:
    """Put the three sources together.

    Raises:
        Trouble: (usage) for a file or variable that cannot be understood, or a file with a token
            that others may read.
    """
    told = {**read_file(config_path(environ)), **_from_environment(environ)}
    told |= {k: v for k, v in attrs.asdict(flags).items() if v is not None}
    if told.get("format", "table") not in FORMATS:
        raise _usage(f"format {told['format']!r} is not one of {', '.join(FORMATS)}")
    return Settings(
        master=told.get("master") or None,
        insecure=told.get("insecure", False),
        as_map=Path(told["as_map"]).expanduser() if told.get("as_map") else None,
        format=told.get("format", "table"),
        verbose=flags.verbose,
        names=not told.get("no_names", False),
        token=told.get("token", ""),
    )


def config_path(environ: Mapping[str, str]) -> Path:
    """Where the file is, whether it exists or not."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "emodis" / "client.toml"


def state_dir(environ: Mapping[str, str]) -> Path:
    """Where this client keeps its identity."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "emodis"


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a file; none when it does not exist."""
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _usage(f"cannot read {path}: {error}") from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _usage(f"{path} is not TOML: {error}") from error
    for key, value in found.items():
        if key not in _KEYS:
            raise _usage(f"{path} has an unknown key {key!r}; there are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            kind = "true or false" if _KEYS[key] is bool else "a string"
            raise _usage(f"{path}: {key} must be {kind}, not {value!r}")
    if found.get("token") and stat.S_IMODE(mode) & 0o077:
        raise _usage(f"{path} holds a token and others may read it; run: chmod 600 {path}")
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = ("master", "as_map", "format", "token")
    told: dict[str, Any] = {
        name: environ[variable]
        for name in names
        if environ.get(variable := f"EMODIS_{name.upper()}")
    }
    word = environ.get("EMODIS_INSECURE", "").strip().lower()
    if word not in _TRUE | _FALSE:
        raise _usage(f"EMODIS_INSECURE is {word!r}; write 1 or 0")
    return told | ({"insecure": word in _TRUE} if word else {})


def _xdg(environ: Mapping[str, str], variable: str, under_home: str) -> Path:
    given = environ.get(variable, "")
    # The XDG rule: a relative path there is ignored.
    if given.startswith("/"):
        return Path(given)
    return Path(environ.get("HOME") or "/") / under_home


def _usage(text: str) -> Trouble:
    return Trouble(text, Exit.USAGE)
