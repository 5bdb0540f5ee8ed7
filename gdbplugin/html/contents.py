"""What a page is made from: the objects that the commands show, all of one stop."""

from __future__ import annotations

from datetime import datetime

from gdbplugin.commands import events
from gdbplugin.kernel.backtrace import Backtraces, read_backtraces
from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.check_state import Check
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.diff_rows import Difference
from gdbplugin.kernel.interface import FailureRecord, read_failure
from gdbplugin.kernel.pressure import FrameTable, read_frame_table
from gdbplugin.kernel.snapshot import Report, read_report
from gdbplugin.kernel.task_list import TaskList, read_task_list
from gdbplugin.machine import MachineError, MachineGoneError
from gdbplugin.moments import read_difference
from gdbplugin.recording.travel import read_checkpoints
from gdbplugin.records import NamedTuple, dataclass
from gdbplugin.timeline.trace import Trace
from gdbplugin.timeline.write import read_told, trace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import TypeVar

    from gdbplugin.kernel.moment import Moment
    from gdbplugin.kernel.target import Target

    _Object = TypeVar("_Object")
    Since = str | os.PathLike[str] | Moment


NOTHING = "none"
"""The moment for no difference: then the machine goes to no checkpoint, and does not replay the way back."""


class Past(NamedTuple):
    """What the kernel did before the stop."""

    trace: Trace
    now: int | None
    """The time of the stop."""
    is_recorded: bool
    """Whether a recording tells it, and not the event ring alone."""


@dataclass(frozen=True)
class Contents(Diagnosed):
    """Everything on a page. A part that could not be read is None, and `problems` says why."""

    source: str
    """What was read, in words."""
    kernel: str | None
    """The path of the kernel's file; None if that is not known."""
    build_id: str | None
    """The build-id of the kernel, in hexadecimal digits; None if it has none."""
    date: datetime
    """When it was read."""
    problems: dict[str, str]
    """Why a part is missing, by the part."""
    failure: FailureRecord | None = None
    report: Report | None = None
    check: Check | None = None
    tasks: TaskList | None = None
    backtraces: Backtraces | None = None
    frame_table: FrameTable | None = None
    past: Past | None = None
    difference: Difference | None = None


def read_contents(target: Target, source: str, since: Since | None = None) -> Contents:
    """Read everything from a stopped machine.

    The difference is that from the moment `since`, by default from the last checkpoint; `NOTHING` for none.
    Raises a `MachineError` if TinyOS is not what runs, or has not set up its memory yet, or if the moment
    `since` cannot be read. Nothing else that cannot be read keeps the rest away.
    """
    kernel, problems = target.required_kernel(), dict[str, str]()

    def attempt(part: str, read: Callable[[], _Object]) -> _Object | None:
        try:
            return read()
        except MachineGoneError:
            raise
        except MachineError as error:
            problems[part] = str(error)
            return None

    program = attempt("program", target.program)
    image = None if program is None else program[0]
    return Contents(
        source=source,
        kernel=None if image is None else str(image.path),
        build_id=None if image is None or image.build_id is None else image.build_id.hex(),
        date=datetime.now().astimezone(),
        problems=problems,
        failure=attempt("failure", lambda: read_failure(kernel)),
        report=attempt("report", lambda: read_report(kernel)),
        check=attempt("check", lambda: read_check(kernel, target.symbols)),
        tasks=attempt("tasks", lambda: read_task_list(target, None)),
        backtraces=attempt("backtraces", lambda: read_backtraces(target, every=True)),
        frame_table=attempt("pool", lambda: read_frame_table(kernel)),
        past=attempt("timeline", lambda: _read_past(target)),
        # Last, as the machine may go to another moment for it, and come back.
        difference=attempt("difference", lambda: _since_checkpoint(target, since))
        if since in (None, NOTHING)
        else read_difference(target, since, None),
        diagnostics=target.diagnostics,
    )


def _read_past(target: Target) -> Past:
    told = read_told(target)
    trace = trace_of(told, events.meaning, target.diagnostics)
    return Past(trace, told.clock.now, "recording" in told.sources)


def _since_checkpoint(target: Target, since: Since | None) -> Difference:
    """What changed since the last checkpoint; raises `MachineError` if there is none, or none is wanted."""
    if since == NOTHING:
        raise MachineError("no moment to compare with was wanted")
    try:
        checkpoints = read_checkpoints(target).checkpoints
    except MachineError as error:
        raise MachineError(f"there is no moment to compare with: {error}; --since names one") from error
    if not checkpoints:
        raise MachineError("there is no moment to compare with: the recording has no checkpoint yet")
    return read_difference(target, checkpoints[-1].id, None)
