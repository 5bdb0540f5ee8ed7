"""What a command prints if its list is asked about: a table, JSON, or CSV; the same in every front end."""

from __future__ import annotations

from gdbplugin.commands.descriptor import to_json
from gdbplugin.query.fields import Field
from gdbplugin.query.operations import by_name, value_of
from gdbplugin.query.question import SCHEMA, Question, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from gdbplugin.commands.descriptor import Command
    from gdbplugin.kernel.diagnostics import Diagnosed
    from gdbplugin.kernel.target import Target
    from gdbplugin.query.operations import Evaluate
    from gdbplugin.render import Style

_ROWS_SHOWN = 400
_LONGEST_LIST = 8


def question(command: Command, values: dict[str, Any]) -> Question:
    """What the values of the parameters ask. Raises `SelectionError` if it cannot be asked."""
    form = command.form_for(values)
    limits = {"first": form.first, "last": form.last}
    return Question(
        form.schema,
        title=form.title,
        rows_are_findings=form.rows_are_findings,
        **{key: values.get(key) for key in ("where", "sort", "group", "columns")},
        **{name: values.get(limit.key) for name, limit in limits.items() if limit is not None},
    )


def table(command: Command, target: Target, values: dict[str, Any]) -> Table:
    """The answer to a question about a command's list. Raises a `MachineError`."""
    asked = question(command, values)
    shown = command.form.read_asked(target, command.words(values))
    return asked.answer(_plain(asked, shown), shown.diagnostics)


def printed(asked: Question, values: dict[str, Any], shown: Diagnosed, style: Style) -> str:
    """The answer as text, as JSON, or as CSV, as the values say."""
    plain = _plain(asked, shown)
    answer = asked.answer(plain, shown.diagnostics)
    if "csv" in values:
        return _csv(asked, answer)
    if "json" in values:
        return as_json(asked, plain, answer) + "\n"
    return _text(asked, answer, style)


def as_json(asked: Question, plain: dict[str, Any], answer: Table) -> str:
    """The whole object with the rows of the answer; a table if they are not rows of the list."""
    # Not at the top: no command needs it for its own text.
    import json

    if asked.makes_table:
        return to_json(SCHEMA, answer)
    return json.dumps({**asked.changed(plain, answer), "notes": answer.notes})


def _plain(asked: Question, shown: Diagnosed) -> dict[str, Any]:
    """An object as JSON has it."""
    import json

    found: dict[str, Any] = json.loads(to_json(asked.schema, shown))
    return found


def _columns(asked: Question) -> Sequence[Field]:
    return asked.columns if asked.columns is not None else asked.fields.columns


def _getters(asked: Question) -> list[Evaluate]:
    """What gives the values of a row's columns. Those of a table have their whole path as their name."""
    get = by_name if asked.makes_table else value_of
    return [get(field.name) for field in _columns(asked)]


def _csv(asked: Question, answer: Table) -> str:
    """The rows with a first one of names; numbers decimal, null empty, lists and objects as JSON."""
    import csv
    import io
    import json

    def cell(value: Any) -> Any:
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)

    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([field.name for field in _columns(asked)])
    getters = _getters(asked)
    writer.writerows([cell(value(row)) for value in getters] for row in answer.rows)
    return written.getvalue()


def _text(asked: Question, answer: Table, style: Style) -> str:
    """A table under a title that counts the rows, then findings and notes."""
    lines = [style.title(_title(asked, answer))]
    columns, shown = _columns(asked), answer.rows[:_ROWS_SHOWN]
    if shown:
        getters = _getters(asked)
        values = [[value(row) for value in getters] for row in shown]
        rows = [
            [_cell(field, value, style) for field, value in zip(columns, row, strict=True)] for row in values
        ]
        headers = [field.name for field in columns]
        right = [field.name for field in columns if field.types & {"integer", "number"}]
        full = {name for row in values for name, value in zip(headers, row, strict=True) if value is not None}
        # The first stays, then what was asked about. Columns without a value are the first to go.
        least = sorted(
            (name for name in headers[:0:-1] if name not in asked.chosen),
            key=lambda name: (name in asked.named, name in full),
        )
        texts = set(headers) - set(right)
        lines.append(style.table(headers, rows, right, dispensable=least, flexible=texts))
    if len(answer.rows) > len(shown):
        said = f"the first {len(shown)} are shown; narrow it with --where, or use --json or --csv for all"
        lines += style.wrapped(f"  {said}")
    text = "\n".join(lines)
    if asked.rows_are_findings:
        return "".join(f"{line}\n" for line in (text, *style.notes(answer)))
    return style.sections([text], answer)


def _title(asked: Question, answer: Table) -> str:
    """`Pages (5 of 12 that match, of 2,048)`."""
    name = asked.title.replace("_", " ").capitalize()
    is_grouped = asked.group is not None
    if asked.group is not None:
        name += f" by {', '.join(field.name for field in asked.group)}"
    shown = answer.used if is_grouped else len(answer)
    matching = f"{answer.matching:,} of {answer.total:,}" if asked.where else f"{answer.total:,}"
    of = f"{answer.matching:,} that match, of {answer.total:,}" if asked.where else matching
    rows = f"{shown:,} of {of}" if shown < answer.matching else matching
    if is_grouped and len(answer) < answer.whole:
        of = rows if shown < answer.matching else of
        return f"{name} ({len(answer):,} of {answer.whole:,} groups, of {of})"
    return f"{name} ({rows})"


def _cell(field: Field, value: Any, style: Style) -> str:
    """A value in its field's unit."""
    if value is None:
        return style.missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        unit = field.unit
        if unit in ("count", "place"):
            return style.count(value)
        if unit == "bytes":
            return style.short_size(value)
        return style.address(value) if unit == "address" else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return _words(value)


def _words(value: Any) -> str:
    """A text of the target's, which may have anything in it; a list or an object in a few words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        if len(value) > _LONGEST_LIST or any(isinstance(inner, list | dict) for inner in value):
            return f"({len(value):,})"
        return ", ".join(map(_words, value))
    return "".join(letter if letter.isprintable() else "." for letter in str(value))
