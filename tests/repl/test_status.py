"""The status line."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from gdbplugin.render import Style
from gdbplugin.repl.status import Status, StatusReader, status_line
from gdbplugin.session import TinyOS

_RUNNING = Status(
    running=True, asid=3, task="3 worker", pressure="High", free=8_192, limit=32_768, event_rate=1234.4
)
_STOPPED = replace(
    _RUNNING,
    running=False,
    place="kernel::scheduler::reschedule scheduler.rs:207",
    core=0,
    exception_level=1,
    event_rate=None,
)
_PLAIN = Style(encoding="ascii")


def test_line_shows_all_that_is_known() -> None:
    assert (
        status_line(_RUNNING, 120, Style())
        == "running · ASID 3 · task 3 worker · High ██░░░░ 25% · 1,234 ev/s"
    )
    assert status_line(_RUNNING, 80, Style()) == "running · ASID 3 · task 3 worker · High ██░░░░ · 1,234 ev/s"
    assert status_line(_STOPPED, 120, Style()) == (
        "stopped in kernel::scheduler::reschedule scheduler.rs:207 · core 0 EL1 · ASID 3 · task 3 worker"
        " · High ██░░░░ 25%"
    )


def test_tasks_are_counted_where_there_is_room() -> None:
    status = replace(_RUNNING, tasks="7 tasks, 2 ready")
    assert "task 3 worker · 7 tasks, 2 ready · High" in status_line(status, 120, Style())
    assert "7 tasks" not in status_line(status, 80, Style())


def test_line_without_utf_8_is_ascii() -> None:
    shown = status_line(_RUNNING, 80, _PLAIN)
    assert shown == "running | ASID 3 | task 3 worker | High ##.... | 1,234 ev/s"
    assert status_line(Status(running=True), 80, _PLAIN).isascii()


def test_unknown_value_is_a_dash() -> None:
    assert status_line(Status(running=True), 80, Style()) == "running · ASID — · task —"


@pytest.mark.parametrize("width", range(20, 130, 3))
@pytest.mark.parametrize("status", [_RUNNING, _STOPPED, replace(_STOPPED, problem="x" * 200)])
def test_line_fits_the_terminal(status: Status, width: int) -> None:
    shown = status_line(status, width, Style())
    assert len(shown) <= width
    assert shown.startswith("running" if status.running else "stopped")


@pytest.mark.parametrize("style", [Style(), _PLAIN])
@pytest.mark.parametrize("status", [_RUNNING, _STOPPED, replace(_STOPPED, problem="x" * 200)])
def test_narrowest_terminal_has_a_status_line(status: Status, style: Style) -> None:
    for width in range(1, 201):
        assert 0 < len(status_line(status, width, style)) <= width


def test_long_place_is_shortened_first_and_keeps_its_end() -> None:
    shown = status_line(_STOPPED, 80, Style())
    assert "…" in shown
    assert "scheduler.rs:207 · core 0 EL1" in shown
    assert status_line(_STOPPED, 91, Style()).startswith("stopped in reschedule scheduler.rs:207 · ")
    assert shown.endswith("High ██░░░░")


def test_status_of_running_target_is_the_librarys(shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    seen = StatusReader(shared_machine, Style()).read()
    context, pressure = shared_machine.context(), shared_machine.pressure()
    assert context.current_task is not None
    space = context.spaces.of(context.current_task)
    assert space is not None
    assert seen.running
    assert (seen.asid, seen.pressure) == (space.asid, pressure.pressure.level)
    assert (seen.free, seen.limit) == (pressure.free, pressure.pressure.limit_frames)
    assert seen.task == "0 shell"
    assert shared_machine.running
    shared_machine.shell("go")


def test_place_of_running_core_comes_from_qemu(shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    reader = StatusReader(shared_machine, Style())
    assert shared_machine.gdb("output 1") == "1"  # After this, GDB has reported that the target runs.
    runs = shared_machine.debugger.runs
    asyncio.run(reader.ask_qemu())
    seen = reader.read()
    assert (seen.core, seen.exception_level) == (0, 1)
    # In any case a function's name, without offset and without the compiler's suffixes.
    assert re.match(r"<*(kernel|tinyos|core)::\w", seen.place)
    assert not re.search(r" \+ |::h[0-9a-f]{16}|\w\[[0-9a-f]{8}", seen.place)
    assert shared_machine.debugger.runs == runs  # The target was not stopped for it.
    shared_machine.shell("go")


def test_event_rate_is_counted_between_two_reads(shared_machine: TinyOS) -> None:
    reader = StatusReader(shared_machine, Style())
    assert reader.read().event_rate is None
    shared_machine.shell("spawn worker")
    rate = reader.read().event_rate
    assert rate is not None
    assert rate > 0


def test_status_at_a_stop_follows_the_selected_core_and_frame(shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    reader = StatusReader(shared_machine, Style())
    with shared_machine.stopped() as gdb:
        gdb.execute("thread 1")
        first = reader.read()
        assert (first.running, first.core, first.exception_level) == (False, 0, 1)
        assert first.place.split()[0] in gdb.execute("frame")
        gdb.execute("thread 2")
        second = reader.read()
        assert (second.core, second.place) == (1, "secondary_parked")
        assert second.pressure == shared_machine.pressure().pressure.level
        gdb.execute("thread 1")
        gdb.execute("up")
        assert reader.read().place not in (first.place, second.place)
    assert reader.read().running
    shared_machine.shell("go")


def test_attached_status_shows_the_last_stop(shared_machine: TinyOS) -> None:
    shared_machine.detach()
    with TinyOS.attach(shared_machine.address, shared_machine.kernel.path) as attached:
        reader = StatusReader(attached, Style())
        stopped = reader.read()
        assert stopped.core == 0
        assert stopped.pressure == attached.pressure().pressure.level
        attached.resume()
        running = reader.read()
        assert (running.running, running.pressure) == (True, stopped.pressure)
        assert (running.task, running.core) == (None, None)
