"""The live view on a real machine, with keys from prompt_toolkit's pipe input."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from gdbplugin.kernel.interface import FailureRecord
from gdbplugin.repl.live import run_live
from gdbplugin.repl.live.application import LiveApplication
from gdbplugin.repl.live.drawing import text_of
from gdbplugin.repl.live.feed import Feed
from gdbplugin.repl.live.scene import Choices
from gdbplugin.session import EndedError, SessionError, TinyOS, WaitTimeoutError
from tests.repl.live_snapshots import NAMES, workload

_SECONDS = 20


class Terminal(io.StringIO):
    """The output of the application; its size may change."""

    def __init__(self) -> None:
        super().__init__()
        self.size = Size(24, 80)
        self.output = Vt100_Output(self, get_size=lambda: self.size, term="xterm-256color")


@contextmanager
def terminal() -> Iterator[tuple[PipeInput, Terminal]]:
    """Our own terminal as the current one of prompt_toolkit."""
    screen = Terminal()
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=screen.output):
        yield pipe, screen


def shows(text: str) -> Callable[[list[str]], bool]:
    """A check that some line contains `text`."""
    return lambda lines: any(text in line for line in lines)


class Person:
    """Looks at the live view, and presses keys."""

    def __init__(self, live: LiveApplication, pipe: PipeInput) -> None:
        self.live = live
        self._pipe = pipe

    @property
    def lines(self) -> list[str]:
        return [text_of(line) for line in self.live.lines(80, 24)]

    async def see(self, wanted: Callable[[list[str]], bool], what: str) -> list[str]:
        """Wait until `wanted` accepts the screen."""
        deadline = asyncio.get_running_loop().time() + _SECONDS
        while not wanted(self.lines):
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail("\n".join([f"never seen: {what}", *self.lines]))
            await asyncio.sleep(0.01)
        return self.lines

    async def press(self, keys: str, wanted: Callable[[list[str]], bool]) -> list[str]:
        """Press keys and wait for their effect on the screen."""
        self._pipe.send_text(keys)
        return await self.see(wanted, f"the effect of {keys!r}")


def shown_to(tinyos: TinyOS, act: Callable[[Person], object], view: str = "s") -> None:
    """Run the live view while `act` runs, and end it then."""

    async def run(pipe: PipeInput) -> None:
        with tinyos.watch() as watch:
            live = LiveApplication(tinyos, watch, view)
            acting = asyncio.create_task(act(Person(live, pipe)))  # type: ignore[arg-type]
            quitting = asyncio.create_task(live.run())
            done, _ = await asyncio.wait([acting, quitting], return_when=asyncio.FIRST_COMPLETED, timeout=60)
            live.quit()
            await quitting
            assert acting in done, "the live view ended before its time"
            await acting

    with terminal() as (pipe, _):
        asyncio.run(run(pipe))


def test_keys_switch_views_pause_and_stop_the_target(shared_machine: TinyOS) -> None:
    async def act(person: Person) -> None:
        await person.see(shows("total_lazy_pages"), "the statistics")
        for key, tab, seen in (
            ("d", "[d stacks]", "mapped"),
            ("l", "[l lazy]", "Lazy pages: 336 in 2 ranges"),
            ("p", "[p pressure]", "Available frames"),
            ("e", "[e events]", "since boot"),
            ("s", "[s stats]", "total_dynamic_stacks"),
        ):
            assert shows(seen)(await person.press(key, shows(tab)))

        await person.press(" ", lambda lines: "VIEW PAUSED; target running" in lines[-1])
        held = person.live.scene
        await person.press("d", lambda lines: "[d stacks]" in lines[0])
        assert person.live.scene.snapshot is held.snapshot
        await person.press(" ", lambda lines: "PAUSED" not in lines[-1])
        await person.see(lambda _: person.live.scene.snapshot is not held.snapshot, "a newer snapshot")

        await person.press("x", lambda lines: " stopped;" in lines[-1] and shows("Target core ")(lines[-4:]))
        assert not shared_machine.running
        seen = person.live.scene.snapshot
        assert seen.stats == shared_machine.stats().stats
        assert seen.stacks.stacks == tuple(shared_machine.stacks())
        await person.press("x", lambda lines: " running;" in lines[-1])
        assert shared_machine.running
        await person.press("?", shows("scroll; also PgUp"))
        await person.press("?", lambda lines: not any("scroll; also PgUp" in line for line in lines))

    shown_to(shared_machine, act)
    assert shared_machine.shell("uptime")


def test_keys_of_pool_map_and_event_stream(shared_machine: TinyOS) -> None:
    async def act(person: Person) -> None:
        await person.see(shows("Pool by use"), "the map")
        whole = next(line for line in person.lines if "Pool by use" in line)
        await person.press("o", shows("Pool by owner"))
        await person.press("o", lambda lines: whole in lines)
        await person.press("+", lambda lines: whole not in lines)
        await person.press("-", lambda lines: whole in lines)
        await person.press("m", lambda lines: "Pool by use" in lines[1])
        await person.press("m", lambda lines: "Pressure: " in lines[1])
        await person.press("e", lambda lines: "all kinds" in lines[1])
        await person.press("k", lambda lines: "only " in lines[1])
        await person.press("K", lambda lines: "all kinds" in lines[1])
        await person.press("kka", lambda lines: "all kinds" in lines[1])
        newest = person.lines[-3]
        await person.press("\x1b[5~", lambda lines: newest not in lines)  # page up
        await person.press("\x1b[F", lambda lines: newest in lines)  # end

    shared_machine.shell("hold")
    shown_to(shared_machine, act, "p")
    shared_machine.shell("go")


def test_killed_machine_is_reported_and_view_can_be_quit(machine: TinyOS) -> None:
    async def act(person: Person) -> None:
        await person.see(shows("total_lazy_pages"), "the statistics")
        os.kill(machine.qemu.pid, signal.SIGKILL)
        lines = await person.see(lambda lines: "session lost" in lines[-1], "that the machine is gone")
        assert "QEMU" in lines[-2]
        assert "SIGKILL" in lines[-2]
        assert any("total_dynamic_stacks" in line for line in lines)
        await person.press("d", lambda lines: "[d stacks]" in lines[0])
        await person.press("x", lambda lines: "session lost" in lines[-1])

    shown_to(machine, act)


def test_full_screen_is_written_and_q_quits(shared_machine: TinyOS) -> None:
    with terminal() as (pipe, screen):
        pipe.send_text("dq")
        run_live(shared_machine, "pressure")
    assert "[d stacks]" in screen.getvalue()
    assert "\x1b[?1049h" in screen.getvalue()
    assert screen.getvalue().rindex("\x1b[?1049l") > screen.getvalue().index("\x1b[?1049h")


@pytest.mark.parametrize("keys", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_quit_and_target_keeps_running(shared_machine: TinyOS, keys: str) -> None:
    with terminal() as (pipe, _):
        pipe.send_text(keys)
        run_live(shared_machine)
    assert shared_machine.running


def test_unknown_view_or_no_terminal_is_a_one_line_error(shared_machine: TinyOS) -> None:
    with (
        terminal(),
        pytest.raises(SessionError, match=r'^no view "nonsense" [(]known: s stats, d ') as caught,
    ):
        run_live(shared_machine, "nonsense")
    assert "\n" not in str(caught.value)
    with pytest.raises(SessionError, match="live needs a whole terminal"):
        run_live(shared_machine)


def test_attached_session_without_mapped_ram_is_refused(machine: TinyOS) -> None:
    with (
        TinyOS.attach(machine.qemu.gdb_address, machine.kernel.path) as attached,
        terminal() as (_, screen),
        pytest.raises(SessionError, match="mapped RAM") as caught,
    ):
        run_live(attached)
    assert "\n" not in str(caught.value)
    assert screen.getvalue() == ""


class _Watch:
    """Returns the given answers in order, or raises them."""

    event_names = NAMES

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)

    def snapshot(self, timeout: float, *, lazy: bool) -> object:
        del timeout, lazy
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _session(**state: object) -> TinyOS:
    return SimpleNamespace(**{"running": True, "ended": None, "last_stop": None, **state})  # type: ignore[return-value]


def test_torn_snapshot_keeps_the_last_one_and_says_why() -> None:
    torn = WaitTimeoutError("waited 0.2 s for a whole snapshot", "evidence\nof many lines")
    feed = Feed(_session(), _Watch(workload(0), torn, workload(1)), Choices())  # type: ignore[arg-type]
    assert feed.scene is None
    feed.look()
    shown = feed.scene.snapshot
    feed.look()
    assert feed.scene.snapshot is shown
    assert feed.state().messages == ("waited 0.2 s for a whole snapshot",)
    feed.look()
    assert feed.scene.snapshot is not shown
    assert feed.state().messages == ()


def test_failed_kernel_is_reported() -> None:
    record = FailureRecord(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, "asked\nfor it")
    feed = Feed(_session(), _Watch(replace(workload(), failure=record)), Choices())  # type: ignore[arg-type]
    feed.look()
    assert feed.state().messages == ("The kernel has failed: panic on core 0: asked for it",)


def test_killed_gdb_is_reported_and_machine_still_watched() -> None:
    gone = EndedError("GDB was killed by SIGKILL")
    feed = Feed(_session(ended=gone), _Watch(workload(0), workload(1)), Choices())  # type: ignore[arg-type]
    feed.look()
    shown = feed.scene.snapshot
    feed.look()
    assert feed.scene.snapshot is not shown
    assert feed.state().messages == ("GDB was killed by SIGKILL",)
    assert not feed.is_lost


def test_error_in_refresh_loop_is_raised(shared_machine: TinyOS) -> None:
    async def act(person: Person) -> None:
        await person.see(shows("total_lazy_pages"), "the statistics")

        def fail() -> None:
            raise ZeroDivisionError

        person.live._feed.look = fail  # type: ignore[method-assign]
        await asyncio.sleep(_SECONDS)

    with pytest.raises(ZeroDivisionError):
        shown_to(shared_machine, act)
