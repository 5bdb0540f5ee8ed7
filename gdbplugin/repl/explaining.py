"""What `help` shows: of the REPL's own commands and the plugin's; for all others GDB's own help is shown."""

from __future__ import annotations

from gdbplugin.render.style import Style
from gdbplugin.repl.completion import OWN
from gdbplugin.repl.line import BY_WORD, VIEWS

_TOPICS = {
    "console": """console TEXT
Type TEXT to the kernel's own shell, as at its serial console: `console *t`, `console spawn worker`.
The kernel must be running. What it writes, then and at any other time, is shown with a bar before it.""",
    "live": f"""live [VIEW]
Open a full-screen view that follows the kernel while it runs, without stopping it.
VIEW is {", ".join(f"{letter} ({name})" for letter, name in VIEWS.items())}.
q closes it; the other keys are on the screen.""",
    "help": """help [COMMAND]
Without COMMAND: what there is. Otherwise all about that command.""",
    "interrupt": """interrupt
Stop the kernel and leave it stopped, as Ctrl-C does; `stop` is the same. `continue` lets it run.""",
    "restart": """restart
End this session and begin a new one in the same way: the kernel is booted anew, or attached to again.""",
    "quit": """quit
End the session: GDB and the QEMU that was started with it. Ctrl-D does the same.""",
}


def about(topic: str) -> str | None:
    """The help text of a command of the REPL or of the plugin (`tinyos …`); None for any other."""
    command = BY_WORD.get(topic.removeprefix("tinyos "))
    text = command.help if command is not None else _TOPICS.get(topic)
    return text + "\n" if text is not None else None


def overview(style: Style) -> str:
    """All there is, one line each where they are wide enough."""
    rows = [
        (f"*{command.letter}, {word}" if command.letter else word, command.summary)
        for word, command in BY_WORD.items()
    ]
    rows.append(("*", "the submenu: letters without the star, until q"))
    parts = [
        *style.wrapped("The kernel's memory management and the MMU:", "  "),
        *_table(rows, style),
        "This program:",
        *_table([("live [s|d|l|p|e]" if word == "live" else word, OWN[word]) for word in OWN], style),
        *style.wrapped(
            "Anything else is a command of GDB's: break, continue, bt, x, print, ... `help COMMAND` has more."
        ),
        *style.wrapped(
            "Ctrl-C stops the kernel or the command, Ctrl-R searches the history, Tab completes, Ctrl-D ends."
        ),
    ]
    return "\n".join(parts) + "\n"


def _table(rows: list[tuple[str, str]], style: Style) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [line for name, meaning in rows for line in style.entry(name, f" {meaning}", width)]
