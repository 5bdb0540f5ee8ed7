"""`tinyos dump`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.dump.write import Dump
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target, file: str) -> Dump:
    """Write a dump of the stopped machine to a file, and return what was written."""
    from gdbplugin.dump.write import write_dump

    return write_dump(target, file)


def show(shown: Dump, style: Style) -> str:
    """What was written."""
    held = f"{style.counted(shown.cores, 'core')}, {style.counted(shown.tasks, 'task')}"
    sizes = f"{style.size(shown.memory_size)} of memory, {style.size(shown.stored_size)} on the disk"
    return style.sections(["\n".join(style.wrapped(f"Wrote {shown.path}: {held}, {sizes}"))], shown)


HELP = """Write the stopped machine to a file: memory, registers and system registers.

The file is an ELF core. `gdb -x gdbplugin/tinyos.py KERNEL FILE` opens it, and every command that only reads
works there. Without the plugin, `info threads` lists the cores (LWP 1 and on) and the tasks that do not run
(LWP 1000 + their numbers), and `thread apply all bt` shows their frames. Memory that was never touched takes
no space. If FILE ends in .zst, it is compressed with zstd: `tinyos open` opens it then.
"""
COMMAND = Command(
    "dump",
    Form("tinyos.dump/1", read, show),
    help=HELP,
    arguments=(Argument("FILE", "where to write it", "file", required=True),),
)
