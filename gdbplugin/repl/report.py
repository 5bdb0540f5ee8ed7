"""The program `tinyos-report`: a report as a page of HTML, of a dump or of a running session."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gdbplugin.render import Style
from gdbplugin.repl.main import Parser, run_program
from gdbplugin.session import SessionError, TinyOS
from gdbplugin.session.connection import registers_in
from gdbplugin.session.directory import GDB, sessions

_ADDRESS = re.compile(r"[^/]*:[0-9]+")
_OF_SESSION = "tinyos-report"
# See proc(5): number, count, protocol, flags, type, state, inode, path.
_SOCKETS = Path("/proc/net/unix")
_CONNECTED = "03"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    return run_program(lambda: _run(_options(arguments)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="tinyos-report",
        description="Write a report of TinyOS as one page of HTML that needs no other file and no network: "
        "findings, backtraces, stacks and frames as pictures, the timeline, and what changed.",
    )
    add = parser.add_argument
    add(
        "target",
        nargs="?",
        metavar="DUMP-OR-SESSION",
        help="the file of a dump; or a running session, by its directory, a socket in it, or the HOST:PORT "
        "of its gdbstub; without it, the only session that runs",
    )
    add("-o", "--output", type=Path, metavar="FILE", help="where to write it (the dump's name, with .html)")
    add(
        "--since",
        metavar="MOMENT",
        help="show what changed from there: another dump, a checkpoint, or `none` (the last checkpoint)",
    )
    add(
        "--register",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a register that the dump lacks, for all cores; repeatable",
    )
    add("--kernel", type=Path, metavar="ELF", help="the kernel's ELF, with its debug information")
    add("--manager", default="", metavar="PATH", help="the static that holds the memory manager")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    with _opened(options) as session:
        dump = session.opened_dump
        if dump is None:
            # A debugger that attaches stops the machine.
            session.resume()
        file = options.output or _file_beside(dump.path if dump is not None else _OF_SESSION)
        written = session.report_file(file, since=options.since)
    style = Style()
    found = style.counted(written.finding_count, "finding")
    print(f"Wrote {written.path}: {found}, {style.size(written.size)}")
    return 0


def _opened(options: argparse.Namespace) -> TinyOS:
    target, kernel, manager = options.target, options.kernel, options.manager
    if target is not None and Path(target).is_file():
        registers = registers_in(options.register)
        return TinyOS.open_dump(target, kernel, registers=registers, manager=manager)
    if options.register:
        raise SessionError("--register is for a dump: name the file of one")
    address = _only_session() if target is None else _address(target)
    _require_free(address)
    return TinyOS.attach(address, kernel, manager=manager)


def _file_beside(name: str) -> Path:
    """A file in the current directory, with the name of a dump."""
    return Path(f"{Path(name).name.removesuffix('.zst').removesuffix('.dump')}.html")


def _only_session() -> str:
    """The gdbstub of this user's only session; raises `SessionError` if there are none or several."""
    found = [stub for path in sessions() if (stub := path / GDB).is_socket()]
    if not found:
        raise SessionError("no session is running: name a dump's file, or the HOST:PORT of a gdbstub")
    if len(found) > 1:
        named = " ".join(str(stub.parent) for stub in found)
        raise SessionError(f"several sessions are running; name one of them: {named}")
    return str(found[0])


def _address(target: str) -> str:
    """The address of the gdbstub that is meant; raises `SessionError`."""
    path = Path(target)
    stub = path / GDB if path.is_dir() else path.with_name(GDB)
    if path.exists() and stub.is_socket():
        return str(stub.absolute())
    if path.is_socket():
        return str(path.absolute())
    if _ADDRESS.fullmatch(target):
        return target
    raise SessionError(f"{target} is neither a dump's file, nor a running session, nor HOST:PORT")


def _require_free(address: str) -> None:
    """Raise `SessionError` if a debugger is connected to the gdbstub with this socket.

    It would not answer another one; and QEMU would take the other's connection as it ends, late and dead, and
    stop the machine for it. Where the system does not list connections, nothing is known.
    """
    try:
        sockets = _SOCKETS.read_text(errors="replace").splitlines()
    except OSError:
        return
    known = (line.split(maxsplit=7) for line in sockets)
    if any(entry[7:] == [address] and entry[5] == _CONNECTED for entry in known):
        raise SessionError(
            "the session has a debugger already, as tinyos-repl has after its first command: there type "
            "`dump FILE`, and make the report of this file"
        )


if __name__ == "__main__":
    sys.exit(main())
