"""`break_on("translation")` and `during` over the real kernel: every change is seen where it is made."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gdbplugin.aarch64.instructions import memory_operation
from gdbplugin.kernel.translation_watch import TranslationChange
from gdbplugin.pytest_plugin import Boot
from gdbplugin.session import SessionError, TinyOS, WaitTimeoutError
from gdbplugin.session.errors import CommandFailedError
from gdbplugin.session.translation_breakpoint import TranslationBreakpoint

SECONDS = 30.0


@pytest.fixture(scope="module")
def tinyos(tinyos_kernel: Path) -> Iterator[TinyOS]:
    with TinyOS.boot(tinyos_kernel) as session:
        yield session


def lowest_stack_page(tinyos: TinyOS, asid: int) -> int:
    """The first page of a task's stack, which is returned and comes back in the stress test."""
    return min(one.start for one in tinyos.maps(asid=asid, owner="stack") if one.task is not None)


def word_at(tinyos: TinyOS, physical: int) -> int:
    """A word of memory as QEMU's monitor shows it."""
    return int(tinyos.gdb(f"monitor xp /1gx {physical:#x}").split()[-1], 16)


def require_store(tinyos: TinyOS, pc: int) -> None:
    """Fail unless the instruction stores a word."""
    word = int(tinyos.gdb(f"x/1wx {pc:#x}").split()[-1], 16)
    operation = memory_operation(word)
    assert operation is not None
    assert (operation.writes, operation.size) == (True, 8)


def test_each_change_stops_at_the_store_that_made_it(tinyos: TinyOS) -> None:
    tinyos.resume()
    address = lowest_stack_page(tinyos, 2)
    with tinyos.stopped():
        first = tinyos.translate(address, asid=2)
    with tinyos.break_on("translation", address=address, asid=2) as watched:
        tinyos.console.send("*t\r")
        gone = watched.wait(SECONDS)
        assert isinstance(gone, TranslationChange)
        assert gone.address == address
        assert gone.before.startswith(f"{first.output:#x}, EL0 rw-, EL1 rw-")
        assert gone.after == "translation fault at level 3"
        assert tinyos.translate(address, asid=2).output is None
        check(tinyos, gone)
        back = watched.wait(SECONDS)
        assert isinstance(back, TranslationChange)
        assert back.before == "translation fault at level 3"
        assert back.after.startswith(f"{tinyos.translate(address, asid=2).output:#x}, ")
        check(tinyos, back)
        assert watched.numbers == ("1",)
    assert watched.numbers == ()
    assert "No translation is watched" in tinyos.gdb("tinyos watch")
    assert tinyos.gdb("maintenance info breakpoints").startswith("No breakpoints")


def check(tinyos: TinyOS, change: TranslationChange) -> None:
    """The descriptor is what is in memory now, and the writer is the store before where the core stands."""
    (one,) = change.descriptors
    assert one.after == word_at(tinyos, one.address)
    assert change.writer is not None
    assert change.writer.core == 0
    tinyos.gdb("thread 1")
    assert int(tinyos.gdb("output/x $pc"), 16) == change.writer.pc + 4
    require_store(tinyos, change.writer.pc)
    assert change.writer.function == "tinyos::hardware::write_descriptor"
    assert (change.writer.file or "").endswith("src/hardware.rs")


def test_any_page_that_gets_permissions_stops(tinyos: TinyOS) -> None:
    tinyos.interrupt()
    change = tinyos.run_until("translation", any="el0:rw-", asid=2, timeout=SECONDS)
    assert isinstance(change, TranslationChange)
    assert "EL0 rw-" not in change.before
    assert "EL0 rw-" in change.after
    found = tinyos.translate(change.address, asid=2)
    assert found.attributes is not None
    assert found.attributes.el0 == "rw-"
    (one,) = change.descriptors
    assert one.after == word_at(tinyos, one.address)


def test_what_does_not_change_is_waited_for_in_vain(tinyos: TinyOS) -> None:
    tinyos.interrupt()
    with pytest.raises(WaitTimeoutError, match="a change of the translation of 0xffff800000080000"):
        tinyos.run_until("translation", address=0xFFFF_8000_0008_0000, timeout=0.3)
    assert not tinyos.running


