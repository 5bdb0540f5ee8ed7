"""Stopping at kernel events: the event happens, and no breakpoint stays after the wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbplugin.kernel.events import Event
from gdbplugin.kernel.spaces import AddressSpace
from gdbplugin.session import QemuOptions, SessionError, TinyOS, WaitTimeoutError
from gdbplugin.session.breakpoints import EVENT_TYPES
from tests.debugger.stub_proxy import StubProxy

LAZY_PAGES = (0x2000_0000_0000, 0x3000_0000_0000)
PAGE = 4096
SECONDS = 30.0


@pytest.fixture
def tinyos(shared_machine: TinyOS) -> Iterator[TinyOS]:
    """A machine that runs before and after, without breakpoints."""
    yield shared_machine
    with shared_machine.stopped() as gdb:
        assert gdb.execute("info breakpoints").startswith("No breakpoints")
    shared_machine.resume()


def run_until(tinyos: TinyOS, typed: str, what: str, **words: object) -> Event:
    """The event after a command is typed: the kernel carries it out once the target runs."""
    tinyos.interrupt()
    tinyos.console.send(f"{typed}\r")
    event = tinyos.run_until(what, timeout=SECONDS, **words)
    assert isinstance(event, Event)
    assert not tinyos.running
    # It stopped after the change: the records agree with the tables.
    assert event in tinyos.events(100).events
    found = tinyos.check()
    assert (found.changing, found.findings) == (False, [])
    return event


def free_stack(tinyos: TinyOS) -> int:
    """The ID that the next stack will have."""
    return min(stack.id for stack in tinyos.stacks() if not stack.is_active and stack.id is not None)


def test_growth_of_one_stack_is_returned(tinyos: TinyOS) -> None:
    number = free_stack(tinyos)
    event = run_until(tinyos, "spawn worker", "stack-growth", stack=number)
    (stack,) = tinyos.stacks(number)
    assert (event.kind, event.first, event.second) == ("StackGrowth", number, stack.last_growth_pages)
    assert stack.last_growth_time is not None
    assert event.timestamp is not None
    assert stack.last_growth_time <= event.timestamp
    before = stack.growth_count
    again = tinyos.run_until("stack-growth", stack=number, timeout=SECONDS)
    assert isinstance(again, Event)
    assert again.first == number
    assert tinyos.stacks(number).stacks.stacks[0].growth_count == (before or 0) + 1


def test_shrinking_of_any_stack_is_returned(tinyos: TinyOS) -> None:
    event = run_until(tinyos, "run relief", "stack-shrink")
    assert event.first is not None
    (stack,) = tinyos.stacks(event.first)
    assert event.kind == "StackShrink"
    assert stack.shrink_count
    assert event.second is not None
    assert (stack.pages_returned or 0) >= event.second > 0


def test_a_lazy_fault_in_a_range_or_page_is_returned(tinyos: TinyOS) -> None:
    event = run_until(tinyos, "spawn lazy 64", "lazy-fault", range=LAZY_PAGES)
    assert event.first is not None
    (page,) = tinyos.lazy(event.first)
    assert {"LazyZero": page.is_zero_page, "LazyAllocate": page.is_allocated}[event.kind or ""]
    assert page.physical_address == event.second
    detail = tinyos.lazy(event.first).page
    assert detail is not None
    assert detail.range is not None
    # Of every six pages of a range, the program leaves two untouched, reads two and writes two.
    wanted = event.first - event.first % PAGE + (5 - (detail.record - (detail.range.first or 0)) % 6) * PAGE
    later = tinyos.run_until("lazy-fault", address=wanted + 8, timeout=SECONDS)
    assert isinstance(later, Event)
    assert later.first is not None
    assert wanted <= later.first < wanted + PAGE


def test_a_pressure_level_and_its_end_are_returned(tinyos: TinyOS) -> None:
    tinyos.shell("pool 8")
    event = run_until(tinyos, "spawn hog 4096", "pressure", level="critical")
    assert event.second == 3
    assert tinyos.pressure().pressure.level == "Critical"
    assert run_until(tinyos, "pool all", "pressure", level="Low").second == 0
    assert tinyos.pressure().pressure.level == "Low"


def test_a_switch_returns_the_new_address_space(tinyos: TinyOS) -> None:
    with tinyos.stopped():
        spaces = {space.asid: space for space in tinyos.context().spaces.spaces if space.number}
    asid, space = next(iter(spaces.items()))
    found = tinyos.run_until("switch", asid=asid, timeout=SECONDS)
    assert isinstance(found, AddressSpace)
    assert (found.number, found.asid, found.table) == (space.number, asid, space.table)
    core = tinyos.context().cores[0]
    assert core.ttbr0 is not None
    assert (core.ttbr0.asid, core.ttbr0.base) == (asid, space.table)
    other = tinyos.run_until("switch", task=0, timeout=SECONDS)
    assert isinstance(other, AddressSpace)
    assert other.number == 0
    assert tinyos.context().spaces.current == 0


def test_the_end_of_a_task_is_returned(tinyos: TinyOS) -> None:
    tinyos.shell("spawn worker")
    task = max(task.id or 0 for task in tinyos.context().tasks or () if task.state != "Ended")
    event = run_until(tinyos, f"kill {task}", "task-ended", task=task)
    assert (event.kind, event.first) == ("TaskEnded", task)
    assert all(stack.owner != task or not stack.is_active for stack in tinyos.stacks())


def test_an_event_that_does_not_happen_times_out(tinyos: TinyOS) -> None:
    for before in (True, False):
        (tinyos.resume if before else tinyos.interrupt)()
        with pytest.raises(WaitTimeoutError) as caught:
            tinyos.run_until("task-ended", task=4711, timeout=0.3)
        assert caught.value.message == "waited 0.3 s for task 4711 to end"
        assert tinyos.running is before


def test_a_breakpoint_leaves_the_kernel_running(tinyos: TinyOS) -> None:
    with tinyos.break_on("task-ended", task=4711):
        assert tinyos.running


def test_a_breakpoint_works_until_it_is_deleted(tinyos: TinyOS) -> None:
    with tinyos.break_on("switch", task=0) as breakpoint_:
        counts = []
        for _ in range(3):
            breakpoint_.wait(SECONDS)
            counts.append(tinyos.context().spaces.of(0).switch_count)  # type: ignore[union-attr]
        assert counts == [counts[0], counts[0] + 1, counts[0] + 2]  # type: ignore[operator]
        assert len(breakpoint_.numbers) == tinyos.gdb("info breakpoints").count("stop only if")
        breakpoint_.delete()
        breakpoint_.delete()
        assert breakpoint_.numbers == ()


def test_a_stop_before_the_wait_counts(tinyos: TinyOS) -> None:
    with tinyos.break_on("switch") as breakpoint_:
        tinyos.pump.wait(lambda: not tinyos.debugger._running, SECONDS, "the target to stop")
        switches = tinyos.context().spaces.switch_count
        space = breakpoint_.wait(SECONDS)
        assert isinstance(space, AddressSpace)
        assert tinyos.context().spaces.switch_count == switches


def test_an_exception_deletes_the_breakpoint(tinyos: TinyOS) -> None:
    def fail() -> None:
        with tinyos.break_on("stack-growth"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert tinyos.running


def test_another_stop_is_named_in_the_error(tinyos: TinyOS) -> None:
    with tinyos.stopped() as gdb:
        gdb.execute("tbreak shell_interrupted")
        with pytest.raises(SessionError, match=r"\(breakpoint-hit in .*shell_interrupted\) while"):
            tinyos.run_until("task-ended", task=4711, timeout=SECONDS)
        assert tinyos.last_stop is not None
        assert "shell_interrupted" in tinyos.last_stop.frame["func"]


def test_any_language_in_gdb_works(tinyos: TinyOS) -> None:
    tinyos.gdb("set language c")
    assert isinstance(tinyos.run_until("switch", task=0, timeout=SECONDS), AddressSpace)
    tinyos.gdb("set language auto")


@pytest.mark.parametrize(
    ("what", "words", "said"),
    [
        ("growth", {}, f'no event "growth" to wait for (known: {", ".join(EVENT_TYPES)}, translation)'),
        ("pressure", {"stack": 3}, "pressure takes no stack; it takes: level"),
        ("pressure", {"level": "x"}, 'no pressure level "x" (known: Low, Medium, High, Critical)'),
        ("switch", {"asid": 1, "task": 1}, "switch takes one of: asid, task; asid and task were given"),
        ("lazy-fault", {"range": (8, 8)}, "empty range 0x8..0x8: END must be greater than START"),
        ("lazy-fault", {"range": 8}, "range must be (START, END), END exclusive, not 8"),
        ("stack-growth", {"stack": "3"}, "stack must be an integer, not '3'"),
    ],
)
def test_wrong_words_are_one_clear_error(
    tinyos: TinyOS, what: str, words: dict[str, object], said: str
) -> None:
    with pytest.raises(SessionError) as caught:
        tinyos.break_on(what, **words)  # type: ignore[arg-type]
    assert said in caught.value.message
    assert tinyos.running


def test_other_events_do_not_stop_the_target(kernel_elf: Path, tmp_path: Path) -> None:
    with (
        TinyOS.boot(kernel_elf, options=QemuOptions(kernel=kernel_elf, share_ram=False)) as booted,
        StubProxy(tmp_path, booted.address) as proxy,
        TinyOS.attach(proxy.address, kernel_elf) as tinyos,
    ):
        before = tinyos.events(1).recorded or 0
        booted.console.send("spawn lazy 900\rspawn checker\r")
        with tinyos.break_on("task-ended", task=4711) as breakpoint_:
            proxy.packets.clear()
            with pytest.raises(WaitTimeoutError):
                breakpoint_.wait(2)
            sent = len(proxy.packets)
        happened = (tinyos.events(1).recorded or 0) - before
        tinyos.resume()
    # Resuming and stopping take some packets; the other events take none.
    assert happened > 100
    assert sent < 60
