"""The fields of the rows of a list, from the JSON schema of the object that has the list.

So the fields are what the JSON has, computed properties too, with their types, their choices and what they
mean; and a completion of them needs no target. The schema says where its list is: `scripts/schemas` writes it
there, from the descriptor.
"""

from __future__ import annotations

import os
from functools import cache

from gdbplugin.machine import SelectionError
from gdbplugin.records import NamedTuple
from gdbplugin.render import unit_of
from gdbplugin.words import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

LIST = "x-list"
"""The keyword of a schema that has the path of its list: the members to go through."""
COUNT = "x-count"
"""The keyword with the path of the number of rows."""
_SCHEMAS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "schemas")
_SIMPLE = {"integer", "number", "string", "boolean", "null"}
_DEEPEST = 4
_MOST_NESTED = 10
_NAMED = 12
"""So many fields are named in an error."""


class Field(NamedTuple):
    """A field of a row: its path, the JSON types that it can have, and the only texts that it can be."""

    name: str
    types: frozenset[str]
    choices: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def is_simple(self) -> bool:
        """Whether it is one value: not a list, not an object."""
        return self.types <= _SIMPLE

    @property
    def unit(self) -> str:
        """What its numbers are: `address`, `bytes`, `count`, `place`; empty for others, such as IDs."""
        return unit_of(self.name) if self.types & {"integer", "number"} else ""

    @property
    def adds_up(self) -> bool:
        """Whether a sum of it means something."""
        return self.is_simple and self.unit in ("bytes", "count")


class Fields:
    """The fields of the rows of one schema's list. `name` is the list's own, such as `pages`."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.path: tuple[str, ...] = tuple(schema[LIST])
        self.count_path: tuple[str, ...] = tuple(schema.get(COUNT, ()))
        self.name = self.path[-1]
        self._definitions = schema.get("$defs", {})
        inner = schema
        for step in self.path:
            inner = self._resolved(inner)["properties"][step]
        self._by_name: dict[str, Field] = {}
        self._maps: dict[str, Field] = {}
        for field in self._within(self._resolved(self._resolved(inner)["items"]), "", 0):
            self._by_name[field.name] = field

    @property
    def all(self) -> Sequence[Field]:
        """Every field that has a name of its own; those with dots are within others."""
        return list(self._by_name.values())

    @property
    def top(self) -> Sequence[Field]:
        """The members of a row."""
        return [field for field in self.all if "." not in field.name]

    @property
    def columns(self) -> Sequence[Field]:
        """The columns of a table for which none are chosen: a row's simple fields.

        Then those within others if they are few: more would hide the row's own.
        """
        simple = [field for field in self.all if field.is_simple]
        nested = [field for field in simple if "." in field.name]
        own = [field for field in simple if field not in nested]
        return [*own, *nested] if len(nested) <= _MOST_NESTED or not own else own

    def field(self, name: str) -> Field:
        """A field by its name. Raises a `SelectionError` that names the nearest."""
        if name in self._by_name:
            return self._by_name[name]
        whole, dot, member = name.rpartition(".")
        if dot and member and whole in self._maps:
            return self._maps[whole]._replace(name=name)
        raise SelectionError(f'no field "{name}"{self._nearest(name)}')

    def require(self, name: str) -> Field:
        """For an expression: see `Known`."""
        return self.field(name)

    def choices(self, name: str) -> Sequence[str]:
        """For an expression: see `Known`."""
        return self.field(name).choices

    def _nearest(self, name: str) -> str:
        return nearest(name, self._by_name) or f" (known: {few(list(self._by_name))})"

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema without a reference, and without the null that it allows beside something else."""
        while True:
            if "$ref" in schema:
                schema = self._definitions[schema["$ref"].rpartition("/")[2]]
                continue
            others = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
            if len(others) != 1:
                return schema
            schema = others[0]

    def _within(self, schema: dict[str, Any], before: str, depth: int) -> Iterator[Field]:
        """The members of an object, each before those within it."""
        for member, described in schema.get("properties", {}).items():
            inner, name = self._resolved(described), before + member
            meaning = described.get("description") or inner.get("description", "")
            yield Field(name, frozenset(_types(inner)), _choices(inner), meaning)
            if "properties" in inner and depth < _DEEPEST:
                yield from self._within(inner, name + ".", depth + 1)
            elif isinstance(inner.get("additionalProperties"), dict):
                values = self._resolved(inner["additionalProperties"])
                self._maps[name] = Field(name, frozenset(_types(values)) | {"null"}, (), meaning)


def few(names: Sequence[str]) -> str:
    """Names with commas between them; of many some, those without a dot first, and how many more."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    first = sorted(names, key=lambda name: "." in name)[:_NAMED]
    return f"{', '.join(first)} and {len(names) - _NAMED} more"


def _types(schema: dict[str, Any]) -> list[str]:
    if "enum" in schema:
        return [_type_of(value) for value in schema["enum"]]
    if "anyOf" in schema:
        return [kind for part in schema["anyOf"] for kind in _types(part)]
    found = schema.get("type", "object" if "properties" in schema or "$ref" in schema else ())
    return [found] if isinstance(found, str) else list(found)


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "null" if value is None else "integer"


def _choices(schema: dict[str, Any]) -> tuple[str, ...]:
    """The texts of an enumeration; empty if it has other values, or is none."""
    values = [value for value in schema.get("enum", ()) if value is not None]
    return tuple(values) if all(isinstance(value, str) for value in values) else ()


@cache
def fields_of(schema: str) -> Fields:
    """The fields of the list of what conforms to a schema, `tinyos.lazy/1`."""
    # Not at the top: no command needs it for its own text.
    import json

    with open(os.path.join(_SCHEMAS, schema.replace("/", "-") + ".json"), encoding="utf-8") as file:
        return Fields(json.load(file))
