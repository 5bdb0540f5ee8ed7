"""Whole sessions: what is started answers quickly, and is gone at the end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from gdbplugin.session import (
    CommandFailedError,
    EndedError,
    Qemu,
    QemuOptions,
    SessionError,
    TinyOS,
    WaitTimeoutError,
    mi,
)
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.process import Pump
from tests.session.processes import is_alive, wait_until_gone


def test_the_directory_is_private(shared_machine: TinyOS) -> None:
    assert stat.S_IMODE(shared_machine.qemu.directory.stat().st_mode) == 0o700


def test_the_console_is_logged_from_its_first_byte(shared_machine: TinyOS) -> None:
    deadline = time.monotonic() + 5
    while True:
        # QEMU may send a byte before it writes it to the file.
        log = shared_machine.qemu.console_log.read_bytes().decode().replace("\r\n", "\n")
        if log == shared_machine.console.transcript or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    assert log == shared_machine.console.transcript


def test_gdb_commands_return_text_or_raise(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        assert gdb.execute("echo a\\t\\\\b\\n") == "a\t\\b\n"
        assert gdb.mi("-data-evaluate-expression 6*7").payload["value"] == "42"
        assert "paused" in gdb.execute("monitor info status")
        with pytest.raises(CommandFailedError) as caught:
            gdb.execute("nonsense")
        assert caught.value.command == "nonsense"
        assert "Undefined command" in caught.value.reason


def test_stopped_can_be_nested_and_ends_running(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        assert not gdb.running
        with shared_machine.stopped():
            assert not gdb.running
        assert not gdb.running
    assert shared_machine.debugger.running


def test_a_command_that_runs_the_target_returns_at_the_stop(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        gdb.execute("tbreak shell_interrupted")
        assert "shell_interrupted" in gdb.execute("continue")
        assert not gdb.running


def test_output_is_shown_as_it_arrives(shared_machine: TinyOS) -> None:
    shown: list[str] = []
    with shared_machine.stopped():
        printed = shared_machine.gdb("python for n in range(3): print(n)", show=shown.append)
    assert printed == "".join(shown) == "0\n1\n2\n"
    assert shared_machine.gdb("echo x") == "x"
    assert len(shown) >= 3


def test_a_target_that_runs_too_long_is_stopped(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        with pytest.raises(WaitTimeoutError, match=r"waited 0\.2 s for the target to stop"):
            gdb.execute("continue", 0.2)
        assert not gdb.running
        assert gdb.last_stop is not None
        assert gdb.last_stop.reason == "signal-received"


def test_a_command_in_the_background_returns_at_once(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        gdb.execute("continue &", 5)
        assert gdb.running
        assert gdb.interrupt().reason == "signal-received"


def _best_seconds(gdb: Gdb, command: str) -> float:
    """The best of many round trips, so that other work on the host does not count."""
    times = []
    for _ in range(50):
        start = time.perf_counter()
        gdb.mi(command)
        times.append(time.perf_counter() - start)
    return min(times)


def test_a_round_trip_takes_milliseconds(shared_machine: TinyOS) -> None:
    with shared_machine.stopped() as gdb:
        assert _best_seconds(gdb, "-data-evaluate-expression 1") < 0.005


def test_a_round_trip_waits_only_for_its_answer(
    shared_machine: TinyOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    plain = Pump._read_ready

    def look(pump: Pump, timeout: float) -> bool:
        looks.append(timeout)
        return plain(pump, timeout)

    with shared_machine.stopped() as gdb:
        monkeypatch.setattr(Pump, "_read_ready", look)
        answers = [gdb.mi(f"-data-evaluate-expression {number}").payload["value"] for number in range(20)]
    assert answers == [str(number) for number in range(20)]
    # One read of what has arrived before, and one for each piece of the answer: mostly two.
    assert len(looks) < 20 * 5


def test_a_free_port_is_found_on_request(boot: Callable[..., TinyOS]) -> None:
    first, second = boot(gdb_port=0), boot(gdb_port=0)
    assert first.qemu.gdb_address != second.qemu.gdb_address
    for machine in (first, second):
        assert machine.qemu.gdb_address.startswith("127.0.0.1:")
        with machine.stopped() as gdb:
            assert "CPU#3" in gdb.execute("info threads")
            address = int(gdb.execute("output/x $pc"), 16) & ~0xFFF
            # As fast as over the private socket: nothing waits for delayed acknowledgements.
            assert _best_seconds(gdb, f"-data-read-memory-bytes {mi.address(address)} 64") < 0.01


def test_a_paused_machine_has_run_nothing(boot: Callable[..., TinyOS], kernel_elf: Path) -> None:
    machine = boot(paused=True)
    with machine.stopped() as gdb:
        with kernel_elf.open("rb") as stream:
            entry = ELFFile(stream)["e_entry"]
        assert gdb.execute("output/x $pc") == hex(entry)
        assert machine.console.transcript == ""


def test_nothing_outlives_a_session(kernel_elf: Path) -> None:
    with TinyOS.boot(kernel_elf) as machine:
        pids = [machine.qemu.pid, machine.debugger.pid]
        directory = machine.qemu.directory
        assert all(is_alive(pid) for pid in pids)
    assert not any(is_alive(pid) for pid in pids)
    assert not directory.exists()
    machine.close()  # A second call does nothing.


def test_nothing_outlives_an_exception(kernel_elf: Path) -> None:
    machines: list[TinyOS] = []
    pids: list[int] = []

    def interrupted_session() -> None:
        with TinyOS.boot(kernel_elf) as machine, machine.stopped() as gdb:
            machines.append(machine)
            pids.extend([machine.qemu.pid, gdb.pid])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_session()
    assert not any(is_alive(pid) for pid in pids)
    assert not machines[0].qemu.directory.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_program_that_is_killed(number: signal.Signals, kernel_elf: Path) -> None:
    program = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from gdbplugin.session import TinyOS
        from gdbplugin.session.process import raised_as_exit
        with raised_as_exit(), TinyOS.boot(Path({str(kernel_elf)!r})) as machine:
            print(machine.qemu.directory, machine.qemu.pid, machine.debugger.pid, flush=True)
            signal.pause()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        directory, *pids = child.stdout.readline().split()
        child.send_signal(number)
        child.wait(10)
    wait_until_gone(map(int, pids))
    if number != signal.SIGKILL:
        assert not Path(directory).exists()
        return
    # After SIGKILL, the next session removes it.
    with TinyOS.boot(kernel_elf):
        assert not Path(directory).exists()


def test_a_session_in_use_is_not_abandoned(machine: TinyOS, kernel_elf: Path) -> None:
    with TinyOS.boot(kernel_elf):
        assert machine.qemu.directory.is_dir()


def test_a_killed_qemu_is_named(machine: TinyOS) -> None:
    os.kill(machine.qemu.pid, signal.SIGKILL)
    with pytest.raises(EndedError, match="QEMU was killed by SIGKILL"):
        machine.shell("help")


def test_a_killed_qemu_ends_a_wait_for_a_stop(machine: TinyOS) -> None:
    gdb = machine.debugger
    os.kill(machine.qemu.pid, signal.SIGKILL)
    with pytest.raises(SessionError, match="connection to the target was lost"):
        gdb.wait_for_stop(10)


def test_a_killed_gdb_is_named(machine: TinyOS) -> None:
    gdb = machine.debugger
    os.kill(gdb.pid, signal.SIGKILL)
    with pytest.raises(EndedError, match="GDB was killed by SIGKILL"):
        gdb.mi("-data-evaluate-expression 1")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    gdb.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors - 3


def test_a_silent_kernel_is_a_timeout_with_evidence(machine: TinyOS) -> None:
    with machine.stopped(), pytest.raises(WaitTimeoutError) as caught:
        machine.console.command("help", timeout=0.2)
    assert "tinyos> " in caught.value.evidence


def test_the_shell_of_a_stopped_kernel_is_an_error(machine: TinyOS) -> None:
    with machine.stopped(), pytest.raises(SessionError, match="the target is stopped: resume it first"):
        machine.shell("help")
    assert machine.shell("uptime")


def test_the_reason_why_qemu_did_not_start_is_named(kernel_elf: Path) -> None:
    with pytest.raises(EndedError, match=r"QEMU exited with status 1: .*no-such-option"):
        Qemu.start(QemuOptions(kernel_elf, extra=("-no-such-option",)))


def test_stopping_keeps_the_selected_core(shared_machine: TinyOS) -> None:
    seen = set()
    for core in (2, 0, 3, 0):
        with shared_machine.stopped() as gdb:
            gdb.execute(f"thread {core + 1}")
        for _ in range(3):
            with shared_machine.stopped() as gdb:
                assert int(gdb.ask("-data-evaluate-expression $_thread").payload["value"]) == core + 1
                assert shared_machine.last_stop is not None
                seen.add(shared_machine.last_stop.core == core)
            assert shared_machine.translate(0).view.core == core
    # The stub reported stops of other cores too.
    assert False in seen
