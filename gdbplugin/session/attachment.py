"""A machine that is somebody else's: all that a session has of it is the address of its gdbstub."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from gdbplugin.session.directory import private_directory
from gdbplugin.session.errors import EndedError


class Attachment:
    """Stands where a `Qemu` stands in a session that booted its own."""

    ram = None

    def __init__(self, address: str) -> None:
        self.gdb_address = address
        self.no_ram_reason = f"this session was attached to {address}, and whoever started that has its RAM"
        self._resources = contextlib.ExitStack()

    @functools.cached_property
    def directory(self) -> Path:
        """A private directory, made when it is first needed."""
        return self._resources.enter_context(private_directory())

    def has_ended(self, within: float = 0.0) -> bool:
        """Never: nothing tells of it but the connection, which GDB has."""
        del within
        return False

    def end_error(self) -> EndedError:
        """The error for a connection that is no more."""
        return EndedError(f"the connection to {self.gdb_address} was lost")

    def close(self) -> None:
        """Remove the directory; a second call does nothing."""
        self._resources.close()
