"""Commands without a person: from the command line or standard input, plain text out."""

from __future__ import annotations

from collections.abc import Iterable

from gdbplugin.repl.repl import Outcome, Repl


def run(repl: Repl, commands: Iterable[str]) -> int:
    """Carry out every command, up to a `quit`; the exit status is 1 if one failed, else 0."""
    failed = False
    for number, command in enumerate(commands):
        # Some editors begin a file so, to say that it is UTF-8.
        outcome = repl.run(command if number else command.removeprefix("\ufeff"))
        if outcome is Outcome.QUIT:
            break
        failed = failed or outcome is Outcome.FAILED
    return int(failed)
