"""`tinyos timeline`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style
    from gdbplugin.timeline.write import Timeline


def read(target: Target, file: str, *, seconds: int | None = None) -> Timeline:
    """Write what the kernel did as a trace for Perfetto, and return what was written."""
    from gdbplugin.commands.events import meaning
    from gdbplugin.machine import SelectionError
    from gdbplugin.timeline.write import write_timeline

    if seconds is not None:
        # A session does it by itself, without a stop.
        raise SelectionError(
            "--seconds needs tinyos-repl, or TinyOS.timeline: GDB reads a stopped target only"
        )
    return write_timeline(target, file, meaning)


def show(shown: Timeline, style: Style) -> str:
    """What was written."""
    counted = ((shown.slices, "slice"), (shown.events, "event"), (shown.counts, "count"))
    held = ", ".join(style.counted(count, word) for count, word in counted)
    tracks = style.counted(shown.tracks + shown.counters, "track")
    length = "" if shown.seconds is None else f"{style.duration(shown.seconds)}, "
    said = f"Wrote {shown.path}: {length}{held} on {tracks}. https://ui.perfetto.dev opens it"
    return style.sections(["\n".join(style.wrapped(said))], shown)


HELP = """Write what the kernel did to a file that https://ui.perfetto.dev shows as a timeline.

Each task has a track below its core, with the kernel's events about it. Free frames, the pressure level, lazy
pages and pages of stacks are counters. Runs of strategies are slices. If the session records
(`scripts/run --record`), so are the turns of the tasks and their faults, for all that the recording has, and
the counters have each change; else there are the events of the ring, and the counts at this stop.
With --seconds, at the prompt of tinyos-repl, the kernel is watched for so long, and runs on meanwhile.
"""
COMMAND = Command(
    "timeline",
    Form("tinyos.timeline/1", read, show),
    help=HELP,
    arguments=(Argument("FILE", "where to write it", "file", required=True),),
    options=(Option("--seconds", "watch the running kernel for so many seconds", "number", "N"),),
)
