"""The generated parts of the pages, as Markdown: from descriptors, docstrings, schemas and the kernel."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest

from gdbplugin import pytest_plugin
from gdbplugin.commands import COMMANDS
from gdbplugin.query.fields import fields_of
from gdbplugin.session import TinyOS
from scripts.lib.docs.blocks import TOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.commands.descriptor import Command

_MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
_DEBUGGER = TOP / "gdbplugin" / "debugger"
SCHEMAS = TOP / "gdbplugin" / "schemas"


def filled(text: str) -> str:
    """The text of a page with its generated parts in place of their marks."""
    return _MARK.sub(lambda found: PARTS[found[1]](), text)


# Commands


def commands() -> str:
    """Every command: usage, description, parameters, and how else it can be given."""
    return "\n\n".join(_command(command) for command in COMMANDS) + "\n"


def _command(command: Command) -> str:
    lines = [
        f"(command-{command.word})=",
        f"## tinyos {command.word}",
        "",
        _escaped(command.summary),
        "",
        f"```text\n{command.usage}\n```",
        "",
        _escaped(" ".join(command.description.split())),
        "",
    ]
    parameters = (*command.arguments, *command.options)
    rows = [(f"`{one.usage.strip('[]')}`", _meaning(one)) for one in parameters]
    lines += [_table(("word", "meaning"), rows), ""]
    forms = [command.form, *(option.form for option in command.options if option.form is not None)]
    names = dict.fromkeys(form.schema for form in forms)
    if command.form.rows is not None:
        fields = fields_of(command.form.schema)
        listed = ", ".join(f"`{field.name}`" for field in fields.all)
        lines += [f"Fields of its list, `{'.'.join(fields.path)}`: {listed}.", ""]
    lines.append(
        f"JSON: {', '.join(_schema_link(name) for name in names)}. GDB/MI: `-tinyos-{command.word}`."
    )
    if command.letter:
        lines.append(f"At the prompt and in GDB also `*{command.letter}`, as in the kernel's shell.")
    return "\n".join(lines)


def _meaning(parameter: Any) -> str:
    choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
    return _escaped(parameter.meaning) + choices


def _schema_link(name: str) -> str:
    return f"[`{name}`](schemas.md#{_anchor(name)})"


def objects() -> str:
    """For each command the library's method, what it returns, and where that is explained."""
    rows = []
    for command in COMMANDS:
        if not hasattr(TinyOS, command.word):
            continue  # It lets the target run: `json` has its result.
        meaning = " ".join((command.form.read.__doc__ or "").split())
        kind = command.form.read.__annotations__["return"]
        row = (f"`{command.word}()`", f"`{kind}`", _escaped(meaning), _schema_link(command.form.schema))
        rows.append(row)
    return _table(("method", "returns", "what it reads", "keys"), rows) + "\n"


def pytest_options() -> str:
    """The options that the pytest plugin adds, as pytest shows them."""
    options: list[tuple[str, ...]] = []

    class Group:
        def addoption(
            self,
            name: str,
            *,
            help: str,  # noqa: A002 (pytest's word)
            metavar: str = "",
            action: str = "",
        ) -> None:
            options.append((f"`{name}`" if action else f"`{name}={metavar}`", _escaped(help)))

    class Parser:
        def getgroup(self, *_: str) -> Group:
            return Group()

    pytest_plugin.pytest_addoption(cast(pytest.Parser, Parser()))
    return _table(("option", "meaning"), options) + "\n"


# Functions and settings, read without GDB


def functions() -> str:
    """The convenience functions: those classes whose docstring begins with `$tinyos_`."""
    found = [text for _, text in _classes("functions") if text.startswith("$tinyos_")]
    if not found:
        raise ValueError("gdbplugin/debugger/functions.py has no convenience functions")
    rows = []
    for text in found:
        usage, _, meaning = " ".join(text.split()).partition(": ")
        rows.append(f"`{usage}`\n: {_escaped(meaning[0].upper() + meaning[1:])}")
    return "\n\n".join(rows) + "\n"


def settings() -> str:
    """The settings of `set tinyos` and `show tinyos`."""
    rows = []
    for node, text in _classes("preferences"):
        values = _constants(node)
        usage = re.search(r"^Usage: set (tinyos .*)$", text, re.MULTILINE)
        if "set_doc" in values and "name" in values:
            rows.append((f"set tinyos {values['name']}", f"{values['set_doc']} {text}"))
        elif usage:
            rows.append((f"set {usage[1]}", text.replace(usage[0], "")))
    if not rows:
        raise ValueError("gdbplugin/debugger/preferences.py has no settings")
    return "\n\n".join(f"`{usage}`\n: {_escaped(' '.join(text.split()))}" for usage, text in rows) + "\n"


