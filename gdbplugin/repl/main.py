"""`tinyos-repl`: the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gdbplugin.repl import batch, plain_gdb
from gdbplugin.repl.opening import Opening
from gdbplugin.repl.plain_prompt import PlainPrompt
from gdbplugin.repl.repl import Manner, Repl
from gdbplugin.repl.screen import Screen
from gdbplugin.repl.terminal import lack_of_cursor, style_of
from gdbplugin.session import SessionError, streams
from gdbplugin.session.console import attach_terminal
from gdbplugin.session.process import raised_as_exit


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of this program."""

    def error(self, message: str) -> NoReturn:
        raise SessionError(f"{message}; see --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""

    def program() -> int:
        logging.basicConfig(format="tinyos: %(message)s")
        with raised_as_exit():
            return _run(_options(arguments))

    return streams.run("tinyos", program)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="tinyos-repl",
        description="Boot TinyOS in QEMU, or attach to it, and debug it at a prompt like its own shell's. "
        "With -c, or with commands on standard input, those are carried out and plain text is printed; "
        "the exit status is 1 if one fails.",
    )
    add = parser.add_argument
    add("-c", action="append", metavar="COMMAND", dest="commands", default=[], help="do this; repeatable")
    add("--batch", nargs="+", metavar="COMMAND", default=[], help="do all of these")
    add("--json", action="store_true", help="print a JSON object for each of them")
    add("--timeout", type=float, default=60.0, metavar="S", help="seconds each of them may take (60)")
    add("--connect", metavar="HOST:PORT", help="attach to a gdbstub where the kernel runs, and boot nothing")
    add("--kernel", type=Path, metavar="ELF", help="the kernel's ELF ($TINYOS_KERNEL, or build/kernel.elf)")
    add("--manager", default="", metavar="PATH", help="the static that is the memory manager")
    add("--image", type=Path, metavar="FILE", help="boot this flat image, with the ELF's symbols")
    add("--port", type=int, metavar="N", help="put QEMU's gdbstub on this port of 127.0.0.1 (0: a free one)")
    add("--gdb", action="store_true", help="give GDB's own prompt in place of this one")
    add("--console", nargs="?", const="", metavar="SOCKET", help="type at a running session's kernel")
    options = parser.parse_args(arguments)
    options.commands += options.batch
    _require_fitting(options)
    return options


def _require_fitting(options: argparse.Namespace) -> None:
    """Options that exclude each other are refused before anything is started."""
    if options.connect and (options.image or options.port is not None):
        raise SessionError("--connect boots nothing: leave out --image and --port")
    if options.gdb and (options.connect or options.commands or options.json):
        raise SessionError("--gdb boots, and gives a prompt: leave out --connect, --json and commands")


def _run(options: argparse.Namespace) -> int:
    if options.console is not None:
        return attach_terminal(options.console)
    opening = Opening(options.kernel, options.image, options.port, options.connect, options.manager)
    if options.gdb:
        with opening.open() as session:
            return plain_gdb.run(session)
    interactive = not options.commands and sys.stdin.isatty()
    manner = Manner(interactive=interactive, json=options.json, timeout=options.timeout)
    if interactive and options.json:
        raise SessionError("--json is for commands: give some by -c or on standard input")
    styles = style_of(sys.stdout), style_of(sys.stderr)
    screen = Screen(sys.stdout, sys.stderr, *styles, for_person=interactive)
    with Repl(opening, screen, manner) as repl:
        if interactive:
            return _converse(repl)
        return batch.run(repl, options.commands or sys.stdin)


def _converse(repl: Repl) -> int:
    state = "running" if repl.session.running else "stopped"
    welcome = f"the kernel is {state}; `help` says what there is, Ctrl-C stops it, Ctrl-D leaves"
    if lack_of_cursor(sys.stdout):
        repl.screen.say(welcome)
        PlainPrompt(repl, sys.stdin).loop()
        return 0
    # Not at the top: half of the start-up time of what needs no terminal.
    from gdbplugin.repl.history import history_file, open_history
    from gdbplugin.repl.prompt import Prompt

    history, lack = open_history(history_file(), repl.screen.complain)
    if lack:
        repl.screen.complain(lack)
    repl.screen.say(welcome)
    Prompt(repl, history).loop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
