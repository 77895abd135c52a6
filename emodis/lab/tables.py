"""One TOML table, read key by key, so that every complaint names the place and the remedy."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from emodis.lab.topology import TopologyError

Choice = TypeVar("Choice", bound=enum.Enum)


@attrs.define
class Table:
    """A table of the file; `place` is how its author finds it, e.g. "[[links]] number 2"."""

    place: str
    values: Mapping[str, Any]
    _asked: set[str] = attrs.field(factory=set, init=False)

    def __contains__(self, key: str) -> bool:
        self._asked.add(key)
        return key in self.values

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default, 'a text in quotes, e.g. "r1"')
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"must be a text in quotes, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty if not given."""
        values = self._get(key, [], "a list of texts")
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong(key, f'must be a list of texts, e.g. ["h1"], not {values!r}')
        return tuple(values)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._get(key, default, f"a whole number from {low} to {high}")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"must be a whole number from {low} to {high}, not {value!r}")
        return value

    def real(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self._get(key, default, f"a number from {low:g} to {high:g}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(key, f"must be a number from {low:g} to {high:g}, not {value!r}")
        if not low <= value <= high:  # refuses nan as well
            raise self.wrong(key, f"must be a number from {low:g} to {high:g}, not {value!r}")
        return float(value)

    def wholes(self, key: str, low: int, high: int, default: int) -> tuple[int, ...]:
        """One number or a list of them."""
        values = self._get(key, default, "a number or a list of numbers")
        values = values if isinstance(values, list) else [values]
        good = (type(v) is int and low <= v <= high for v in values)
        if not values or not all(good):
            raise self.wrong(key, f"must be whole numbers from {low} to {high}, not {values!r}")
        return tuple(values)

    def choice(self, key: str, of: type[Choice], default: Choice | None = None) -> Choice:
        names = " or ".join(f'"{member.value}"' for member in of)
        value = self._get(key, default.value if default else None, names)
        try:
            return of(value)
        except ValueError:
            raise self.wrong(key, f"must be {names}, not {value!r}") from None

    def tables(self, key: str) -> Mapping[str, Mapping[str, Any]]:
        """Sub-tables by name, e.g. [as.65001]."""
        found = self._get(key, {}, "a table")
        if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
            raise TopologyError(f"[{key}]: must hold one table per name, e.g. [{key}.NAME]")
        return found

    def list_of_tables(self, key: str) -> list[Mapping[str, Any]]:
        found = self._get(key, [], "an array of tables")
        if not isinstance(found, list) or not all(isinstance(v, dict) for v in found):
            raise TopologyError(f"[{key}]: must be an array of tables; begin each with [[{key}]]")
        return found

    def finish(self) -> None:
        """Refuse what nobody asked for: most often a misspelt key."""
        for key in self.values:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "remove it"
                raise self.wrong(key, f"is no key of this table; {hint}")

    def wrong(self, key: str, text: str) -> TopologyError:
        return TopologyError(f"{self.place}: {key} {text}")

    def _get(self, key: str, default: object, wanted: str) -> Any:
        self._asked.add(key)
        value = self.values.get(key, default)
        if value is None:
            raise self.wrong(key, f"is missing; write {wanted}")
        return value
