"""How a session is begun, and begun again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gdbplugin.session import QemuOptions, TinyOS
from gdbplugin.session.gdb_program import find_gdb
from gdbplugin.session.kernel_file import default_kernel


@dataclass(frozen=True)
class Opening:
    """A kernel to boot, or one that runs already to attach to."""

    kernel: Path | None = None
    """Its ELF; None for the one that a session takes of itself."""
    image: Path | None = None
    """Boot this flat image in place of the ELF."""
    port: int | None = None
    """Where QEMU's gdbstub listens on the loopback; None for a socket."""
    address: str | None = None
    """Attach to the gdbstub there, and boot nothing."""
    manager: str = ""
    """The path of the kernel's memory manager, where several statics might be it."""

    def open(self) -> TinyOS:
        """A new session, with GDB attached. Raises a `SessionError`."""
        # It is needed last, but its absence should be said before anything is started.
        find_gdb()
        if self.address is not None:
            return TinyOS.attach(self.address, self.kernel, manager=self.manager)
        kernel = self.kernel or default_kernel()
        options = QemuOptions(kernel=self.image or kernel, gdb_port=self.port)
        session = TinyOS.boot(kernel, options=options, manager=self.manager)
        try:
            # Here it is held against what runs: an image may have been made of another ELF.
            session.debugger  # noqa: B018
        except BaseException:
            session.close()
            raise
        return session