def test_wrong_words_are_one_line(tinyos: TinyOS) -> None:
    with pytest.raises(SessionError, match="translation takes no stack; it takes: address, any"):
        tinyos.break_on("translation", stack=3)
    with pytest.raises(CommandFailedError, match="give either an ADDRESS or --any"):
        tinyos.break_on("translation")


def test_during_a_change_shows_it_with_its_events(tinyos: TinyOS) -> None:
    tinyos.interrupt()
    tinyos.run_until("stack-growth", timeout=SECONDS)
    found = tinyos.during("tbreak shell_interrupted")
    assert (found.error, list(found.difference)) == (None, [])
    assert "Temporary breakpoint" in found.output
    found = tinyos.during("continue")
    assert found.error is None
    assert "shell_interrupted" in found.output
    assert found.difference is not None
    assert found.events is not None
    assert found.difference.event_count == len(found.events) + found.difference.lost_events
    numbers = [event.sequence for event in found.events]
    assert numbers == sorted(numbers)
    assert not tinyos.running
    held = tinyos.during("continue", timeout=0.5)
    assert held.error == "waited 0.5 s for the target to stop"
    assert held.events is not None
    assert not tinyos.running
    failed = tinyos.during("nonsense")
    assert failed.error is not None
    assert failed.error.startswith('Undefined command: "nonsense"')


def test_a_stop_in_a_task_can_be_watched_from(tinyos: TinyOS) -> None:
    tinyos.resume()
    tinyos.console.send("faults 2000000\r")
    for _ in range(200):
        with tinyos.stopped():
            tinyos.gdb("thread 1")
            if int(tinyos.gdb("python print(int(gdb.parse_and_eval('$cpsr')) >> 2 & 3)")) == 0:
                address = lowest_stack_page(tinyos, 2)
                with tinyos.break_on("translation", address=address, asid=2) as watched:
                    assert watched.wait(SECONDS).writer is not None
                return
    pytest.fail("no stop in 200 was at EL0")


def test_a_recorded_machine_names_the_history_instead(boot_tinyos: Boot) -> None:
    with boot_tinyos(record=True).stopped() as gdb, pytest.raises(CommandFailedError) as raised:
        gdb.execute("tinyos watch translation 0xffff800000080000")
    assert (
        "a recorded machine hangs at hardware watchpoints: `tinyos history --page ADDRESS`"
        in raised.value.reason
    )


class Watching:
    """Stands for a connection to a GDB that makes and deletes one watch, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.interrupted = False
        self.fails = False

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Watching]:
        if self.fails:
            raise SessionError("the target does not stop")
        yield self

    def mi(self, command: str) -> SimpleNamespace:
        self.asked.append(command.replace('"', ""))
        if self.interrupted:
            os.kill(os.getpid(), signal.SIGINT)
        answer = {"new": 1, "watches": [{"number": 1, "title": "a translation"}]}
        return SimpleNamespace(payload={"json": json.dumps(answer)})


def test_a_watch_that_could_not_be_deleted_is_deleted_later() -> None:
    connection = Watching()
    watched = TranslationBreakpoint(connection, ["translation", "1"])
    connection.fails = True
    with pytest.raises(SessionError, match="the target does not stop"):
        watched.delete()
    assert watched.numbers == ("1",)
    connection.fails = False
    watched.delete()
    watched.delete()
    assert watched.numbers == ()
    assert connection.asked == ["-tinyos-watch translation 1", "-tinyos-watch --delete 1"]


def test_a_signal_while_a_watch_is_made_leaves_none() -> None:
    connection = Watching()
    connection.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        TranslationBreakpoint(connection, ["translation", "1"])
    assert connection.asked == ["-tinyos-watch translation 1", "-tinyos-watch --delete 1"]


def test_a_signal_while_a_watch_is_deleted_comes_after_that() -> None:
    connection = Watching()
    watched = TranslationBreakpoint(connection, ["translation", "1"])
    connection.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        watched.delete()
    assert watched.numbers == ()
