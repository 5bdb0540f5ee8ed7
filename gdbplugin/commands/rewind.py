"""`tinyos rewind`, and what it shares with `tinyos back`."""

from __future__ import annotations

from gdbplugin.commands.checkpoints import offered_names
from gdbplugin.commands.descriptor import Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.travel import Journey
    from gdbplugin.render import Style


def read(
    target: Target,
    moment: str | int | None = None,
    *,
    before: str | None = None,
    to: int | None = None,
    write: Address | None = None,
    end: bool = False,
) -> Journey:
    """Bring the machine to a moment of the recorded past. Returns where it is then."""
    from gdbplugin.recording.travel import rewind

    return rewind(target, moment, before=before, to=to, write=write, end=end)


def show(shown: Journey, style: Style) -> str:
    """Where the machine is now."""
    what = f" ({shown.what})" if shown.what else ""
    lines = style.wrapped(f"Instructions: {shown.before:,} -> {style.title(f'{shown.instructions:,}')}{what}")
    if shown.pc is not None:
        function = shown.function or "?"
        lines += style.wrapped(f"next: {shown.pc:#x} {function}{style.source(shown.file, shown.line)}")
    ahead = shown.end - shown.instructions
    if shown.is_past and ahead:
        lines += style.wrapped(
            "This is the past: `tinyos rewind --end` goes on to the latest moment, "
            f"{style.counted(ahead, 'instruction')} later. If the machine runs on by itself from here, "
            "they are forgotten."
        )
    return style.sections(["\n".join(lines)], shown)


HELP = """Bring the machine back to a moment that is recorded: it then is there, and every command works.

The moment is an event's number, a checkpoint (its name, or c1, c2, ...), or one of the options'. For an event
it is before the kernel began the change in which it recorded the event. The recorder loads the last
checkpoint before the moment, and runs the machine again to that very instruction; what was typed at the
console comes again when it came. A replay that is not what was recorded is a finding. Ctrl-C ends it on the
way.

If the machine then runs on, another future begins, and what was recorded after the moment is forgotten.
--before takes an event as `run_until` does: "stack-growth stack=3", "lazy-fault address=0x200000000000",
"pressure", "task-ended task=4"; or a kind as `tinyos events` shows it. The words stack, asid, task, core and
address say which; of those that fit it is the last. The session must record, which `scripts/run --record`
begins.
"""
COMMAND = Command(
    "rewind",
    Form("tinyos.rewind/1", read, show, runs_target=True),
    help=HELP,
    arguments=(Argument("MOMENT", "an event's number, or a checkpoint", "text", complete=offered_names),),
    options=(
        Option("--before", "before the kernel's change with the last such event", "text", "EVENT"),
        Option("--to", "where the machine had executed N instructions", "number", "N"),
        Option("--write", "before the last write to the word there", "address", "ADDRESS"),
        Option("--end", "the latest moment that is known"),
    ),
)
