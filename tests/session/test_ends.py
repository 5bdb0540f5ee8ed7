"""QEMU or GDB killed, and Ctrl-C, during each call: one clear error, and nothing remains."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbplugin.session import EndedError, SessionError, TinyOS, WaitTimeoutError
from tests.session.processes import is_alive

CALLS: dict[str, Callable[[TinyOS], object]] = {
    "gdb": lambda tinyos: at_a_stop(tinyos, lambda: tinyos.gdb("tinyos report")),
    "mi": lambda tinyos: at_a_stop(tinyos, lambda: tinyos.mi("-tinyos-report")),
    "json": lambda tinyos: tinyos.json("stats"),
    "typed": lambda tinyos: tinyos.registers(),
    "stopped": lambda tinyos: at_a_stop(tinyos, lambda: None),
    "run_until": lambda tinyos: tinyos.run_until("task-ended", task=4711, timeout=5),
}
OF_QEMU: dict[str, Callable[[TinyOS], object]] = {
    "shell": lambda tinyos: tinyos.shell("*s"),
    "command": lambda tinyos: tinyos.qemu.command("query-status"),
    "snapshot": lambda tinyos: tinyos.watch().snapshot(),
}


def at_a_stop(tinyos: TinyOS, ask: Callable[[], object]) -> None:
    with tinyos.stopped():
        ask()


@contextlib.contextmanager
def killed_meanwhile(pid: int) -> Iterator[None]:
    """Kill a process shortly after the body has begun."""
    timer = threading.Timer(0.05, os.kill, (pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def repeat(tinyos: TinyOS, call: Callable[[TinyOS], object]) -> None:
    """Repeat until it fails: the process dies during one of the calls."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        call(tinyos)


@pytest.mark.parametrize("name", [*CALLS, *OF_QEMU])
def test_qemu_killed_during_a_call_is_the_error(name: str, kernel_elf: Path) -> None:
    with TinyOS.boot(kernel_elf) as tinyos:
        pids, directory = [tinyos.qemu.pid, tinyos.debugger.pid], tinyos.qemu.directory
        call = (CALLS | OF_QEMU)[name]
        with killed_meanwhile(tinyos.qemu.pid), pytest.raises(EndedError) as caught:
            repeat(tinyos, call)
        assert caught.value.message == "QEMU was killed by SIGKILL"
        assert tinyos.ended is not None
        assert tinyos.ended.message == "QEMU was killed by SIGKILL"
        # Each later call says so too.
        with pytest.raises(EndedError, match="QEMU was killed by SIGKILL"):
            call(tinyos)
    assert not any(is_alive(pid) for pid in pids)
    assert not directory.exists()


def test_gdb_killed_during_a_call_is_the_error(machine: TinyOS) -> None:
    for name, call in CALLS.items():
        gdb = machine.debugger.pid
        with killed_meanwhile(gdb), pytest.raises(EndedError) as caught:
            repeat(machine, call)
        assert caught.value.message == "GDB was killed by SIGKILL", name
        assert not is_alive(gdb)
        # The machine is unharmed, and takes another GDB.
        machine.detach()
        assert machine.stats().stats.context_switch_count
        assert machine.shell("uptime").endswith(" ms\n")


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No garbage collection: Hypothesis has a callback for it, in which Ctrl-C would be lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("name", [*CALLS, "shell"])
def test_after_ctrl_c_in_a_call_the_session_answers(name: str, shared_machine: TinyOS) -> None:
    call = (CALLS | OF_QEMU)[name]
    for delay in (0.02, 0.035, 0.05):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            repeat(shared_machine, call)
        shared_machine.resume()
        assert shared_machine.stats().stats.context_switch_count
        with shared_machine.stopped() as gdb:
            assert gdb.execute("info breakpoints").startswith("No breakpoints")
    assert shared_machine.shell("uptime").endswith(" ms\n")


