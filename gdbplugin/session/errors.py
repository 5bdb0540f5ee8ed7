"""The errors of a session. Each has a `message` of one line, which says what to do where that is known.

`str(error)` adds evidence for a test's log: the last lines of QEMU, GDB and the kernel's console.
"""

from __future__ import annotations

# Words in GDB's error if the peer closes the connection, or does not speak the remote protocol.
_NO_STUB = ("disconnected", "closed", "reset by peer", "Broken pipe", "unexpectedly", "packet", "protocol")


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


def how_to_connect(reason: str) -> str:
    """GDB's reason why it could not connect, with advice."""
    reason = " ".join(reason.split()).rstrip(".")
    if "Connection refused" in reason:
        return f"{reason}: nothing listens there; QEMU opens a gdbstub with -s or -gdb"
    if any(word in reason for word in ("No such file", "not known", "cannot resolve", "Could not")):
        return f"{reason}: give HOST:PORT with a known host, or the path of a socket"
    if any(word in reason for word in _NO_STUB):
        return f"{reason}: it is not a gdbstub, or it serves another debugger"
    return reason
