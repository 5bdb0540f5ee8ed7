"""The status line."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import replace

import pytest

from gdbplugin.render.style import Style
from gdbplugin.repl.explaining import overview
from gdbplugin.repl.looking import Lookout
from gdbplugin.repl.screen import Screen
from gdbplugin.repl.status import Status, line
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


def _screen() -> Screen:
    return Screen(io.StringIO(), io.StringIO(), Style(), for_person=True)


def test_it_says_all_that_is_known() -> None:
    assert line(_RUNNING, 120, Style()) == "running · ASID 3 · task 3 worker · High ██░░░░ 25% · 1,234 ev/s"
    assert line(_RUNNING, 80, Style()) == "running · ASID 3 · task 3 worker · High ██░░░░ · 1,234 ev/s"
    assert line(_STOPPED, 120, Style()) == (
        "stopped in kernel::scheduler::reschedule scheduler.rs:207 · core 0 EL1 · ASID 3 · task 3 worker"
        " · High ██░░░░ 25%"
    )


def test_without_utf_8() -> None:
    shown = line(_RUNNING, 80, _PLAIN)
    assert shown == "running | ASID 3 | task 3 worker | High ##.... | 1,234 ev/s"
    assert line(Status(running=True), 80, _PLAIN).isascii()


def test_what_is_not_known_is_a_dash() -> None:
    assert line(Status(running=True), 80, Style()) == "running · ASID — · task —"


@pytest.mark.parametrize("width", range(20, 130, 3))
@pytest.mark.parametrize("status", [_RUNNING, _STOPPED, replace(_STOPPED, problem="x" * 200)])
def test_it_fits_the_terminal(status: Status, width: int) -> None:
    shown = line(status, width, Style())
    assert len(shown) <= width
    assert shown.startswith("running" if status.running else "stopped")


@pytest.mark.parametrize("style", [Style(), _PLAIN])
@pytest.mark.parametrize("status", [_RUNNING, _STOPPED, replace(_STOPPED, problem="x" * 200)])
def test_the_narrowest_terminal_has_a_status_line(status: Status, style: Style) -> None:
    for width in range(1, 201):
        assert 0 < len(line(status, width, style)) <= width


@pytest.mark.parametrize("style", [Style(), _PLAIN])
def test_the_overview_fits_from_40_columns_on(style: Style) -> None:
    for width in range(1, 201):
        shown = overview(replace(style, width=width))
        assert max(map(len, shown.splitlines())) <= max(40, width)
        assert shown.split()[-4:] == ["Tab", "completes,", "Ctrl-D", "ends."]


def test_the_place_gives_way_first_and_its_end_stays() -> None:
    shown = line(_STOPPED, 80, Style())
    assert "…" in shown
    assert "scheduler.rs:207 · core 0 EL1" in shown
    assert line(_STOPPED, 91, Style()).startswith("stopped in reschedule scheduler.rs:207 · ")
    assert shown.endswith("High ██░░░░")


def test_while_it_runs_it_is_what_the_library_says(shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    seen = Lookout(shared_machine, _screen()).look()
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


def test_where_a_running_core_is_comes_from_qemu(shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    lookout = Lookout(shared_machine, _screen())
    assert shared_machine.gdb("output 1") == "1"  # GDB has told by now that it runs.
    runs = shared_machine.debugger.runs
    asyncio.run(lookout.peek())
    seen = lookout.look()
    assert (seen.core, seen.exception_level) == (0, 1)
    # Whatever it does: a function's name, with neither an offset nor what the compiler adds.
    assert re.match(r"<*(kernel|tinyos|core)::\w", seen.place)
    assert not re.search(r" \+ |::h[0-9a-f]{16}|\w\[[0-9a-f]{8}", seen.place)
    assert shared_machine.debugger.runs == runs  # It was not stopped for that.
    shared_machine.shell("go")


def test_events_a_second_are_counted_between_two_looks(shared_machine: TinyOS) -> None:
    lookout = Lookout(shared_machine, _screen())
    assert lookout.look().event_rate is None
    shared_machine.shell("spawn worker")
    rate = lookout.look().event_rate
    assert rate is not None
    assert rate > 0


def test_stopped_it_follows_the_core_and_frame_selected_in_gdb(shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    lookout = Lookout(shared_machine, _screen())
    with shared_machine.stopped() as gdb:
        gdb.execute("thread 1")
        first = lookout.look()
        assert (first.running, first.core, first.exception_level) == (False, 0, 1)
        assert first.place.split()[0] in gdb.execute("frame")
        gdb.execute("thread 2")
        second = lookout.look()
        assert (second.core, second.place) == (1, "secondary_parked")
        assert second.pressure == shared_machine.pressure().pressure.level
        gdb.execute("thread 1")
        gdb.execute("up")
        assert lookout.look().place not in (first.place, second.place)
    assert lookout.look().running
    shared_machine.shell("go")


def test_attached_it_says_what_the_last_stop_said(shared_machine: TinyOS) -> None:
    shared_machine.detach()
    with TinyOS.attach(shared_machine.address, shared_machine.kernel.path) as attached:
        lookout = Lookout(attached, _screen())
        stopped = lookout.look()
        assert stopped.core == 0
        assert stopped.pressure == attached.pressure().pressure.level
        attached.resume()
        running = lookout.look()
        assert (running.running, running.pressure) == (True, stopped.pressure)
        assert (running.task, running.core) == (None, None)
