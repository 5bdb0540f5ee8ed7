"""A program's call frame information, from `.debug_frame` and `.eh_frame` by pyelftools (DWARF 5, 6.4)."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gdbplugin.aarch64.unwind import Row, Rule
from gdbplugin.layout.dwarf_unit import UNREADABLE, in_words
from gdbplugin.layout.elf import ElfError, open_plain

_SIGNAL = b"S"
_RULES = {
    "UNDEFINED": "undefined",
    "SAME_VALUE": "same",
    "OFFSET": "offset",
    "VAL_OFFSET": "value offset",
    "REGISTER": "register",
    "EXPRESSION": "expression",
    "VAL_EXPRESSION": "value expression",
}


class CallFrameTable:
    """The call frame information of one file; satisfies `gdbplugin.aarch64.unwind.CallFrames`.

    Instructions are decoded when a row of theirs is first asked for. `problems` has a clause for each part
    that could not be read.
    """

    def __init__(self, entries: list[Any], problems: list[str]) -> None:
        self._entries = sorted(entries, key=_start)
        self._starts = [_start(entry) for entry in self._entries]
        self._rows: dict[int, list[tuple[int, Row]]] = {}
        self.problems = problems

    def __bool__(self) -> bool:
        return bool(self._entries)

    def row(self, address: int) -> Row | None:
        """What holds at an instruction; None if nothing is known of it."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._starts[index] + self._entries[index]["address_range"]:
            return None
        if index not in self._rows:
            self._rows[index] = self._decode(self._entries[index])
        rows = self._rows[index]
        place = bisect_right([start for start, _ in rows], address) - 1
        return rows[place][1] if place >= 0 else None

    def _decode(self, entry: Any) -> list[tuple[int, Row]]:
        try:
            common = entry.cie
            is_signal = _SIGNAL in bytes(common.header.get("augmentation", b""))
            column = int(common["return_address_register"])
            return [(int(line["pc"]), _row(line, column, is_signal)) for line in entry.get_decoded().table]
        except UNREADABLE as error:
            self.problems.append(
                f"the call frame information of {_start(entry):#x} cannot be read: {in_words(error)}"
            )
            return []


def _start(entry: Any) -> int:
    return int(entry["initial_location"])


def _row(line: dict[Any, Any], column: int, is_signal: bool) -> Row:
    cfa = line["cfa"]
    rule = Rule("register", cfa.reg) if cfa.expr is None else Rule("expression", bytes(cfa.expr))
    if cfa.expr is None and cfa.reg is None:
        raise ValueError("no rule for the canonical frame address")
    rules = {register: _rule(found) for register, found in line.items() if isinstance(register, int)}
    return Row(rule, cfa.offset or 0, rules, column, is_signal)


def _rule(found: Any) -> Rule:
    argument = found.arg if isinstance(found.arg, int) else bytes(found.arg or b"")
    kind: Any = _RULES[found.type]
    return Rule(kind, argument)


def read_call_frames(path: Path) -> CallFrameTable:
    """The call frame information of an ELF file; empty, with problems, if it cannot be read."""
    entries: list[Any] = []
    problems: list[str] = []
    try:
        with open_plain(path) as file:
            dwarf: Any = ELFFile(file).get_dwarf_info(relocate_dwarf_sections=False)
            for has, read in (
                (dwarf.has_CFI, dwarf.CFI_entries),
                (dwarf.has_EH_CFI, dwarf.EH_CFI_entries),
            ):
                if has():
                    entries += [entry for entry in read() if "initial_location" in entry.header]
    except (ElfError, OSError) as error:
        problems.append(str(error))
    except UNREADABLE as error:
        problems.append(f"the call frame information of {path} cannot be read: {in_words(error)}")
    return CallFrameTable(entries, problems)
