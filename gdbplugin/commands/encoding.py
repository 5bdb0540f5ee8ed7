"""Makes JSON of the objects that commands read, by rules that hold for all of them.

A dataclass or named tuple becomes an object of its fields; those that `json_fields` names instead, if its
class has that, which may be properties too: `"text"`, or `"exception_class as class"` where the member has
another name. What `json_merged` names has no member of its own: its members join those around it. What
`json_optional` names is left out where it is None. A tuple, list or set becomes an array, an enumeration its
value.
The JSON schemas are made by the same rules, from the types (`scripts/schemas`).
"""

from __future__ import annotations

from functools import cache

from gdbplugin.records import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.journal import Noticed


class Encoded(Protocol):
    """A value that writes its own JSON array, because it is large. `json_item` is the class of its items."""

    json_item: type

    def json(self) -> str:
        """The JSON text."""


def to_json(schema: str, shown: Noticed) -> str:
    """An object that a command has read, as one line of JSON; `schema` names what it conforms to."""
    return text_of({"schema": schema, "findings": shown.findings, "notes": shown.notes, **members(shown)})


def members(record: Any) -> dict[str, Any]:
    """The members of a record's JSON object."""
    kind: Any = type(record)
    merged, optional = getattr(kind, "json_merged", ()), getattr(kind, "json_optional", ())
    found: dict[str, Any] = {}
    for name, member in json_fields(kind).items():
        value = getattr(record, name)
        if name in merged:
            found.update(members(value))
        elif value is not None or name not in optional:
            found[member] = value
    return found


@cache
def json_fields(kind: Any) -> dict[str, str]:
    """The fields and properties of a class of records that are in its JSON, each with its member's name."""
    found: tuple[str, ...] | None = getattr(kind, "json_fields", None)
    if found is None:
        found = kind.__match_args__ if is_record(kind) else kind._fields
    parted = (entry.partition(" as ") for entry in found)
    return {name: member or name for name, _, member in parted}


def is_record(kind: Any) -> bool:
    """Whether a class is one of our dataclasses."""
    return hasattr(kind, "_record_fields")


def text_of(value: Any) -> str:
    """Any value as JSON text."""
    # Not at the top: text is asked for much more often.
    import json

    if hasattr(value, "json"):
        text: str = value.json()
        return text
    if is_record(type(value)) or hasattr(value, "_fields"):
        value = members(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(name))}: {text_of(entry)}" for name, entry in value.items())
            + "}"
        )
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return json.dumps(getattr(value, "value", value) if hasattr(value, "name") else value)
