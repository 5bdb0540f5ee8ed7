"""What `help` says of the REPL's own; of everything else GDB's own help text is shown."""

from __future__ import annotations

from gdbplugin.repl.completion import OWN
from gdbplugin.repl.line import VIEWS, Vocabulary
from gdbplugin.session.showing import Style

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
    """The help text of one of the REPL's own commands; None for any other."""
    text = _TOPICS.get(topic)
    return text + "\n" if text is not None else None


def overview(vocabulary: Vocabulary, style: Style) -> str:
    """All there is, one line each where they are wide enough."""
    by_word = {word: letter for letter, word in vocabulary.letters.items()}
    rows = []
    for word, summary in vocabulary.summaries.items():
        letter = by_word.get(word)
        rows.append((f"*{letter}, {word}" if letter else word, summary))
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
