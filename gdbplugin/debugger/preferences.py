"""The settings of `set tinyos` and `show tinyos`. They are kept by GDB, and ask nothing of a target."""

from __future__ import annotations

import importlib
import sys

import gdb

from gdbplugin.debugger.text import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


_NAMES = ("color", "limit", "unicode", "width", "manager")


def _refuse(argument: str) -> None:
    if argument.strip():
        raise failure(f'tinyos: there is no setting "{argument.strip()}"; those are: {", ".join(_NAMES)}')


class _SetPrefix(gdb.Command):
    """Set what you prefer of the tinyos commands."""

    def __init__(self) -> None:
        super().__init__("set tinyos", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """GDB's call for whatever is no setting."""
        _refuse(argument)
        gdb.execute("help set tinyos", from_tty)


class _ShowPrefix(gdb.Command):
    """Show what you prefer of the tinyos commands."""

    def __init__(self) -> None:
        super().__init__("show tinyos", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """GDB's call for whatever is no setting: all of them."""
        _refuse(argument)
        for name in _NAMES:
            gdb.execute(f"show tinyos {name}", from_tty)


def _subject(show_doc: str) -> str:
    what = show_doc.removeprefix("Show ").rstrip(".")
    return what[0].upper() + what[1:]


class _Choice(gdb.Parameter):
    """A setting that is on, off, or as the terminal has it."""

    name: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(f"tinyos {self.name}", gdb.COMMAND_DATA, gdb.PARAM_ENUM, ["auto", "on", "off"])
        self.value = "auto"

    def get_show_string(self, value: str) -> str:
        """GDB's call."""
        return f'{_subject(self.show_doc)}: "{value}".'


class _Unicode(_Choice):
    """auto: as far as GDB's host charset has them. off: in their place - # . and the like."""

    name = "unicode"
    set_doc = "Set whether the tinyos commands write characters beyond ASCII."
    show_doc = "Show whether the tinyos commands write characters beyond ASCII."


class _Color(_Choice):
    """auto: on a terminal, where GDB's own `style enabled` is on and NO_COLOR is not set."""

    name = "color"
    set_doc = "Set whether the tinyos commands colour what they write."
    show_doc = "Show whether the tinyos commands colour what they write."


class _Number(gdb.Parameter):
    """A setting that is a number, or unlimited, which GDB keeps as 0."""

    name: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(f"tinyos {self.name}", gdb.COMMAND_DATA, gdb.PARAM_UINTEGER)
        self.value = 0

    def get_show_string(self, value: str) -> str:
        """GDB's call."""
        return f"{_subject(self.show_doc)}: {value}."


class _Limit(_Number):
    """It stands for the --limit of every command that has one and is not given it, --json aside.

    unlimited, or 0: each command's own.
    """

    name = "limit"
    set_doc = "Set how many rows the tinyos commands show at most."
    show_doc = "Show how many rows the tinyos commands show at most."


class _Width(_Number):
    """Lines are broken there, and tables go without their least columns.

    unlimited, or 0: on a terminal, as `set width` has it. From 40 to 100: fewer count as 40, more as 100.
    """

    name = "width"
    set_doc = "Set how wide what the tinyos commands write may be."
    show_doc = "Show how wide what the tinyos commands write may be."


_STOP = "gdbplugin.debugger.current"
_AUTO = "auto"
_chosen = ""


def chosen_manager() -> str:
    """The path that the user gave for TinyOS's memory manager; empty where it is to be found."""
    return _chosen


def _choose(path: str) -> str:
    """Take the path for the manager's; the one that was it before."""
    global _chosen
    before, _chosen = _chosen, path
    # Who has not been imported has kept nothing.
    if _STOP in sys.modules:
        sys.modules[_STOP].choose_again()
    return before


def _offered(paths: list[str], typed: str) -> list[str]:
    """What may be meant: auto, whole paths, and the ends of paths that are of one path only."""
    found = [path for path in (*paths, _AUTO) if path.startswith(typed)]
    if not typed:
        return found
    first = typed.partition(":")[0]
    ends: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("::")
        fitting = ["::".join(parts[at:]) for at in range(1, len(parts)) if parts[at].startswith(first)]
        # The longest: a shorter one says less.
        end = next((end for end in fitting if end.startswith(typed)), "")
        if end:
            ends.setdefault(end, []).append(path)
    for end, those in ends.items():
        # Of an end that would not tell which, the paths: GDB puts them in its place.
        found += [end] if len(those) == 1 else those if "::" not in typed else []
    return list(dict.fromkeys(found))


class _SetManager(gdb.Command):
    """Set which static is TinyOS's memory manager, by its path or the end of that.

    Usage: set tinyos manager [PATH | auto]
    It is found by what its type is made of; only where several statics are made like it is PATH needed, such
    as `my_kernel::memory::DYNAMIC_MEMORY_MANAGER`. auto, or nothing: it is found again. Where a program is
    loaded, a PATH of no such static is refused, and what was chosen before stays.
    """

    # Not a gdb.Parameter: GDB completes none but those with a fixed list of values.

    def __init__(self) -> None:
        super().__init__("set tinyos manager", gdb.COMMAND_DATA)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """GDB's call."""
        chosen = argument.strip()
        before = _choose("" if chosen == _AUTO else chosen)
        space = gdb.current_progspace()
        if not _chosen or space is None or not space.filename:
            return
        problem = importlib.import_module(_STOP).manager_problem()
        if problem:
            _choose(before)
            raise failure(f"tinyos: {problem}")

    def complete(self, text: str, word: str | None) -> list[str]:
        """GDB's call: the statics that are made like a manager. GDB breaks words at colons."""
        if word is None:
            return []  # GDB 14 and later ask first where words are broken.
        head = text[: len(text) - len(word)]
        paths = importlib.import_module(_STOP).manager_paths()
        return [path[len(head) :] for path in _offered(paths, text)]


class _ShowManager(gdb.Command):
    """Show which static is TinyOS's memory manager, if one was chosen."""

    def __init__(self) -> None:
        super().__init__("show tinyos manager", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, _argument: str, _from_tty: bool) -> None:
        """GDB's call."""
        gdb.write(f'Which static is TinyOS\'s memory manager: "{_chosen or _AUTO}".\n')


def register() -> None:
    """Make the prefixes, and then what stands behind them."""
    for kind in (_SetPrefix, _ShowPrefix, _Unicode, _Color, _Limit, _Width, _SetManager, _ShowManager):
        kind()
