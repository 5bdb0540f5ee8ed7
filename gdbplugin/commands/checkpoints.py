"""`tinyos checkpoints`, and what it shares with `tinyos checkpoint` and `tinyos rewind`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.travel import Checkpoints
    from gdbplugin.render import Style

_THOUSAND = 1000


def read(target: Target) -> Checkpoints:
    """The checkpoints that the machine can go back to."""
    from gdbplugin.recording.travel import read_checkpoints

    return read_checkpoints(target)


def show(shown: Checkpoints, style: Style) -> str:
    """The checkpoints as a table, and where the machine is."""
    rows = [
        (
            one.id,
            one.name or ("" if one.is_automatic else style.missing),
            style.count(one.instructions),
            style.count(one.records),
            f"{one.milliseconds / _THOUSAND:.1f} s",
        )
        for one in shown.checkpoints
    ]
    headers = ("checkpoint", "name", "instructions", "records", "after")
    table = style.table(headers, rows, right=headers[2:], dispensable=("records", "after"))
    title = style.title(f"Checkpoints ({len(shown.checkpoints)})")
    where = f"now: {style.count(shown.instructions)} instructions"
    if shown.end > shown.instructions:
        where += f", in the past of {style.count(shown.end)}"
    return style.sections([f"{title}\n{table}", where], shown)


def offered_names(target: Target) -> list[str]:
    """The names and numbers of the checkpoints."""
    from gdbplugin.recording.travel import read_checkpoints

    return [one.name or one.id for one in read_checkpoints(target).checkpoints]


HELP = """List the moments that the machine can go back to with `tinyos rewind`.

The session must record, which `scripts/run --record` begins. The recorder takes checkpoints by itself: at the
start, and then in a tenth of the time at most. They get sparser with age; those that have a name stay.
"""
COMMAND = Command(
    "checkpoints", Form("tinyos.checkpoints/1", read, show, rows=lambda found: found.checkpoints), help=HELP
)