def test_after_ctrl_c_in_a_command_gdb_answers(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:

        def ctrl_c(_: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            gdb.execute("python gdb.write('begun\\n'); import time; time.sleep(60)", 30, ctrl_c)
        assert time.monotonic() - started < 20
        assert gdb.execute("output 6*7") == "42"
        assert shared_machine.stats().stats.context_switch_count


def test_ctrl_c_while_gdb_starts_is_ctrl_c(
    machine: TinyOS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GDB that has not set up its Python yet exits at an interrupt."""
    starting = tmp_path / "gdb"
    starting.write_text("#!/bin/sh\nexec sleep 600\n")
    starting.chmod(0o755)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with monkeypatch.context() as patched:
        patched.setenv("TINYOS_GDB", str(starting))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            machine.stats()
    timer.join()
    assert machine.stats().stats.context_switch_count


def test_ctrl_c_stops_a_target_that_a_command_let_run(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            gdb.execute("continue", 30)
        assert not gdb.running
        assert gdb.execute("output 6*7") == "42"


def test_ctrl_c_in_a_wait_for_an_event_leaves_no_breakpoint(shared_machine: TinyOS) -> None:
    shared_machine.stats()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        shared_machine.run_until("task-ended", task=4711, timeout=30)
    assert shared_machine.running
    with shared_machine.stopped() as gdb:
        assert gdb.execute("info breakpoints").startswith("No breakpoints")


def test_a_command_that_times_out_is_cancelled(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        with pytest.raises(WaitTimeoutError, match=r"waited 0\.2 s for GDB's answer to .*sleep"):
            gdb.execute("python import time; time.sleep(60)", 0.2)
        assert gdb.execute("output 6*7") == "42"


def test_sessions_at_the_same_time_do_not_mix(boot: Callable[..., TinyOS]) -> None:
    machines = [boot(), boot(), boot(gdb_port=0)]
    for number, tinyos in enumerate(machines):
        tinyos.shell(f"pool {20 + number}")
    limits = [tinyos.pressure().frames.limit_frames for tinyos in machines]
    assert limits == [256 * (20 + number) for number in range(3)]
    machines[1].close()
    with pytest.raises((SessionError, ValueError)):
        machines[1].stats()
    assert machines[0].stats().counters["ticks"]
    assert machines[2].qemu.status == "running"


def test_an_attached_session_works_and_leaves_the_machine(
    boot: Callable[..., TinyOS], kernel_elf: Path
) -> None:
    booted = boot(gdb_port=0)
    with TinyOS.attach(booted.address, kernel_elf) as tinyos:
        assert (tinyos.is_attached, tinyos.address) == (True, booted.address)
        assert not tinyos.running
        assert booted.qemu.status in ("paused", "debug")
        stacks, directory = tinyos.stacks(), Path(tinyos._host.directory)
        assert tinyos.json("stacks")["stacks"][0]["id"] == stacks.stacks.stacks[0].id
        tinyos.resume()
        assert isinstance(tinyos.run_until("switch", task=0, timeout=30), object)
        for refused, said in (
            (lambda: tinyos.shell("help"), "no console: it is attached to 127.0.0.1:"),
            (lambda: tinyos.qemu, "no QEMU of its own: it is attached to 127.0.0.1:"),
            (tinyos.watch, "attached to 127.0.0.1:.*and has no access to its RAM"),
        ):
            with pytest.raises(SessionError, match=said):
                refused()
    # The machine runs on, and takes another debugger.
    assert not directory.exists()
    assert booted.qemu.status == "running"
    assert booted.shell("uptime").endswith(" ms\n")
    assert [stack.id for stack in booted.stacks()] == [stack.id for stack in stacks]


def test_an_attached_session_reports_the_lost_connection(
    boot: Callable[..., TinyOS], kernel_elf: Path
) -> None:
    booted = boot()
    with TinyOS.attach(booted.address, kernel_elf) as tinyos:
        booted.qemu.close()
        with pytest.raises(EndedError, match=r"^the connection to .* was lost$"):
            tinyos.check()


def test_an_address_without_a_stub_is_one_line(kernel_elf: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    for address, said in (
        (str(tmp_path / "nobody"), "No such file or directory"),
        (f"127.0.0.1:{port}", "Connection refused"),
    ):
        with pytest.raises(SessionError, match=said) as caught:
            TinyOS.attach(address, str(kernel_elf))
        assert "\n" not in caught.value.message


def test_a_users_event_loop_can_read_the_console(shared_machine: TinyOS) -> None:
    import asyncio

    async def listen() -> str:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(shared_machine.pump.fileno(), lambda: (shared_machine.pump.drain(), heard.set()))
        before = len(shared_machine.console.transcript)
        shared_machine.console.send("uptime\r")
        try:
            async with asyncio.timeout(20):
                while " ms\ntinyos> " not in shared_machine.console.transcript[before:]:
                    heard.clear()
                    await heard.wait()
        finally:
            loop.remove_reader(shared_machine.pump.fileno())
        return shared_machine.console.transcript[before:]

    assert asyncio.run(listen()).startswith("uptime\n")
