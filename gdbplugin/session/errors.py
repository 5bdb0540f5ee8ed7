"""What can go wrong with a session. Every error's `message` is one line that says what to do, where it can.

`str(error)` adds, on lines of their own, the last lines of whoever was listened to at that moment (QEMU,
GDB, the kernel's console), for a test's log.
"""

from __future__ import annotations


class SessionError(Exception):
    """A session could not go on."""

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(f"{message}\n{evidence}" if evidence else message)
        self.message = message
        self.evidence = evidence


class ToolMissingError(SessionError):
    """QEMU or GDB is not installed, or is one that cannot do what is needed."""


class KernelUnusableError(SessionError):
    """The file given as kernel is missing, stripped, of another machine, or not what is running."""


class AddressInUseError(SessionError):
    """The TCP port asked for is taken, or may not be opened."""


class AttachError(SessionError):
    """GDB could not attach to a gdbstub: nobody is there, it serves another debugger, or is none."""


class EndedError(SessionError):
    """QEMU or GDB has ended, or closed its connection, while it was still needed."""


class WaitTimeoutError(SessionError):
    """What was waited for did not happen in the time given."""


class CommandFailedError(SessionError):
    """GDB answered a command with an error; `command` is what was asked, `reason` what GDB said.

    `output` is what the command had printed before it failed.
    """

    def __init__(self, command: str, reason: str, output: str = "") -> None:
        super().__init__(f"{command}: {' '.join(reason.split())}")
        self.command = command
        self.reason = reason
        self.output = output


class ReadFailedError(SessionError):
    """The kernel has no such object, is not set up yet, or its memory could not be read."""
