"""`tinyos open`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.dump.foreign import OpenedDump
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


_LINES_SHOWN = 5


def read(target: Target, file: str, register: Sequence[str] = ()) -> OpenedDump:
    """Open a dump in place of another, and return what was opened; `register` are settings `NAME=VALUE`."""
    from gdbplugin.dump.foreign import given_registers

    found: OpenedDump = target.open_dump(file, given_registers(register))
    return found


def show(shown: OpenedDump, style: Style) -> str:
    """What was opened."""
    lines = shown.console.rstrip().splitlines()[-_LINES_SHOWN:]
    # It is the kernel's text, not ours: nothing in it may control the terminal.
    console = ["".join(each if each.isprintable() else "." for each in line) for line in lines]
    held = f"{style.counted(shown.cores, 'core')}, {style.size(shown.memory_size)} of memory"
    parts = ["\n".join(style.wrapped(f"Opened {shown.path} ({shown.kind}): {held}"))]
    if console:
        parts.append("\n".join(["The end of the kernel's console:", *(f"  {line}" for line in console)]))
    return style.sections(parts, shown)


def offered_registers(target: Target) -> list[str]:
    """The registers that `--register` takes, each with the sign for its value."""
    from gdbplugin.dump.contents import SAVED_REGISTERS

    del target
    return [f"{name}=" for name in SAVED_REGISTERS]


HELP = """Open a dump of a machine, whoever wrote it.

FILE is a dump of `tinyos dump`, also a compressed one; what QEMU's `dump-guest-memory` wrote, as ELF or as
kdump with zlib; or a copy of RAM from address 0 on. Those of QEMU lack system registers. TinyOS has saved in
its memory what translation needs; for another kernel give them. The dump takes the place of another that is
open, but not of a live machine.
"""
COMMAND = Command(
    "open",
    Form("tinyos.open/1", read, show, runs_target=True),
    help=HELP,
    arguments=(Argument("FILE", "the dump", "file", required=True),),
    options=(
        Option(
            "--register",
            "a register that the dump lacks, for all cores; can be given several times",
            "text",
            "NAME=VALUE",
            complete=offered_registers,
            repeated=True,
        ),
    ),
)
