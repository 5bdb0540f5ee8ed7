"""The program `tinyos-repl`: its options, and which prompt it uses."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from gdbplugin.repl.output import Output, cursor_problem, style_of
from gdbplugin.repl.plain import PlainPrompt, run_batch, run_gdb
from gdbplugin.repl.repl import Repl, ReplOptions, SessionOptions
from gdbplugin.session import SessionError, streams
from gdbplugin.session.console import attach_terminal
from gdbplugin.session.process import raised_as_exit
from gdbplugin.session.recorder import DEFAULT_RECORDS, MOST_RECORDS


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all errors of this program."""

    def error(self, message: str) -> NoReturn:
        """Raise the error."""
        raise SessionError(f"{message}; see --help")


def run_program(run: Callable[[], int]) -> int:
    """Run a program whose messages and errors are one line each; returns the exit status."""

    def program() -> int:
        logging.basicConfig(format="tinyos: %(message)s")
        # What fails there is raised, or tried again.
        logging.getLogger("qemu.qmp").propagate = False
        with raised_as_exit():
            return run()

    return streams.run("tinyos", program)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    return run_program(lambda: _run(_options(arguments)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="tinyos-repl",
        description="Boot TinyOS in QEMU, or attach to it, and debug it at a prompt like its own shell's. "
        "With -c, or with commands on standard input, run those commands and print plain text; "
        "the exit status is 1 if a command fails.",
    )
    add = parser.add_argument
    add(
        "-c",
        action="append",
        metavar="COMMAND",
        dest="commands",
        default=[],
        help="run this command; repeatable",
    )
    add("--batch", nargs="+", metavar="COMMAND", default=[], help="run these commands")
    add("--json", action="store_true", help="print a JSON object for each command")
    add("--timeout", type=float, default=60.0, metavar="S", help="time limit of each command in seconds (60)")
    add(
        "--connect",
        metavar="HOST:PORT",
        help="attach to the gdbstub of a running kernel; boot nothing",
    )
    add("--dump", type=Path, metavar="FILE", help="open a dump, of tinyos-gdb or of QEMU; boot nothing")
    add(
        "--register",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a register that the dump lacks, for all cores; repeatable",
    )
    add(
        "--dump-on-failure",
        type=Path,
        metavar="DIR",
        help="write a dump into this folder when the kernel fails",
    )
    add("--kernel", type=Path, metavar="ELF", help="the kernel's ELF ($TINYOS_KERNEL, or build/kernel.elf)")
    add("--manager", default="", metavar="PATH", help="the static that holds the memory manager")
    add("--image", type=Path, metavar="FILE", help="boot this flat image, with the symbols of the ELF")
    add("--port", type=int, metavar="N", help="the port of QEMU's gdbstub on 127.0.0.1 (0: a free one)")
    add("--record", action="store_true", help="record the guest, for `history`, `writer` and `rewind`")
    add(
        "--records",
        type=int,
        metavar="N",
        help=f"room for N records of 80 bytes ({DEFAULT_RECORDS:,}); the oldest are overwritten",
    )
    add(
        "--host-clock",
        action="store_true",
        help="with --record: leave the guest the host's clock, and do without `rewind`",
    )
    add("--gdb", action="store_true", help="use GDB's own prompt")
    add(
        "--console",
        nargs="?",
        const="",
        metavar="SOCKET",
        help="type at the kernel of a running session",
    )
    options = parser.parse_args(arguments)
    options.commands += options.batch
    _require_fitting(options)
    return options


def _require_fitting(options: argparse.Namespace) -> None:
    """Refuse options that exclude each other, before anything is started."""
    if options.connect and options.dump:
        raise SessionError("--connect and --dump exclude each other: give only one of them")
    if options.register and not options.dump:
        raise SessionError("--register is for a dump: give it with --dump FILE")
    for name in ("connect", "dump"):
        booting = options.image or options.port is not None or options.record
        if getattr(options, name) and booting:
            raise SessionError(f"--{name} boots nothing: leave out --image, --port and --record")
    for name, is_given in (("records", options.records is not None), ("host-clock", options.host_clock)):
        if is_given and not options.record:
            raise SessionError(f"--{name} is for a recording: give it with --record")
    if options.records is not None and not 1 <= options.records <= MOST_RECORDS:
        raise SessionError(f"--records takes a number from 1 to {MOST_RECORDS:,}")
    if options.gdb and (options.connect or options.dump or options.commands or options.json):
        raise SessionError(
            "--gdb boots a kernel, for a prompt: leave out --connect, --dump, --json, commands"
        )


def _run(options: argparse.Namespace) -> int:
    if options.console is not None:
        return attach_terminal(options.console)
    session_options = SessionOptions(
        options.kernel,
        options.image,
        options.port,
        options.connect,
        options.manager,
        options.dump,
        options.register,
        (options.records or DEFAULT_RECORDS) if options.record else 0,
        options.host_clock,
    )
    if options.gdb:
        with session_options.start() as session:
            return run_gdb(session)
    interactive = not options.commands and sys.stdin.isatty()
    repl_options = ReplOptions(
        interactive=interactive, json=options.json, timeout=options.timeout, dumps=options.dump_on_failure
    )
    if interactive and options.json:
        raise SessionError("--json needs commands: give them with -c or on standard input")
    styles = style_of(sys.stdout), style_of(sys.stderr)
    output = Output(sys.stdout, sys.stderr, *styles, for_person=interactive)
    with Repl(session_options, output, repl_options) as repl:
        if interactive:
            return _converse(repl)
        return run_batch(repl, options.commands or sys.stdin)


def _converse(repl: Repl) -> int:
    state = "running" if repl.session.running else "stopped"
    welcome = f"the kernel is {state}; `help` lists the commands, Ctrl-C stops the kernel, Ctrl-D quits"
    if cursor_problem(sys.stdout):
        repl.output.say(welcome)
        PlainPrompt(repl, sys.stdin).loop()
        return 0
    # Not at the top: half of the start-up time of uses that need no terminal.
    from gdbplugin.repl.prompt import Prompt, history_file, open_history

    history, problem = open_history(history_file(), repl.output.complain)
    if problem:
        repl.output.complain(problem)
    repl.output.say(welcome)
    Prompt(repl, history).loop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
