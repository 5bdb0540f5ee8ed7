"""Addresses that cannot be attached to: one line for each reason, and soon."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbplugin.session import SessionError, TinyOS

Behaviour = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(behave: Behaviour) -> Iterator[str]:
    """The address of a loopback server that does something with each connection, and keeps it open."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])
                    behave(kept[-1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def refuse_by_http(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.close()


def refusal(address: str, kernel: Path, timeout: float = 1) -> str:
    with pytest.raises(SessionError) as caught:
        TinyOS.attach(address, kernel, timeout=timeout)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("port", [None, 0], ids=["socket", "TCP"])
def test_a_stub_in_use_is_reported(boot: Callable[..., TinyOS], kernel_elf: Path, port: int | None) -> None:
    machine = boot(gdb_port=port)
    machine.interrupt()
    said = refusal(machine.address, kernel_elf)
    assert said == (
        f"no gdbstub answers at {machine.address} within 1 s: another debugger is attached to it, "
        "or it is not a gdbstub"
    )
    # The other debugger is not disturbed, and the stub is free after it has detached.
    assert machine.gdb("output 6*7") == "42"
    machine.detach()
    with TinyOS.attach(machine.address, kernel_elf) as second:
        assert second.stats().counters["ticks"]


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (socket.socket.getpeername, "no gdbstub answers at"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n"), "no gdbstub answers at"),
        (socket.socket.close, "or it serves another debugger"),
        (lambda connection: refuse_by_http(connection), "it is not a gdbstub"),
    ],
    ids=["silent", "SSH", "closes", "HTTP"],
)
def test_a_server_that_is_not_a_stub_is_reported(kernel_elf: Path, behave: Behaviour, said: str) -> None:
    with listening(behave) as address:
        message = refusal(address, kernel_elf)
    assert address in message
    assert said in message


@pytest.mark.parametrize("address", ["nowhere.invalid:1234", "127.0.0.1", "/nowhere/socket"])
def test_a_wrong_address_is_answered_with_the_format(kernel_elf: Path, address: str) -> None:
    message = refusal(address, kernel_elf, 10)
    assert message.startswith(f"cannot attach to {address}: ")
    assert "give HOST:PORT with a known host, or the path of a socket" in message


def test_a_port_where_nobody_listens_is_reported(kernel_elf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    message = refusal(f"127.0.0.1:{port}", kernel_elf)
    assert message.endswith("Connection refused: nothing listens there; QEMU opens a gdbstub with -s or -gdb")


def test_a_second_terminal_on_a_console_is_refused(boot: Callable[..., TinyOS]) -> None:
    machine = boot()
    machine.console.close()
    command = [sys.executable, "-m", "gdbplugin.repl.main", "--console", str(machine.qemu.console_socket)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write(b"h\r")
        first.stdin.flush()
        assert first.stdout.read1(1)
        second = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == 1
        assert "another terminal is on the console" in second.stderr
        assert second.stderr.count("\n") == 1
        first.stdin.close()
    third = subprocess.run(command, input="h\r", capture_output=True, text=True, check=False, timeout=60)
    assert third.returncode == 0
