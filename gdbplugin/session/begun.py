"""How a session was begun, as Python: what `--python` prints before the command's own line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdbplugin.commands.library import call, shown_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gdbplugin.session.kernel_file import KernelFile


def booted(kernel: KernelFile, *, is_recorded: bool) -> str:
    """The call of `TinyOS` that boots a kernel."""
    return call("TinyOS.boot", shown_path(str(kernel.path)), record=is_recorded, manager=kernel.manager)


def attached(address: str, kernel: KernelFile) -> str:
    """The call of `TinyOS` that attaches to a gdbstub."""
    return call("TinyOS.attach", address, shown_path(str(kernel.path)), manager=kernel.manager)


def opened(dump: Path, registers: Mapping[str, int], kernel: KernelFile) -> str:
    """The call of `TinyOS` that opens a dump."""
    given = dict(registers)
    paths = shown_path(str(dump)), shown_path(str(kernel.path))
    return call("TinyOS.open_dump", *paths, registers=given, manager=kernel.manager)
