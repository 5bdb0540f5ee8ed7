"""QEMU's machine protocol and monitor, through a session."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path

import pytest
from qemu.qmp import ConnectError

from gdbplugin.session import CommandFailedError, SessionError, TinyOS, WaitTimeoutError, qmp


def test_status_is_the_state_of_the_machine(shared_machine: TinyOS) -> None:
    assert shared_machine.qemu.status == "running"
    with shared_machine.stopped():
        assert shared_machine.qemu.status in ("paused", "debug")
    assert shared_machine.qemu.status == "running"


def test_commands_take_arguments_and_return_objects(shared_machine: TinyOS) -> None:
    cores = shared_machine.qemu.command("query-cpus-fast")
    assert [core["cpu-index"] for core in cores] == [0, 1, 2, 3]
    found = shared_machine.qemu.command("qom-get", {"path": "/machine", "property": "type"})
    assert found == "raspi4b-machine"


def test_monitor_returns_the_text(shared_machine: TinyOS) -> None:
    assert shared_machine.qemu.monitor("info status") == "VM status: running\n"
    said = shared_machine.qemu.monitor("info mtree -f")
    assert re.search(r"0000000000000000-000000007fffffff .*: ram\n", said)


def test_monitor_agrees_with_gdbs_monitor_command(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        by_gdb = gdb.execute("monitor info registers")
        assert shared_machine.qemu.monitor("info registers").split() == by_gdb.split()


def test_a_refused_command_has_qemus_own_words(shared_machine: TinyOS) -> None:
    with pytest.raises(CommandFailedError) as caught:
        shared_machine.qemu.command("nonsense")
    assert caught.value.message == "nonsense: The command nonsense has not been found"


def test_it_serves_one_program_at_a_time(shared_machine: TinyOS) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(shared_machine.qemu.qmp_socket))
        assert other.recv(5) == b'{"QMP'
        with pytest.raises(WaitTimeoutError, match="QEMU's answer to query-status: it serves one program"):
            shared_machine.qemu.command("query-status", timeout=0.3)
    assert shared_machine.qemu.status == "running"


def test_inside_an_event_loop_it_says_so(shared_machine: TinyOS) -> None:
    async def ask() -> None:
        assert shared_machine.stats().stats.context_switch_count  # This needs no event loop of its own.
        with pytest.raises(SessionError, match="inside a running event loop"):
            shared_machine.qemu.command("query-status")

    asyncio.run(ask())


def test_after_quit_the_exit_status_is_named(machine: TinyOS) -> None:
    machine.qemu.command("quit")
    assert machine.qemu.has_ended(20)
    with pytest.raises(SessionError, match=r"^QEMU exited with status 0$"):
        _ = machine.qemu.status


def test_a_cancellation_while_connecting_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the library turns it into an error of its own, as it sometimes does."""

    class Converts(qmp.QMPClient):
        async def connect(self, *arguments: object, **named: object) -> None:
            try:
                await super().connect(*arguments, **named)  # type: ignore[arg-type]
            except asyncio.CancelledError as error:
                raise ConnectError("it was cancelled", EOFError()) from error

    monkeypatch.setattr(qmp, "QMPClient", Converts)

    async def cancelled() -> None:
        came = asyncio.Event()
        peers: list[asyncio.StreamWriter] = []

        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer)
            came.set()

        server = await asyncio.start_unix_server(accept, tmp_path / "qmp")
        async with server:
            asked = asyncio.create_task(qmp.ask(tmp_path / "qmp", "query-status", None, 30))
            await came.wait()
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            for peer in peers:
                peer.close()

    asyncio.run(cancelled())


def test_qemu_answers_while_the_kernel_writes(shared_machine: TinyOS) -> None:
    """QEMU stops while some hundred bytes of its console are unread."""
    for _ in range(5):
        shared_machine.console.send("*r\r")
        assert shared_machine.qemu.command("query-status", timeout=10)["status"] == "running"
        shared_machine.console.expect(r"switches\n(.|\n)*tinyos> $", 20)


@pytest.mark.parametrize("greeted", [False, True], ids=["before the greeting", "after the greeting"])
def test_an_early_event_is_skipped(tmp_path: Path, greeted: bool) -> None:
    """QEMU sends it to the next program if the previous one has just left, or as the machine stops."""
    version = {"qemu": {"micro": 0, "minor": 0, "major": 10}}
    greeting = {"QMP": {"version": version, "capabilities": []}}
    event = {"timestamp": {"seconds": 1, "microseconds": 1}, "event": "STOP"}
    connections = iter([[greeting, event] if greeted else [event], [greeting]])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unasked: list[dict[str, object]] = next(connections)
        while True:
            for said in unasked:
                writer.write(json.dumps(said).encode() + b"\r\n")
            asked = await reader.read(4096)  # QEMU's clients end no line.
            if not asked:
                break
            answer: dict[str, object] = {"return": {"status": "running"}}
            if "id" in (content := json.loads(asked)):
                answer["id"] = content["id"]
            unasked = [answer]
        writer.close()

    async def ask() -> object:
        async with await asyncio.start_unix_server(serve, tmp_path / "qmp"):
            return await qmp.ask(tmp_path / "qmp", "query-status", None, 10)

    assert asyncio.run(ask()) == {"status": "running"}
