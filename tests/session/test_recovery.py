"""After a call that times out, the session answers the next one, or says that it has ended."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gdbplugin.session import EndedError, SessionError, TinyOS, WaitTimeoutError
from gdbplugin.session.mi import Stop

Call = Callable[[TinyOS, float], object]

_LOOP = """gdb.execute('thread 2'); exec("while True: gdb.execute('stepi')")"""
ENDLESS: dict[str, Call] = {
    "continue": lambda tinyos, timeout: tinyos.gdb("continue", timeout),
    "continue by MI": lambda tinyos, timeout: _continue_by_mi(tinyos, timeout),
    "stepi": lambda tinyos, timeout: tinyos.gdb("stepi 100000000", timeout),
    # Interrupted in a step from Python, GDB 13 may miss the stop.
    "a loop": lambda tinyos, timeout: tinyos.gdb("python while True: gdb.execute('stepi')", timeout),
    # A step of a parked core ends only by an interrupt, and then the next one begins.
    "a loop without end in each step": lambda tinyos, timeout: tinyos.gdb(f"python {_LOOP}", timeout),
    "a command of GDB's": lambda tinyos, timeout: tinyos.gdb("python while True: pass", timeout),
    "a program": lambda tinyos, timeout: tinyos.gdb("shell sleep 600", timeout),
    "a pipe": lambda tinyos, timeout: tinyos.gdb("pipe info line | sleep 600", timeout),
    "mi": lambda tinyos, timeout: tinyos.mi(
        '-interpreter-exec console "python import time; time.sleep(600)"', timeout
    ),
    "run_until": lambda tinyos, timeout: tinyos.run_until("task-ended", task=4711, timeout=timeout),
    "a breakpoint's wait": lambda tinyos, timeout: _wait(tinyos, timeout),
    "expect": lambda tinyos, timeout: tinyos.console.expect("no such text", timeout),
}
"""Calls that end only by a timeout."""
SHORT: dict[str, Call] = {
    "json": lambda tinyos, timeout: tinyos.json("report", timeout),
    "interrupt": lambda tinyos, timeout: tinyos.interrupt(timeout),
    "shell": lambda tinyos, timeout: tinyos.shell("*r", timeout),
    "wait_for_prompt": lambda tinyos, timeout: tinyos.console.wait_for_prompt(timeout),
    "qemu.command": lambda tinyos, timeout: tinyos.qemu.command("query-status", timeout=timeout),
    "qemu.monitor": lambda tinyos, timeout: tinyos.qemu.monitor("info mtree", timeout),
    "snapshot": lambda tinyos, timeout: tinyos.watch().snapshot(timeout),
    "report": lambda tinyos, timeout: _report(tinyos, timeout),
}
"""Calls that may finish in time, or not."""


def _continue_by_mi(tinyos: TinyOS, timeout: float) -> None:
    with tinyos.stopped() as gdb:
        gdb.mi('-interpreter-exec console "continue"')
        with pytest.raises(SessionError, match="GDB reads no commands until the target stops"):
            gdb.mi("-data-evaluate-expression 1")
        try:
            gdb.wait_for_stop(timeout)
        finally:
            gdb.interrupt()


def _report(tinyos: TinyOS, timeout: float) -> None:
    with tinyos.stopped() as gdb:
        gdb.execute("tinyos report", timeout)


def _wait(tinyos: TinyOS, timeout: float) -> None:
    with tinyos.break_on("task-ended", task=4711) as breakpoint_:
        breakpoint_.wait(timeout)


def assert_answers(tinyos: TinyOS) -> None:
    """Every part of the session answers, and no answer belongs to an earlier call."""
    assert tinyos.gdb("output 6*7") == "42"
    tinyos.resume()
    assert tinyos.stats().counters["ticks"]
    assert tinyos.json("stats")["schema"] == "tinyos.stats/1"
    assert tinyos.running
    wait_until(lambda: tinyos.qemu.status == "running")  # GDB does not wait until QEMU has resumed.
    assert tinyos.shell("uptime").endswith(" ms\n")
    assert tinyos.watch().snapshot()
    with tinyos.stopped() as gdb:
        assert "breakpoint" in gdb.execute("info breakpoints").lower()
        assert "2 " not in gdb.execute("info breakpoints")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Hypothesis has a callback in the garbage collector; an exception raised in there is ignored."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def repeat(tinyos: TinyOS, call: Call) -> None:
    """Repeat until a signal's exception ends it."""
    while True:
        call(tinyos, 5)


