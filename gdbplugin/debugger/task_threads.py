"""`tinyos threads`: each task as an inferior of GDB with one thread, from a core in memory of this stop.

GDB's Python cannot make threads, but a core file has some. So each task becomes a core, in an anonymous file,
and an inferior beside the live one shows it. At each stop of the live target they are made anew. The live
target is only read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import gdb

from gdbplugin.debugger import current, dap
from gdbplugin.debugger.dumps import escaped, open_core, ram
from gdbplugin.debugger.guards import fitted, sigint_deferred
from gdbplugin.dump.core_file import write_core
from gdbplugin.dump.task_cores import (
    UNBUFFERED,
    KnownSpaces,
    TaskCore,
    TaskThread,
    TaskThreads,
    read_task_cores,
)
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _View:
    """An inferior that shows a task."""

    def __init__(self, program: str) -> None:
        known = {one.num for one in gdb.inferiors()}
        gdb.execute("add-inferior -no-connection", to_string=True)
        self.inferior = next(one for one in gdb.inferiors() if one.num not in known)
        self.core: TaskCore | None = None
        self._file = -1
        self._select()
        gdb.execute(f"file {escaped(program)}", to_string=True)

    def show(self, core: TaskCore) -> bool:
        """Show a task as it is now. Returns whether `flush` must follow, for what GDB has read of it."""
        if core == self.core:
            return False
        if self.core is not None and core.contents.segments == self.core.contents.segments:
            # The same places of the file have other bytes: opening a core takes GDB much longer.
            with os.fdopen(os.dup(self._file), "r+b") as output:
                output.seek(0)
                output.truncate()
                write_core(output, core.contents, core.memory)
            self._select()
            self.inferior.read_memory(UNBUFFERED, 1)
            self._take(core)
            return True
        file = os.memfd_create(f"task {core.task}")
        with os.fdopen(os.dup(file), "wb") as output:
            write_core(output, core.contents, core.memory)
        self._select()
        open_core(f"/proc/self/fd/{file}")
        self._close()
        self._file = file
        self._take(core)
        return False

    def _take(self, core: TaskCore) -> None:
        self.core = core
        thread = gdb.selected_thread()
        name = f"task {core.task} {core.name}"
        if thread is not None and thread.name != name:
            thread.name = name

    def remove(self) -> None:
        """Remove the inferior, which is not the selected one afterwards."""
        # GDB cannot select an inferior whose thread is gone (`disconnect` ends those of all), so that stays.
        with contextlib.suppress(gdb.error):
            if self.inferior.is_valid():
                self._select()
                gdb.execute("core-file", to_string=True)
                number = self.inferior.num
                _select(_views.live)
                gdb.execute(f"remove-inferiors {number}", to_string=True)
        self._close()

    def _select(self) -> None:
        _select(self.inferior)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self.core = -1, None


class _Views:
    """The inferiors that show tasks, and the live one whose tasks they show."""

    def __init__(self) -> None:
        self.live: gdb.Inferior | None = None
        """The inferior whose tasks are shown; None while none are."""
        self._views: list[_View] = []
        self._known = KnownSpaces()
        self._changing = self._is_connected = False

    @property
    def is_on(self) -> bool:
        """Whether tasks are shown."""
        return self.live is not None

    @property
    def threads(self) -> tuple[TaskThread, ...]:
        """What is shown."""
        shown = ((view.inferior.num, view.core) for view in self._views if view.inferior.is_valid())
        return tuple(TaskThread(number, core.task, core.name) for number, core in shown if core is not None)

    def is_of_task(self, inferior: gdb.Inferior) -> bool:
        """Whether an inferior shows a task."""
        return any(view.inferior == inferior for view in self._views)

    def start(self) -> None:
        """Show the tasks of the selected inferior's target, now and at each stop."""
        if self.is_on:
            return
        if current.is_dump():
            raise MachineError("the target is a dump, whose tasks are threads already: `info threads`")
        current.machine()  # Raises an error if nothing is stopped.
        self.live = gdb.selected_inferior()
        try:
            self._refresh()
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise MachineError(f"the tasks cannot be shown as threads: {error.strerror}") from error
            raise
        for command in ("disconnect", "detach", "kill"):
            current.hook(f"hook-{command}", __name__, "leaving")
        gdb.events.stop.connect(self._stopped)
        gdb.events.inferior_deleted.connect(self._gone)
        gdb.events.exited.connect(self._gone)
        if hasattr(gdb.events, "gdb_exiting"):
            gdb.events.gdb_exiting.connect(self._ignore)
        self._is_connected = True

    def stop(self) -> None:
        """Show them no longer."""
        if not self.is_on:
            return
        self._ignore()
        with self._change():
            self._remove(self._views)
        self._views, self.live = [], None
        self._known = KnownSpaces()

    def _ignore(self, event: Any = None) -> None:
        """Connect to no event any more. Called by GDB when it exits: an event posted then makes it crash."""
        del event
        if not self._is_connected:
            return
        self._is_connected = False
        gdb.events.stop.disconnect(self._stopped)
        gdb.events.inferior_deleted.disconnect(self._gone)
        gdb.events.exited.disconnect(self._gone)
        if hasattr(gdb.events, "gdb_exiting"):
            gdb.events.gdb_exiting.disconnect(self._ignore)

    def _stopped(self, event: Any) -> None:
        """Called by GDB at each stop."""
        del event
        self.refresh()

    def refresh(self) -> None:
        """Show the tasks as they are now, if they are shown."""
        if self._changing or self.live is None:
            return
        try:
            self._refresh()
        except (MachineError, LayoutError, gdb.error, OSError) as error:
            gdb.write(fitted(f"tinyos: the tasks cannot be shown as threads: {error}\n"), gdb.STDERR)

    def _gone(self, event: Any) -> None:
        """Called by GDB when an inferior is gone. Inferiors cannot be removed in the middle of that."""
        if not self._changing and self.live is not None and event.inferior == self.live:
            gdb.post_event(self.stop)

    def _refresh(self) -> None:
        with live_selected():
            machine = current.machine()
            cores = read_task_cores(current.kernel(Diagnostics()), ram(machine), self._known)
        with self._change():
            self._views = [view for view in self._views if view.inferior.is_valid()]
            shown = {view.core.task: view for view in self._views if view.core is not None}
            fitting = {core.task: shown.pop(core.task) for core in cores if core.task in shown}
            spare = [view for view in self._views if view not in fitting.values()]
            stale = False
            for core in cores:
                view = fitting.get(core.task) or (spare.pop() if spare else self._add())
                stale |= view.show(core)
            self._remove(spare)
            if stale:
                for cache in ("register-cache", "dcache"):
                    gdb.execute(f"maintenance flush {cache}", to_string=True)

    def _add(self) -> _View:
        view = _View(str(self.live.progspace.filename) if self.live is not None else "")
        self._views.append(view)
        return view

    def _remove(self, views: list[_View]) -> None:
        for view in list(views):
            view.remove()
        self._views = [view for view in self._views if view not in views]

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Keep the user's selection, and what commands have read, through a change of the views."""
        self._changing = True
        try:
            with sigint_deferred(), current.kept(), dap.unaware(), _selection_kept():
                yield
        finally:
            self._changing = False


