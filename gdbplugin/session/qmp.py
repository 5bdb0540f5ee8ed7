"""QEMU's machine protocol, by `qemu.qmp`: one connection for each command, so that others can connect too.

That library is asynchronous; a session is not. So an event loop runs in this thread for each command. That
is not possible inside a running event loop: there, await `ask`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
from collections.abc import Mapping
from pathlib import Path

from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError
from qemu.qmp.qmp_client import GreetingError, NegotiationError

from gdbplugin.session.errors import CommandFailedError, EndedError, SessionError, WaitTimeoutError
from gdbplugin.session.process import Pump

# The library fails an assertion if the connection is lost in the moment it is made.
_LOST = (QMPError, AssertionError, EOFError, OSError)
_GOODBYE_SECONDS = 2.0
# The library's errors are raised, so its log goes only to those who ask for it.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())


def execute(
    socket: Path,
    command: str,
    arguments: Mapping[str, object] | None,
    timeout: float,
    pump: Pump | None = None,
) -> object:
    """QEMU's answer to a command: what it returns, or an empty dictionary.

    `pump` reads meanwhile: QEMU stops, and does not answer, when a few hundred bytes of its console are
    unread. Raises `CommandFailedError` with QEMU's own words, `WaitTimeoutError`, or `EndedError` if QEMU
    is not there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # No event loop is running, as it must be.
        return asyncio.run(_ask_and_read(socket, command, arguments, timeout, pump))
    raise SessionError(
        f"QEMU cannot be asked {command} inside a running event loop: ask before it, or in another thread"
    )


async def _ask_and_read(
    socket: Path, command: str, arguments: Mapping[str, object] | None, timeout: float, pump: Pump | None
) -> object:
    if pump is not None:
        asyncio.get_running_loop().add_reader(pump.fileno(), pump.drain)
    return await ask(socket, command, arguments, timeout)


async def ask(socket: Path, command: str, arguments: Mapping[str, object] | None, timeout: float) -> object:
    """As `execute`, inside a running event loop."""
    try:
        return await _converse(socket, command, arguments, timeout)
    finally:
        # If the task is cancelled while it connects, the library may raise another error instead.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError


async def _converse(
    socket: Path, command: str, arguments: Mapping[str, object] | None, timeout: float
) -> object:
    try:
        async with asyncio.timeout(timeout):
            while True:
                with contextlib.suppress(_InterruptedError):
                    return await _converse_once(socket, command, arguments)
    except ExecuteError as error:
        raise CommandFailedError(command, str(error)) from error
    except TimeoutError as error:
        waited = f"waited {timeout:g} s for QEMU's answer to {command}"
        raise WaitTimeoutError(f"{waited}: it serves one program at a time at {socket}") from error
    except _LOST as error:
        raise EndedError(f"QEMU did not answer {command}: {error}") from error


class _InterruptedError(Exception):
    """An event came before the greeting, or before the answer to the first command: connect again.

    QEMU sends events before a connection is set up; the library takes them for the answer that it expects.
    """


async def _converse_once(socket: Path, command: str, arguments: Mapping[str, object] | None) -> object:
    client = QMPClient("session")
    line = await _connected(socket)
    try:
        await client.connect(line)
        return await client.execute(command, arguments)
    except ConnectError as error:
        if isinstance(error.exc, GreetingError | NegotiationError):
            raise _InterruptedError from error
        raise
    finally:
        try:
            await _disconnect(client)
        finally:
            # If cancelled while it connects, the library leaves it open, and QEMU serves one at a time.
            with contextlib.suppress(OSError):
                line.shutdown(sockets.SHUT_RDWR)


async def _connected(socket: Path) -> sockets.socket:
    line = sockets.socket(sockets.AF_UNIX)
    try:
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, str(socket))
    except BaseException:
        line.close()
        raise
    return line


async def _disconnect(client: QMPClient) -> None:
    try:
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await client.disconnect()
    except (*_LOST, TimeoutError):
        return  # QEMU closed it first, which is normal after `quit`.
