"""Makes the JSON schemas in `gdbplugin/schemas` from the types of what the commands read.

A description is the docstring of a field, a property or a class. `--check` changes nothing, and exits with
status 1 if a file would change.
"""

from __future__ import annotations

import argparse
import ast
import enum
import functools
import importlib
import inspect
import json
import sys
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gdbplugin.commands import COMMANDS
from gdbplugin.commands.descriptor import is_record, json_fields
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.query.fields import COUNT, LIST
from gdbplugin.query.question import SCHEMA as TABLE
from gdbplugin.query.question import Table

DIRECTORY = Path(__file__).resolve().parents[2] / "gdbplugin" / "schemas"
_SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


def main() -> int:
    """Write the schemas; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether one is stale")
    check = parser.parse_args().check
    made = schemas()
    stale = [name for name, text in made.items() if not _holds(DIRECTORY / name, text)]
    left = [path.name for path in DIRECTORY.glob("*.json") if path.name not in made]
    if check:
        for name in (*stale, *left):
            print(f"stale: gdbplugin/schemas/{name}: run scripts/schemas", file=sys.stderr)
        return int(bool(stale or left))
    for name in stale:
        (DIRECTORY / name).write_text(made[name])
    for name in left:
        (DIRECTORY / name).unlink()
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def schemas() -> dict[str, str]:
    """The text of every schema by its file's name."""
    found = {}
    for command in COMMANDS:
        forms = [command.form, *(option.form for option in command.options if option.form is not None)]
        for form in forms:
            name = file_name(form.schema)
            if name not in found:
                kind = typing.get_type_hints(form.read, namespace(form.read.__module__))["return"]
                schema = Generator().schema(form.schema, kind)
                for keyword, pick in ((LIST, form.rows), (COUNT, form.count)):
                    if pick is not None:
                        schema[keyword] = _path(kind, _Attributes.of(pick))
                found[name] = json.dumps(schema, indent=2) + "\n"
    found[file_name(TABLE)] = json.dumps(Generator().schema(TABLE, Table), indent=2) + "\n"
    return found


class _Attributes:
    """Stands for an object, to see which attributes a function takes from it."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __getattr__(self, name: str) -> _Attributes:
        return _Attributes(*self._names, name)

    @staticmethod
    def of(pick: Any) -> tuple[str, ...]:
        """The names of the attributes that a function goes through."""
        found = pick(_Attributes())
        if not isinstance(found, _Attributes):
            raise TypeError("rows and count of a form must only name attributes")
        return found._names


def _path(kind: Any, names: Sequence[str]) -> list[str]:
    """The members of JSON that attributes of a record become, one within the other."""
    found = []
    for name in names:
        if not (found == [] and name in ("findings", "notes")) and name not in json_fields(kind):
            raise TypeError(f"{name} of {kind.__name__} is not in its JSON")
        if name not in getattr(kind, "json_merged", ()):
            found.append(json_fields(kind).get(name, name))
        kind = _type_of(kind, name)
        others = [part for part in typing.get_args(kind) if part is not type(None)]
        if typing.get_origin(kind) in (types.UnionType, typing.Union) and len(others) == 1:
            (kind,) = others
    return found


def file_name(schema: str) -> str:
    """The name of a schema's file: `tinyos.stats-1.json` for `tinyos.stats/1`."""
    return schema.replace("/", "-") + ".json"


@functools.cache
def namespace(module_name: str) -> dict[str, Any]:
    """The names of a module, with those that only type checkers import."""
    module = sys.modules[module_name]
    found = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for entry in node.body:
                if isinstance(entry, ast.ImportFrom):
                    found |= _imported(entry)
                elif not isinstance(entry, ast.ClassDef):
                    exec(compile(ast.Module([entry], []), module_name, "exec"), found)
    return found


def _imported(node: ast.ImportFrom) -> dict[str, Any]:
    """What an import brings; it may be a name that its module too has for type checkers only."""
    assert node.module is not None
    module = importlib.import_module(node.module)
    return {
        alias.asname or alias.name: getattr(module, alias.name)
        if hasattr(module, alias.name)
        else namespace(node.module)[alias.name]
        for alias in node.names
    }


