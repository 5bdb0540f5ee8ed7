"""The settings of `set tinyos` and `show tinyos`. GDB keeps them; they do not use the target."""

from __future__ import annotations

import sys

import gdb

from gdbplugin.debugger.guards import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


_NAMES = ("color", "limit", "unicode", "width", "keep-stops", "manager")


def _refuse(argument: str) -> None:
    if argument.strip():
        raise failure(f'tinyos: no setting "{argument.strip()}" (known: {", ".join(_NAMES)})')


class _SetPrefix(gdb.Command):
    """Set preferences of the tinyos commands."""

    def __init__(self) -> None:
        super().__init__("set tinyos", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Called by GDB for anything that is not a setting."""
        _refuse(argument)
        gdb.execute("help set tinyos", from_tty)


class _ShowPrefix(gdb.Command):
    """Show preferences of the tinyos commands."""

    def __init__(self) -> None:
        super().__init__("show tinyos", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Called by GDB for anything that is not a setting: show all of them."""
        _refuse(argument)
        for name in _NAMES:
            gdb.write(f"{name}:  ")
            gdb.execute(f"show tinyos {name}", from_tty)


def _subject(show_doc: str) -> str:
    what = show_doc.removeprefix("Show ").rstrip(".")
    return what[0].upper() + what[1:]


class _Choice(gdb.Parameter):
    """A setting that is on, off, or auto."""

    name: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(f"tinyos {self.name}", gdb.COMMAND_DATA, gdb.PARAM_ENUM, ["auto", "on", "off"])
        self.value = "auto"

    def get_show_string(self, value: str) -> str:
        """Called by GDB: the text of `show`."""
        return f'{_subject(self.show_doc)}: "{value}".'


class _Unicode(_Choice):
    """auto: if GDB's host charset has them. off: ASCII characters such as - # . instead."""

    name = "unicode"
    set_doc = "Set whether the tinyos commands write characters beyond ASCII."
    show_doc = "Show whether the tinyos commands write characters beyond ASCII."


class _Color(_Choice):
    """auto: on a terminal, if GDB's own `style enabled` is on and NO_COLOR is not set."""

    name = "color"
    set_doc = "Set whether the tinyos commands colour what they write."
    show_doc = "Show whether the tinyos commands colour what they write."


class _Number(gdb.Parameter):
    """A setting that is a number, or unlimited, which GDB stores as 0."""

    name: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__(f"tinyos {self.name}", gdb.COMMAND_DATA, gdb.PARAM_UINTEGER)
        self.value = 0

    def get_show_string(self, value: str) -> str:
        """Called by GDB: the text of `show`."""
        return f"{_subject(self.show_doc)}: {value}."


class _Limit(_Number):
    """The default of --limit, in every command that has it; not with --json.

    unlimited, or 0: each command's own default.
    """

    name = "limit"
    set_doc = "Set how many rows the tinyos commands show at most."
    show_doc = "Show how many rows the tinyos commands show at most."


class _Width(_Number):
    """Lines are broken at this width, and tables leave out their least important columns.

    A number is never cut: a table whose other columns need more stays wider.

    unlimited, or 0: on a terminal, the value of `set width`. Less than 40 counts as 40, more than 100 as 100.
    """

    name = "width"
    set_doc = "Set the width of what the tinyos commands write."
    show_doc = "Show the width of what the tinyos commands write."


class _KeepStops(gdb.Parameter):
    """At each stop, everything that `tinyos diff` compares is read and kept: `$tinyos_stop(-1)` is the last.

    0: nothing is read at a stop, and only `tinyos diff` itself keeps the stop at which it is used. A number
    also keeps the present stop.
    """

    name = "keep-stops"
    set_doc = "Set how many of the last stops are kept, for tinyos diff."
    show_doc = "Show how many of the last stops are kept, for tinyos diff."

    def __init__(self) -> None:
        super().__init__("tinyos keep-stops", gdb.COMMAND_DATA, gdb.PARAM_ZUINTEGER)
        self.value = 0

    def get_set_string(self) -> str:
        """Called by GDB after the setting was changed."""
        from gdbplugin.debugger import stops

        stops.keep(int(str(self.value)))
        return ""

    def get_show_string(self, value: str) -> str:
        """Called by GDB: the text of `show`."""
        return f"{_subject(self.show_doc)}: {value}."


_AUTO = "auto"
_chosen = ""


def chosen_manager() -> str:
    """The path that the user gave for TinyOS's memory manager; empty to find it automatically."""
    return _chosen


def _choose(path: str) -> str:
    """Set the manager's path; returns the former one."""
    global _chosen
    before, _chosen = _chosen, path
    # If it is not imported yet, it has kept nothing.
    current = sys.modules.get("gdbplugin.debugger.current")
    if current is not None:
        current.choose_again()
    return before


def _offered(paths: list[str], typed: str) -> list[str]:
    """The completions of `typed`: auto, whole paths, and ends of paths that identify one path."""
    found = [path for path in (*paths, _AUTO) if path.startswith(typed)]
    if not typed:
        return found
    first = typed.partition(":")[0]
    ends: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("::")
        fitting = ["::".join(parts[at:]) for at in range(1, len(parts)) if parts[at].startswith(first)]
        # The longest one: it says most.
        end = next((end for end in fitting if end.startswith(typed)), "")
        if end:
            ends.setdefault(end, []).append(path)
    for end, those in ends.items():
        # For an end that several paths share, these paths: GDB replaces the typed text by them.
        found += [end] if len(those) == 1 else those if "::" not in typed else []
    return list(dict.fromkeys(found))


class _SetManager(gdb.Command):
    """Set which static is TinyOS's memory manager, by its path or the end of its path.

    Usage: set tinyos manager [PATH | auto]
    It is found by the shape of its type; PATH is needed only if several statics have that shape. Example:
    `my_kernel::memory::DYNAMIC_MEMORY_MANAGER`. auto, or nothing: find it by its shape. If a program is
    loaded and PATH is not such a static, it is refused, and the former setting stays.
    """

    # Not a gdb.Parameter: GDB completes only those with a fixed list of values.

    def __init__(self) -> None:
        super().__init__("set tinyos manager", gdb.COMMAND_DATA)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Called by GDB: choose the static."""
        chosen = argument.strip()
        before = _choose("" if chosen == _AUTO else chosen)
        space = gdb.current_progspace()
        if not _chosen or space is None or not space.filename:
            return
        from gdbplugin.debugger import current

        problem = current.manager_problem()
        if problem:
            _choose(before)
            raise failure(f"tinyos: {problem}")

    def complete(self, text: str, word: str | None) -> list[str]:
        """Called by GDB: the paths of statics with the manager's shape. GDB breaks words at colons."""
        if word is None:
            return []  # GDB 14 and later first ask how words are broken.
        head = text[: len(text) - len(word)]
        from gdbplugin.debugger import current

        return [path[len(head) :] for path in _offered(current.manager_paths(), text)]


class _ShowManager(gdb.Command):
    """Show which static is TinyOS's memory manager, if one was chosen."""

    def __init__(self) -> None:
        super().__init__("show tinyos manager", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, _argument: str, _from_tty: bool) -> None:
        """Called by GDB: show the choice."""
        gdb.write(f'Which static is TinyOS\'s memory manager: "{_chosen or _AUTO}".\n')


def register() -> None:
    """Register the prefixes, then the settings below them."""
    kinds = (_SetPrefix, _ShowPrefix, _Unicode, _Color, _Limit, _Width, _KeepStops, _SetManager, _ShowManager)
    for kind in kinds:
        kind()
