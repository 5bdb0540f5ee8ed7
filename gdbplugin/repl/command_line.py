"""The command line: what a typed line means, and its help. Pure; `repl.py` carries the lines out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gdbplugin.commands import COMMANDS
from gdbplugin.commands.parsing import split
from gdbplugin.render import Style

BY_WORD = {command.word: command for command in COMMANDS}
"""Word -> command of the plugin."""
BY_LETTER = {command.letter: command for command in COMMANDS if command.letter}
"""Letter, as in the kernel's own shell -> command of the plugin."""

VIEWS = {
    **{BY_WORD[word].letter: word for word in ("stats", "stacks", "lazy", "pressure", "events")},
    "t": "tasks",  # As in the kernel's main menu.
}
"""Letter -> name of the full-screen views."""

_VIEW_LIST = ", ".join(f"{letter} {name}" for letter, name in VIEWS.items())

OWN = {
    "console": "type a line to the kernel",
    "live": "open a full-screen view of the running kernel",
    "help": "list the commands, or explain one",
    "interrupt": "stop the kernel",
    "restart": "start a new session",
    "quit": "end the session",
}
"""The REPL's own commands -> what they do."""

_OWN_HELP = {
    "console": """console TEXT

Type TEXT to the kernel's own shell, as at its serial console: `console *t`, `console spawn worker`.
The kernel must be running. Its output is shown with a bar in front, now and at any later time.""",
    "live": f"""live [VIEW]

Open a full-screen view that follows the kernel while it runs, without stopping it.
VIEW is a letter or a name: {_VIEW_LIST}.
The left arrow goes back over the last minutes, and Esc returns to now.
q closes the view; ? lists the other keys.""",
    "help": """help [COMMAND]

List all commands, or explain COMMAND.""",
    "interrupt": """interrupt

Stop the kernel and leave it stopped, as Ctrl-C does; `stop` does the same. `continue` lets it run.""",
    "restart": """restart

End this session and start a new one in the same way: boot the kernel again, or attach to it again. Your
breakpoints are set again.""",
    "quit": """quit

End the session: GDB, and QEMU if the session started it. Ctrl-D does the same.""",
}

_LEAVING = frozenset({"q", "quit", "exit"})
_HELPING = frozenset({"h", "help", "?"})
_STOPPING = frozenset({"interrupt", "stop"})  # GDB's own `stop` does nothing: it exists for hooks.

# Commands of GDB that continue the target until something stops it -> length of the shortest abbreviation.
_CONTINUING = {"continue": 4, "jump": 1, "signal": 3}
_CONTINUING_WORDS = frozenset({"c", "fg"})
# Commands of GDB that continue the target up to a place.
_STEPPING = {"step": 3, "stepi": 5, "next": 3, "nexti": 5, "until": 2, "advance": 3, "finish": 3}
_STEPPING_WORDS = frozenset({"s", "si", "n", "ni", "u", "fin"})
# Commands of GDB that read more lines or take over the terminal. GDB's machine interface allows neither.
_READING = {"commands": 4, "define": 3, "document": 3, "while": 4, "if": 2, "guile-repl": 7}
_READING_WORDS = frozenset({"pi", "python-interactive", "gr", "edit", "tui", "layout", "focus", "winheight"})
_READING_WHEN_ALONE = frozenset({"py", "python", "gu", "guile", "shell", "!"})


@dataclass(frozen=True)
class Nothing:
    """An empty line."""


@dataclass(frozen=True)
class Submenu:
    """Enter the `*` submenu, or leave it."""

    entered: bool


@dataclass(frozen=True)
class Quit:
    """Quit the REPL."""


@dataclass(frozen=True)
class Restart:
    """Start a new session in place of this one."""


@dataclass(frozen=True)
class Help:
    """Explain `topic`, or list all commands if it is empty. Commands of the plugin are `tinyos …` here."""

    topic: str


@dataclass(frozen=True)
class ConsoleInput:
    """Type `text` to the kernel."""

    text: str


@dataclass(frozen=True)
class Live:
    """Open the full-screen view with the letter `view`."""

    view: str


@dataclass(frozen=True)
class PluginCommand:
    """A command of the plugin; `text` does not include `tinyos`."""

    text: str


@dataclass(frozen=True)
class Continue:
    """A command of GDB that continues the target until something stops it."""

    text: str


@dataclass(frozen=True)
class Step:
    """A command of GDB that continues the target up to a place, usually a near one."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    """Stop the target."""


@dataclass(frozen=True)
class GdbCommand:
    """Any other command of GDB."""

    text: str


@dataclass(frozen=True)
class Refused:
    """A line that cannot be carried out; `reason` says why, and what to do instead."""

    reason: str


Action = (
    Nothing
    | Submenu
    | Quit
    | Restart
    | Help
    | ConsoleInput
    | Live
    | PluginCommand
    | Continue
    | Step
    | Interrupt
    | GdbCommand
    | Refused
)


def parse(line: str, *, in_submenu: bool = False) -> Action:
    """The action that `line` asks for."""
    text = line.strip()
    if not text or text.startswith("#"):
        return Nothing()
    if "\0" in text:
        return Refused("the line has a NUL byte: give commands in UTF-8, not in UTF-16")
    if text.startswith("*"):
        return _starred(text[1:].strip())
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if in_submenu and (found := _in_submenu(word, text)):
        return found
    if found := _own(word, rest):
        return found
    if word == "tinyos":
        return PluginCommand(rest)
    if word in BY_WORD:
        return PluginCommand(text)
    return _to_gdb(word, rest, text)


def watches(text: str) -> bool:
    """Whether a command of the plugin watches the running kernel, which a session does without GDB."""
    word, *words = split(text) or [""]
    return word == "timeline" and any(one.partition("=")[0] == "--seconds" for one in words)


def runs_command(text: str) -> bool:
    """Whether a command of the plugin carries out one of GDB's: a session shows what changed after Ctrl-C."""
    return text.split()[:1] == ["during"]