class Generator:
    """Makes one schema; what it refers to becomes a definition in it."""

    def __init__(self) -> None:
        self._definitions: dict[str, Any] = {}

    def schema(self, name: str, kind: type) -> dict[str, Any]:
        """The schema of a command's object."""
        found = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": file_name(name),
            "title": name,
            "description": _summary(kind),
        }
        head = {"schema": {"const": name}, **self._properties(Diagnosed, ("findings", "notes"))}
        found |= self._object(head | self._members(kind), _optional(kind))
        return found | {"$defs": dict(sorted(self._definitions.items()))}

    def _members(self, kind: Any) -> dict[str, Any]:
        merged = getattr(kind, "json_merged", ())
        found: dict[str, Any] = {}
        for name in json_fields(kind):
            if name in merged:
                found |= self._members(_type_of(kind, name))
            else:
                found |= self._properties(kind, (name,))
        return found

    def _properties(self, kind: type, names: Sequence[str]) -> dict[str, Any]:
        found = {}
        for name in names:
            text = _description(kind, name)
            schema = self._type(_type_of(kind, name)) | ({"description": text} if text else {})
            found[json_fields(kind).get(name, name)] = schema
        return found

    def _object(self, properties: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name not in optional],
            "additionalProperties": False,
        }

    def _type(self, kind: Any) -> dict[str, Any]:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind in _SIMPLE:
            return {"type": _SIMPLE[kind]}
        if kind is Any:
            return {}
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin in (types.UnionType, typing.Union):
            return self._union([self._type(entry) for entry in arguments])
        if hasattr(kind, "json_item"):
            return {"type": "array", "items": self._type(kind.json_item)}
        if is_record(kind) or hasattr(kind, "_fields"):
            return self._reference(kind)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return {"enum": [entry.value for entry in kind]}
        base = origin or kind
        if isinstance(base, type) and issubclass(base, Mapping):
            return {"type": "object", "additionalProperties": self._type(arguments[1])}
        if isinstance(base, type) and issubclass(base, Sequence | set | frozenset):
            return {"type": "array", "items": self._type(arguments[0])}
        raise TypeError(f"no JSON is defined for the type {kind!r}")

    def _union(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        if all("enum" in part or part == {"type": "null"} for part in parts):
            return {"enum": [value for part in parts for value in part.get("enum", [None])]}
        if all(set(part) == {"type"} for part in parts):
            return {"type": [part["type"] for part in parts]}
        first, *others = parts
        if others == [{"type": "null"}] and isinstance(first.get("type"), str):
            return first | {"type": [first["type"], "null"]}
        return {"anyOf": parts}

    def _reference(self, kind: Any) -> dict[str, Any]:
        name = kind.__name__
        if name not in self._definitions:
            self._definitions[name] = {}  # It may refer to itself.
            found = self._object(self._members(kind), _optional(kind))
            self._definitions[name] = {"description": _summary(kind), **found}
        return {"$ref": f"#/$defs/{name}"}


def _optional(kind: Any) -> list[str]:
    """The members that a JSON object may lack."""
    return [json_fields(kind)[name] for name in getattr(kind, "json_optional", ())]


def _summary(kind: type) -> str:
    return _plain((inspect.getdoc(kind) or "").partition("\n\n")[0])


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _type_of(kind: Any, name: str) -> Any:
    """The type of a field or property, wherever in the class's bases it is declared."""
    for base in kind.__mro__:
        known = namespace(base.__module__) if base.__module__ in sys.modules else {}
        if name in getattr(base, "__annotations__", {}):
            annotation = base.__annotations__[name]
            return eval(annotation, known) if isinstance(annotation, str) else annotation
        member = vars(base).get(name)
        if member is not None and (function := getattr(member, "fget", getattr(member, "func", None))):
            return typing.get_type_hints(function, known)["return"]
    raise TypeError(f"{kind.__name__} has no field and no property {name}")


def _description(kind: Any, name: str) -> str:
    for base in kind.__mro__:
        member = vars(base).get(name)
        function = getattr(member, "fget", getattr(member, "func", None))
        if function is not None:
            return _plain((inspect.getdoc(function) or "").partition("\n\n")[0])
        if base.__module__ != "builtins" and name in (found := _field_docstrings(base)):
            return _plain(found[name])
    return ""


@functools.cache
def _field_docstrings(kind: type) -> dict[str, str]:
    """The docstrings of a class's fields: the strings below them."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if is_field and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = str(text.value.value)
    return found


if __name__ == "__main__":
    sys.exit(main())
