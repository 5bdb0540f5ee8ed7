"""What scripts/run does once everything is built: boot, and give GDB to a person or to a list of commands."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gdbplugin.session import process
from gdbplugin.session.errors import CommandFailedError, SessionError
from gdbplugin.session.gdb_program import PLUGIN, find_gdb
from gdbplugin.session.qemu import QemuOptions
from gdbplugin.session.signals import passed_to_child, raised_as_exit
from gdbplugin.session.tinyos import TinyOS

_TOP = Path(__file__).resolve().parents[2]
_KERNEL = _TOP / "build" / "kernel.elf"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of this program."""

    def error(self, message: str) -> NoReturn:
        raise SessionError(f"{message}; see scripts/run --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        with raised_as_exit():
            return _run(_parser().parse_args(arguments))
    except SessionError as error:
        print(f"tinyos: error: {error.message}", file=sys.stderr)
        if error.evidence:
            print(error.evidence, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="scripts/run", description="Boot TinyOS in QEMU, with GDB attached.")
    parser.add_argument(
        "--batch", nargs="+", metavar="COMMAND", help="run these GDB commands and print what they print"
    )
    parser.add_argument("--kernel", type=Path, default=_KERNEL, metavar="ELF", help="the kernel's ELF")
    parser.add_argument("--image", type=Path, metavar="FILE", help="boot this flat image instead of the ELF")
    parser.add_argument("--port", type=int, metavar="N", help="put the gdbstub on this port (0: a free one)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds a command of --batch may take"
    )
    parser.add_argument(
        "--console", nargs="?", const="", metavar="SOCKET", help="type at a running session's kernel"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.console is not None:
        # Not at the top: only this use of the program needs it.
        from gdbplugin.session import terminal

        return terminal.attach(options.console)
    with _boot(options) as tinyos:
        if options.batch:
            return _batch(tinyos, options.batch, options.timeout)
        return _interactive(tinyos, options)


def _boot(options: argparse.Namespace) -> TinyOS:
    # GDB is needed last, but its absence should be said before anything is started.
    find_gdb()
    qemu = QemuOptions(kernel=options.image or options.kernel, gdb_port=options.port)
    tinyos = TinyOS.boot(options.kernel, options=qemu)
    if options.image:
        # The ELF's symbols are of use only if the image was made of it.
        try:
            with tinyos.stopped():
                pass
        except BaseException:
            tinyos.close()
            raise
        if not options.batch:
            tinyos.detach()
    return tinyos


def _batch(tinyos: TinyOS, commands: Sequence[str], timeout: float) -> int:
    failed = False
    with tinyos.stopped() as gdb:
        sys.stderr.write(tinyos.debugger_complaints)
        for command in commands:
            reason = None
            try:
                output = gdb.execute(command, timeout)
            except CommandFailedError as error:
                output, reason, failed = error.output, error.reason, True
            sys.stdout.write(output)
            sys.stdout.flush()
            # GDB repeats there what it gives as the reason.
            sys.stderr.write("".join(text for text in gdb.warnings if text.rstrip("\n") != reason))
            if reason is not None:
                _say(f"error: {command}: {reason}")
    return int(failed)


def _interactive(tinyos: TinyOS, options: argparse.Namespace) -> int:
    qemu = tinyos.qemu
    # The kernel's console is now the user's: see the help of --console.
    tinyos.console.close()
    _say(f"console: scripts/run --console {qemu.console_socket}   (its log: {qemu.console_log})")
    _say(f"gdbstub: {qemu.gdb_address}; the kernel is stopped at GDB's prompt: `continue` lets it run")
    with passed_to_child(signal.SIGINT):
        gdb = process.start(
            [
                find_gdb(),
                "--quiet",
                "-x",
                str(PLUGIN),
                "-ex",
                f"target remote {qemu.gdb_address}",
                str(options.kernel),
            ],
            stdin=None,
            in_foreground=True,
        )
        try:
            return gdb.wait()
        finally:
            process.end(gdb)


def _say(text: str) -> None:
    print(f"tinyos: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