@contextlib.contextmanager
def _selection_kept() -> Iterator[None]:
    """Select the user's inferior, thread and frame again at the end of a `with`, without a word.

    A task's thread that was made anew is found by its inferior.
    """
    inferior, thread = gdb.selected_inferior(), gdb.selected_thread()
    try:
        frame = gdb.selected_frame()
    except gdb.error:
        frame = None  # Nothing is stopped.
    with gdb.with_parameter("suppress-cli-notifications", True):
        try:
            yield
        finally:
            _select(inferior)
            if thread is not None and thread.is_valid() and gdb.selected_thread() != thread:
                thread.switch()
            if frame is not None and frame.is_valid():
                frame.select()


def _select(inferior: gdb.Inferior | None) -> None:
    """Select an inferior. By its thread if it has one: GDB/MI reports each `inferior N` as the user's."""
    if inferior is None or not inferior.is_valid() or inferior == gdb.selected_inferior():
        return
    threads = inferior.threads()
    if threads:
        min(threads, key=lambda thread: thread.num).switch()
    else:
        gdb.execute(f"inferior {inferior.num}", to_string=True)


_views = _Views()


def switch(wanted: bool | None) -> TaskThreads:
    """Show tasks as threads, or no longer; None leaves it. Raises a `MachineError` if it is not possible."""
    if wanted:
        _views.start()
    elif wanted is not None:
        _views.stop()
    return TaskThreads(_views.is_on, _views.threads, diagnostics=Diagnostics())


def moved() -> None:
    """Show the tasks as they are now: the machine is at another moment."""
    _views.refresh()


def leaving() -> None:
    """Called by GDB before a command that ends the target. `disconnect` ends the threads of all inferiors."""
    if gdb.selected_inferior() == _views.live:
        _views.stop()


@contextlib.contextmanager
def live_selected() -> Iterator[None]:
    """Select the live inferior for the length of a `with`, if that of a task is selected."""
    if not _views.is_of_task(gdb.selected_inferior()):
        yield
        return
    with _selection_kept():
        _select(_views.live)
        yield
