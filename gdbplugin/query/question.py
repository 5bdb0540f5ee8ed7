"""A question about a list: which of its rows, in what order, by what they are grouped, and which fields.

The rows are JSON's: what `--json` prints of the list is what is asked. The order of the steps is SQL's: the
rows that match, of those the last ones if so many are asked for; then groups; then the order; then how many.
"""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.machine import SelectionError
from gdbplugin.query.expression import Expression
from gdbplugin.query.fields import Field, few, fields_of
from gdbplugin.query.operations import by_name, value_of
from gdbplugin.records import dataclass
from gdbplugin.words import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Row = dict[str, Any]

ROWS = "rows"
"""The column of a group that counts its rows."""
SCHEMA = "tinyos.table/1"
_MOST_LISTED = 120
"""Characters of texts that a note lists."""
_MOST_COMPARED = 1000
"""Texts among which the nearest is looked for, which takes a while."""


@dataclass(frozen=True)
class Table(Diagnosed):
    """The rows of a list that a question asks for: with chosen columns, or grouped."""

    json_fields = ("of", "list", "total", "matching", "columns", "rows")

    of: str
    """The schema of the object that has the list, such as `tinyos.lazy/1`."""
    list: str
    """The member of that object, such as `pages`."""
    total: int
    """Number of rows of the list."""
    matching: int
    """Number of rows for which the expression of --where is true; all without one."""
    columns: tuple[str, ...]
    """The fields of each row, in the order asked for; of a group also `rows`, and sums by their field."""
    rows: tuple[dict[str, Any], ...]
    """The rows in order, each an object with the columns as its members; a dot in a name is part of it."""
    used: int = 0
    """Number of matching rows that are shown or grouped: fewer if only the last ones were asked for."""
    whole: int = 0
    """Number of rows or groups before the limit."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Question:
    """What is asked about the list of the objects of a schema. Raises `SelectionError` if it cannot be.

    `sort`, `group` and `columns` are names of fields with commas between them; a `-` before one of `sort`
    turns the order round. `first` and `last` limit the rows. `title` is what they are called in text, if not
    as their list. With `rows_are_findings` they are the object's findings too, which text shows once.
    """

    def __init__(
        self,
        schema: str,
        *,
        title: str = "",
        rows_are_findings: bool = False,
        where: str | None = None,
        sort: str | None = None,
        group: str | None = None,
        columns: str | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> None:
        self.schema = schema
        self.fields = fields_of(schema)
        self.title = title or self.fields.name
        self.rows_are_findings = rows_are_findings
        self.where = None if where is None else Expression(where, self.fields)
        self._first, self._last = first, last
        chosen = None if columns is None else _names(columns)
        keys = None if group is None else _names(group)
        self.chosen = frozenset((*(chosen or ()), *(() if keys is None else (*keys, ROWS))))
        """The columns that were asked for by name: they are not left out."""
        self.group = None if keys is None else self._grouped(keys)
        if self.group is not None:
            self.columns: Sequence[Field] | None = [*self.group, _COUNTED, *self._sums(chosen)]
        else:
            self.columns = None if chosen is None else [self.fields.field(name) for name in chosen]
        self._order = () if sort is None else [self._sorted_by(name) for name in _names(sort)]

    @property
    def makes_table(self) -> bool:
        """Whether the answer has other rows than the list: chosen columns, or groups."""
        return self.columns is not None

    @property
    def named(self) -> set[str]:
        """The fields that the rows were chosen and ordered by."""
        return {*(self.where.names if self.where else ()), *(name for name, _ in self._order)}

    def answer(self, shown: Mapping[str, Any], diagnostics: Diagnostics) -> Table:
        """The rows of an object, which is JSON's. Raises `SelectionError` where a value does not fit."""
        found: Sequence[Row] = _at(shown, self.fields.path) or ()
        total = len(found)
        where = self.where
        if where is not None:
            self._note_unseen(where, found, diagnostics)
            found = [row for row in found if where(row)]
        matching = len(found)
        if self._last is not None:
            found = found[max(0, len(found) - self._last) :]
        used = len(found)
        if self.group is not None:
            found = self._groups(found)
        whole = len(found)
        found = self._in_order(found)[: self._first]
        names = [field.name for field in self.columns or self.fields.top]
        if self.columns is not None and self.group is None:
            found = _chosen(found, names)
        name, columns = self.fields.name, tuple(names)
        return Table(
            self.schema, name, total, matching, columns, tuple(found), used, whole, diagnostics=diagnostics
        )

    def changed(self, shown: dict[str, Any], answer: Table) -> dict[str, Any]:
        """The object with the rows of an answer in place of its list, and their number in its count."""
        changes: list[tuple[tuple[str, ...], Any]] = [(self.fields.path, answer.rows)]
        if self.fields.count_path:
            changes.append((self.fields.count_path, answer.matching))
        for path, value in changes:
            if _at(shown, path) is not None:  # Null stays: the kernel has no such list.
                shown = _with(shown, path, value)
        return shown

    def _note_unseen(self, where: Expression, rows: Sequence[Row], diagnostics: Diagnostics) -> None:
        """Say which texts no row has in the field that they are compared with: they may be mistyped."""
        for name, text in where.compared if rows else ():
            value = value_of(name)
            present = {found for row in rows if isinstance(found := value(row), str) and found.isprintable()}
            if text in present or not text.isprintable():
                continue
            said = nearest(text, sorted(present)[:_MOST_COMPARED], '"')
            listed = ", ".join(f'"{one}"' for one in sorted(present))
            if not said and present and len(listed) <= _MOST_LISTED:
                said = f"; the rows have {listed}"
            diagnostics.add_note(f'no row has {name} "{text}"{said}')

    def _grouped(self, names: Sequence[str]) -> Sequence[Field]:
        found = [self.fields.field(name) for name in names]
        for field in found:
            if not field.is_simple:
                raise SelectionError(f"{field.name} is not one value: nothing can be grouped by it")
        return found

    def _sums(self, chosen: Sequence[str] | None) -> Sequence[Field]:
        """The fields that are summed in a group: those chosen, or all of the row's own that add up."""
        keys = {field.name for field in self.group or ()} | {ROWS}
        if chosen is None:
            return [field for field in self.fields.top if field.adds_up and field.name not in keys]
        found = [self.fields.field(name) for name in chosen if name not in keys]
        for field in found:
            if not field.adds_up:
                known = few([field.name for field in self.fields.all if field.adds_up]) or "none"
                said = "with --group, --columns are sums of sizes and counts"
                raise SelectionError(f"{field.name} does not add up: {said} (known: {known})")
        return found

    def _sorted_by(self, name: str) -> tuple[str, bool]:
        """A field and whether its order is turned round; of groups only their own columns."""
        name, turned = name.removeprefix("-"), name.startswith("-")
        if self.group is not None and self.columns is not None:
            known = [field.name for field in self.columns]
            if name not in known:
                self.fields.field(name)  # A mistyped name is said to be that.
                raise SelectionError(f"groups have no {name} to be sorted by (known: {', '.join(known)})")
        elif not self.fields.field(name).is_simple:
            raise SelectionError(f"{name} is not one value: nothing can be sorted by it")
        return name, turned

    def _in_order(self, rows: Sequence[Row]) -> Sequence[Row]:
        order = self._order
        if not order and self.group is not None:
            order = [(field.name, False) for field in self.group]
        get = value_of if self.group is None else by_name  # The columns of groups have dots in their names.
        for name, turned in reversed(order):
            value = get(name)
            pairs = [(value(row), row) for row in rows]
            missing = [row for found, row in pairs if found is None]
            present = [pair for pair in pairs if pair[0] is not None]
            present.sort(key=lambda pair: _rank(pair[0]), reverse=turned)
            rows = [*(row for _, row in present), *missing]
        return rows

    def _groups(self, rows: Sequence[Row]) -> list[Row]:
        """A row for each value of the grouping fields: the values, how many rows, and the sums."""
        assert self.group is not None
        assert self.columns is not None
        keys = [(field.name, value_of(field.name)) for field in self.group]
        sums = [(field.name, value_of(field.name)) for field in self.columns[len(keys) + 1 :]]
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            values = [(name, value(row)) for name, value in keys]
            # 1 and True are the same to a dict.
            group = found.setdefault(tuple((type(value), value) for _, value in values), {})
            if not group:
                group.update([*values, (ROWS, 0), *((name, None) for name, _ in sums)])
            group[ROWS] += 1
            for name, value in sums:
                number = value(row)
                if isinstance(number, int | float):
                    group[name] = number + (group[name] or 0)
        return list(found.values())


_COUNTED = Field(ROWS, frozenset({"integer"}), (), "Number of rows.")


def _names(text: str) -> list[str]:
    found = [name.strip() for name in text.split(",")]
    for name in found:
        if not name.removeprefix("-"):
            raise SelectionError(f'"{text}" has an empty name: give fields as A,B')
        if found.count(name) > 1:
            raise SelectionError(f"{name} is given twice")
    return found


def _chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    values = [(name, value_of(name)) for name in names]
    return [{name: value(row) for name, value in values} for row in rows]


def _rank(value: Any) -> tuple[bool, Any]:
    """Orders values of different kinds: numbers before texts."""
    return (True, value) if isinstance(value, str) else (False, value)


def _at(shown: Any, path: Sequence[str]) -> Any:
    for step in path:
        shown = None if shown is None else shown[step]
    return shown


def _with(shown: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    step, *rest = path
    return {**shown, step: _with(shown[step], rest, value) if rest else value}
