"""`tinyos recording`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.status import RecordingStatus
    from gdbplugin.render import Style


def read(
    target: Target,
    *,
    add: Sequence[Sequence[Address | None]] = (),
    add_physical: Sequence[Sequence[Address | None]] = (),
    drop: bool = False,
) -> RecordingStatus:
    """How much is recorded, and which memory, after ranges were added to it."""
    from gdbplugin.recording.status import read_status

    given, physical = ([target.range(one) for one in ranges] for ranges in (add, add_physical))
    return read_status(target, given, physical, drop)


def show(shown: RecordingStatus, style: Style) -> str:
    """The state of the recording."""
    kept = shown.records - shown.oldest
    lines = style.wrapped(
        f"{style.count(shown.records)} records, {style.count(kept)} of them kept, in room for "
        f"{style.count(shown.room)}; {style.count(shown.stores)} are stores. "
        f"{style.count(shown.unchanged)} stores changed nothing, and have no record."
    )
    back = f"{style.counted(shown.checkpoints, 'checkpoint')}: `tinyos rewind` goes back"
    lines += [back if shown.can_go_back else "the machine cannot go back (--host-clock)"]
    lines += ["recorded: the translation tables in use, and at physical addresses"]
    lines += [f"  {one.start:#x}..{one.end:#x} ({style.size(one.end - one.start)})" for one in shown.ranges]
    return style.sections(["\n".join([style.title("Recording"), *lines])], shown)


HELP = """Show how much is recorded, and which memory; or have more memory recorded.

The session must record, which `scripts/run --record` begins. Then the stores to all translation tables are
recorded, and those to the memory manager and the scheduler. --add has more recorded from now on, by whole
pages: `tinyos history ADDRESS` and `tinyos writer ADDRESS` answer for it, too.
"""
COMMAND = Command(
    "recording",
    Form("tinyos.recording/1", read, show, rows=lambda found: found.ranges),
    help=HELP,
    options=(
        Option("--add", "record this memory, too", "range", "START..END", repeated=True),
        Option("--add-physical", "the same, by physical addresses", "range", "START..END", repeated=True),
        Option("--drop", "record no longer what was added before"),
    ),
)
