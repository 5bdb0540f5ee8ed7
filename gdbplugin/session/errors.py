"""The errors of a session. Each has a `message` of one line, which says what to do where that is known.

`str(error)` adds evidence for a test's log: the last lines of QEMU, GDB and the kernel's console.
"""

from __future__ import annotations


class SessionError(Exception):
    """Something failed in a session."""

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(f"{message}\n{evidence}" if evidence else message)
        self.message = message
        self.evidence = evidence


class ToolMissingError(SessionError):
    """QEMU or GDB is not installed, or lacks what is needed."""


class KernelUnusableError(SessionError):
    """The kernel's file is missing, stripped, for another machine, or not the kernel that runs."""


class AddressInUseError(SessionError):
    """The TCP port is in use, or may not be opened."""


class AttachError(SessionError):
    """GDB could not attach: no gdbstub is there, or another debugger uses it."""


class EndedError(SessionError):
    """QEMU or GDB has ended, or closed its connection."""


class WaitTimeoutError(SessionError):
    """What was waited for did not happen in time."""


class CommandFailedError(SessionError):
    """GDB or QEMU answered `command` with an error; `reason` is its text.

    `output` is what the command printed before it failed.
    """

    def __init__(self, command: str, reason: str, output: str = "") -> None:
        super().__init__(f"{command}: {' '.join(reason.split())}")
        self.command = command
        self.reason = reason
        self.output = output


class ReadFailedError(SessionError):
    """The kernel has no such object, is not set up yet, or its memory could not be read."""