def _starred(text: str) -> Action:
    """The action for the text after a `*`: nothing, or the letter or name of a command and its arguments."""
    if not text:
        return Submenu(True)
    return Help("tinyos") if text in _HELPING else PluginCommand(text)


def _in_submenu(word: str, text: str) -> Action | None:
    if text in _LEAVING or text == "..":
        return Submenu(False)
    if text in _HELPING:
        return Help("tinyos")
    return PluginCommand(text) if word in BY_LETTER else None


def _own(word: str, rest: str) -> Action | None:
    """The action of one of the REPL's own commands."""
    if word in _LEAVING:
        return Quit()
    if word == "restart":
        return Refused("restart takes no arguments") if rest else Restart()
    if word in _STOPPING and not rest:
        return Interrupt()
    if word == "console":
        return ConsoleInput(rest) if rest else Refused("console needs a TEXT to type to the kernel")
    if word == "live":
        return _live(rest)
    if word in ("help", "?") or (word == "h" and not rest):
        return Help(_topic(rest))
    return None


def _live(rest: str) -> Action:
    view = view_letter(rest.removeprefix("*") or "s")
    return Live(view) if view is not None else Refused(no_view(rest))


def _topic(rest: str) -> str:
    """The name of a topic in GDB: `*s`, `stats` and `tinyos s` are all `tinyos stats`."""
    word = rest.removeprefix("tinyos ").strip().removeprefix("*")
    if rest.startswith(("*", "tinyos ")) or word in BY_WORD:
        command = BY_LETTER.get(word)
        return f"tinyos {command.word if command else word}".strip()
    return rest


def _to_gdb(word: str, rest: str, text: str) -> Action:
    command = word.rstrip("&")
    if _takes_lines(command, rest):
        return Refused(
            f"{command} reads more lines or takes over the terminal, which is not possible here: "
            "put it in a file for `source FILE`, or use tinyos-gdb"
        )
    if command in _CONTINUING_WORDS or _abbreviates(command, _CONTINUING):
        return Continue(text.rstrip("& "))
    steps = command in _STEPPING_WORDS or _abbreviates(command, _STEPPING)
    return Step(text) if steps and not text.endswith("&") else GdbCommand(text)


def _takes_lines(command: str, rest: str) -> bool:
    if command in _READING_WHEN_ALONE:
        return not rest
    return command in _READING_WORDS or _abbreviates(command, _READING)


def _abbreviates(command: str, names: Mapping[str, int]) -> bool:
    return any(len(command) >= shortest and name.startswith(command) for name, shortest in names.items())


def view_letter(text: str) -> str | None:
    """The letter of the view with that letter or name; None if there is none."""
    return next((letter for letter, name in VIEWS.items() if text in (letter, name)), None)


def no_view(text: str) -> str:
    """The message for a view that does not exist."""
    return f'no view "{text}" (known: {_VIEW_LIST})'


def help_text(topic: str, style: Style) -> str | None:
    """The help for a command of the REPL or of the plugin (`tinyos …`); None for any other topic."""
    command = BY_WORD.get(topic.removeprefix("tinyos "))
    text = command.help if command is not None else _OWN_HELP.get(topic)
    if text is None:
        return None
    paragraphs: list[str] = []
    for line in text.splitlines():
        if paragraphs and paragraphs[-1] and line and not line.startswith(" "):
            paragraphs[-1] += f" {line}"
        else:
            paragraphs.append(line)
    lines = [
        part
        for paragraph in paragraphs
        for part in style.wrapped(paragraph, "" if paragraph[:1].isalnum() else "      ") or [""]
    ]
    return "\n".join(lines) + "\n"


def overview(style: Style) -> str:
    """The list of all commands."""
    rows = [
        (f"*{command.letter}, {word}" if command.letter else word, command.summary)
        for word, command in BY_WORD.items()
    ]
    rows.append(("*", "the submenu: letters without the star, until q"))
    live = f"live [{'|'.join(VIEWS)}]"
    parts = [
        *style.wrapped("The kernel's memory management and the MMU:", "  "),
        *_table(rows, style),
        "This program:",
        *_table([(live if word == "live" else word, does) for word, does in OWN.items()], style),
        *style.wrapped(
            "All other commands are GDB's: break, continue, bt, x, print, ... `help COMMAND` explains one."
        ),
        *style.wrapped(
            "Ctrl-C stops the kernel or the command, Ctrl-R searches the history, Tab completes, "
            "Ctrl-D quits."
        ),
    ]
    return "\n".join(parts) + "\n"


def _table(rows: list[tuple[str, str]], style: Style) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [line for name, does in rows for line in style.entry(name, f" {does}", width)]