@pytest.fixture
def stopped_first(shared_machine: TinyOS) -> Iterator[TinyOS]:
    """A machine that GDB has stopped; the test need not resume it."""
    shared_machine.interrupt()
    shared_machine.gdb("thread 1")  # The other cores are parked: a step there never ends.
    yield shared_machine
    shared_machine.resume()


@pytest.mark.parametrize("timeout", [0.0, 0.3])
@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_call_times_out(stopped_first: TinyOS, name: str, timeout: float) -> None:
    with pytest.raises(WaitTimeoutError):
        ENDLESS[name](stopped_first, timeout)
    assert_answers(stopped_first)


@pytest.mark.parametrize("timeout", [0.0, 0.002, 0.02])
@pytest.mark.parametrize("name", SHORT)
def test_a_short_call_may_time_out(shared_machine: TinyOS, name: str, timeout: float) -> None:
    with contextlib.suppress(WaitTimeoutError):
        SHORT[name](shared_machine, timeout)
    assert_answers(shared_machine)


def test_a_gdb_that_never_answers_is_killed(machine: TinyOS) -> None:
    machine.stats()
    pid = machine.debugger.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WaitTimeoutError, match=r"waited 0\.1 s for GDB's answer"):
        machine.gdb("output 6*7", 0.1)
    for _ in range(2):
        with pytest.raises(EndedError, match="GDB did not answer for 12 s, and was ended"):
            machine.gdb("output 6*7")
    assert machine.ended is not None
    # The machine is unharmed, and takes another GDB.
    machine.detach()
    assert_answers(machine)


def test_a_stub_that_stops_answering_is_an_error(machine: TinyOS) -> None:
    machine.interrupt()
    machine.gdb("set remotetimeout 1")
    os.kill(machine.qemu.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(SessionError):
        machine.gdb("x/4gx 0x80000", 1)
    with pytest.raises(SessionError):
        machine.gdb("x/4gx 0x90000", 1)
    assert time.monotonic() - started < 60
    os.kill(machine.qemu.pid, signal.SIGCONT)
    machine.detach()
    assert_answers(machine)


@pytest.mark.parametrize("name", ENDLESS)
def test_after_ctrl_c_in_an_endless_call_it_answers(stopped_first: TinyOS, name: str) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with without_garbage_collection(), pytest.raises(KeyboardInterrupt):
        ENDLESS[name](stopped_first, 30)
    timer.join()
    assert_answers(stopped_first)


@pytest.mark.parametrize("name", SHORT)
def test_after_ctrl_c_in_a_short_call_it_answers(shared_machine: TinyOS, name: str) -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with without_garbage_collection(), pytest.raises(KeyboardInterrupt):
        repeat(shared_machine, SHORT[name])
    timer.join()
    assert_answers(shared_machine)


@pytest.mark.parametrize("name", ENDLESS)
def test_after_an_endless_call_the_end_of_qemu_is_named(machine: TinyOS, name: str) -> None:
    machine.interrupt()
    machine.gdb("thread 1")
    timer = threading.Timer(0.3, os.kill, (machine.qemu.pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(SessionError):
        ENDLESS[name](machine, 3)
    timer.join()
    with pytest.raises(EndedError, match="QEMU was killed by SIGKILL"):
        machine.stats()


def test_a_target_set_running_by_nested_python_is_stopped(machine: TinyOS) -> None:
    machine.interrupt()
    with contextlib.suppress(WaitTimeoutError):
        machine.gdb("python gdb.execute('python gdb.execute(\"continue &\")')", 2)
    machine.interrupt()
    assert_answers(machine)


def test_ctrl_c_before_a_stop_leaves_no_stop_for_the_next(
    machine: TinyOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = machine.debugger.wait_for_stop
    cut = []

    def wait_for_stop(*arguments: float) -> Stop:
        if not cut:
            cut.append(True)
            raise KeyboardInterrupt
        return waits(*arguments)

    monkeypatch.setattr(machine.debugger, "wait_for_stop", wait_for_stop)
    with pytest.raises(KeyboardInterrupt), machine.stopped():
        pytest.fail("the body ran although the stop was interrupted")
    # A stop left over would be returned now.
    with pytest.raises(WaitTimeoutError):
        machine.debugger.wait_for_stop(0.3)
    assert machine.running
    assert_answers(machine)
