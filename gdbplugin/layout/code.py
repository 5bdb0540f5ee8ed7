"""Which function, file and line an instruction belongs to, inlined functions included; see `code_reader`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class CodePlace(NamedTuple):
    """A place in a program's source."""

    function: str
    """The function's name, with its modules."""
    offset: int | None
    """Bytes from the function's first instruction; None for an inlined function."""
    file: str | None
    """The source file, relative to where the program was built; None if that is not known."""
    line: int | None
    """The line in it."""


class Function(NamedTuple):
    """A range of a function's instructions."""

    start: int
    end: int
    entry: int
    """The address of the function's first instruction, which may be in another range."""
    name: str


class CodeTables:
    """The functions and lines of a program as tables of numbers, which are JSON data.

    Names go by their place in `names`. The other tables:

    - `functions`: start, end, entry and name of each range, by ascending start;
    - `inlined`: for a function's entry (as text) its inlined ranges: start, end, depth (0 if inlined into the
      function itself, 1 into that), name, and the file and line of the call;
    - `addresses`, `files`, `lines`: where the instructions from an address on come from; line 0 if not known.
    """

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.functions: list[list[int]] = []
        self.inlined: dict[str, list[list[Any]]] = {}
        self.addresses: list[int] = []
        self.files: list[int] = []
        self.lines: list[int] = []
        self._numbers: dict[str | None, int] = {}

    def number(self, name: str | None) -> int:
        """The number of a name."""
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def sort(self) -> None:
        """Bring the tables into their order."""
        self.functions.sort()
        # The end of one sequence may be the start of the next.
        rows = sorted(
            zip(self.addresses, self.files, self.lines, strict=True), key=lambda row: (row[0], row[2] != 0)
        )
        self.addresses, self.files, self.lines = ([row[place] for row in rows] for place in range(3))

    def to_json(self) -> dict[str, Any]:
        """The tables as JSON data."""
        return {name: getattr(self, name) for name in _TABLES}

    @classmethod
    def from_json(cls, data: Any) -> CodeTables:
        """The tables from what `to_json` returned; other data raises one of several built-in exceptions."""
        tables = cls()
        for name, kind in _TABLES.items():
            if not isinstance(data[name], kind):
                raise TypeError(f"{name} is not a {kind.__name__}")
            setattr(tables, name, data[name])
        if not len(tables.addresses) == len(tables.files) == len(tables.lines):
            raise ValueError("tables of different lengths")
        return tables


_TABLES = {"names": list, "functions": list, "inlined": dict, "addresses": list, "files": list, "lines": list}
# A symbol may cover several functions with debug information.
_MOST_AROUND = 4


class CodeMap:
    """The functions and lines of a program. `problems` has a clause for each part that could not be read."""

    def __init__(self, tables: CodeTables, problems: Sequence[str] = ()) -> None:
        self.tables = tables
        self.problems = tuple(problems)
        self._starts = [row[0] for row in tables.functions]

    def function(self, address: int) -> Function | None:
        """The function that an instruction belongs to."""
        place = bisect_right(self._starts, address)
        for start, end, entry, name in reversed(self.tables.functions[max(place - _MOST_AROUND, 0) : place]):
            if start <= address < end:
                return Function(start, end, entry, self.tables.names[name] or "?")
        return None

    def places(self, address: int) -> tuple[CodePlace, ...]:
        """Where an instruction comes from: the innermost inlined function first, the function itself last.

        Empty if nothing is known of it.
        """
        function = self.function(address)
        if function is None:
            return ()
        names = self.tables.names
        file, line = self._line(address)
        found = []
        inside = [
            (-depth, name, call_file, call_line)
            for start, end, depth, name, call_file, call_line in self.tables.inlined.get(
                str(function.entry), ()
            )
            if start <= address < end
        ]
        for _, name, call_file, call_line in sorted(inside, key=itemgetter(0)):
            found.append(CodePlace(names[name] or "?", None, file, line))
            file, line = names[call_file], call_line
        return (*found, CodePlace(function.name, address - function.entry, file, line))

    def _line(self, address: int) -> tuple[str | None, int | None]:
        tables = self.tables
        place = bisect_right(tables.addresses, address) - 1
        if place < 0 or not tables.lines[place]:
            return None, None
        return tables.names[tables.files[place]], tables.lines[place]