def _classes(module: str) -> Iterator[tuple[ast.ClassDef, str]]:
    for node in ast.parse((_DEBUGGER / f"{module}.py").read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node, ast.get_docstring(node) or ""


def _constants(node: ast.ClassDef) -> dict[str, str]:
    """The texts that a class gives to names in its body."""
    return {
        target.id: statement.value.value
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name) and isinstance(statement.value.value, str)
    }


# Schemas


def schemas() -> str:
    """Every JSON schema as a table of its properties, with those of the objects in it."""
    return (
        "\n\n".join(_schema(json.loads(path.read_text())) for path in sorted(SCHEMAS.glob("*.json"))) + "\n"
    )


def _schema(schema: dict[str, Any]) -> str:
    file = schema["$id"]
    name = schema.get("properties", {}).get("schema", {}).get("const") or file.removesuffix(".json")
    lines = [
        f"({_anchor(name)})=",
        f"## {name}",
        "",
        _escaped(schema.get("description") or schema["title"]),
        "",
    ]
    lines += [f"File: {{download}}`{file} <../../gdbplugin/schemas/{file}>`", ""]
    if "properties" in schema:
        lines += [_properties(schema), ""]
    for title, part in sorted(schema.get("$defs", {}).items()):
        lines += [f"### {title}", ""]
        if "description" in part:
            lines += [_escaped(part["description"]), ""]
        lines += [_properties(part) if "properties" in part else f"Type: {_type(part)}", ""]
    return "\n".join(lines)


def _properties(schema: dict[str, Any]) -> str:
    rows = [
        (f"`{name}`", _type(part), _escaped(part.get("description", "")))
        for name, part in schema["properties"].items()
    ]
    return _table(("name", "type", "meaning"), rows)


def _type(part: dict[str, Any]) -> str:
    """A type in a few words: `array of Stack`, `integer or null`."""
    if "$ref" in part:
        return f"`{part['$ref'].rpartition('/')[2]}`"
    if "const" in part:
        return f"`{json.dumps(part['const'])}`"
    if "enum" in part:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in part["enum"])
    for word in ("anyOf", "oneOf"):
        if word in part:
            return " or ".join(_type(choice) for choice in part[word])
    kinds = part.get("type", "any")
    return " or ".join(_named_type(kind, part) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _named_type(kind: str, part: dict[str, Any]) -> str:
    if kind == "array" and isinstance(part.get("items"), dict) and part["items"]:
        return f"array of {_type(part['items'])}"
    if kind == "object" and isinstance(part.get("additionalProperties"), dict):
        return f"object with values of {_type(part['additionalProperties'])}"
    return kind


# The kernel


def kernel_interface() -> str:
    """What `kernel/src/debugger.rs` says at its beginning."""
    return _module_text("debugger.rs")


def kernel_probes() -> str:
    """What `kernel/src/probes.rs` says at its beginning."""
    text = (TOP / "kernel/src/probes.rs").read_text()
    lines = [
        line.removeprefix("//!").removeprefix(" ") for line in text.splitlines() if line.startswith("//!")
    ]
    return _without_rust_links("\n".join(lines)) + "\n"


def kernel() -> str:
    """`kernel/README.md` without its title; links to source files become their names."""
    text = (TOP / "kernel/README.md").read_text().partition("\n")[2]
    return re.sub(r"\[(`[^`]+`)\]\(src/[^)]+\)", r"\1", text)


def _module_text(file: str) -> str:
    """The documentation of a module of the kernel, its headings one level lower."""
    text = (TOP / "kernel" / "src" / file).read_text()
    lines = [
        line.removeprefix("//!").removeprefix(" ") for line in text.splitlines() if line.startswith("//!")
    ]
    return _without_rust_links(re.sub(r"^# ", "## ", "\n".join(lines), flags=re.MULTILINE)) + "\n"


def _without_rust_links(text: str) -> str:
    """Links of rustdoc as code: [`Request`], [mark](crate::marks)."""
    text = re.sub(r"\[(`[^`]+`)\](?:\([^)]*\))?", r"\1", text)
    return re.sub(r"\[([^\]`]+)\]\(crate::[^)]*\)", r"\1", text).replace("`crate::", "`")


# Markdown


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Plain text as Markdown. What stands in backquotes stays code."""
    parts = text.split("`") if text.count("`") % 2 == 0 else [text]
    escaped = [re.sub(r"([\\*_<>\[\]$#{}])", r"\\\1", part) for part in parts[::2]]
    quoted = [f"`{part}`" for part in parts[1::2]]
    return "".join(word for pair in zip(escaped, [*quoted, ""], strict=True) for word in pair)


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "objects": objects,
    "pytest-options": pytest_options,
    "functions": functions,
    "settings": settings,
    "schemas": schemas,
    "kernel-interface": kernel_interface,
    "kernel-probes": kernel_probes,
    "kernel": kernel,
}
"""What can stand in a page as `<!-- generated: NAME -->`."""
