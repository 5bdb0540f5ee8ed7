"""`tinyos tlb`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import STRICT, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.discipline import Discipline
    from gdbplugin.render import Style


def read(target: Target) -> Discipline:
    """Whether the recording keeps the rules of translation."""
    from gdbplugin.recording.discipline import read_discipline

    return read_discipline(target)


def show(shown: Discipline, style: Style) -> str:
    """What was checked, and each broken rule as a finding."""
    counts = (
        style.counted(shown.changes, "change") + " of valid descriptors",
        style.counted(shown.invalidations, "TLB invalidation"),
        style.counted(shown.barriers, "barrier"),
    )
    lines = style.wrapped(f"Checked {', '.join(counts)}.")
    lines.append(style.counted(shown.broken_count, "broken rule"))
    return style.sections(["\n".join(lines)], shown)


HELP = """Check that the recording keeps the rules of translation (DDI 0487, D8.16 and D8.17).

The session must record, which `scripts/run --record` begins. A valid descriptor must be invalid before it
maps something else (break before make). A DSB, a TLBI that reaches every core whose TLB may hold the old
translation, and a DSB must come in this order before the address is mapped again, before the space is used,
and before the frame is mapped elsewhere. A DSB must follow a descriptor that became valid. No ASID may go to
other tables without an invalidation. Each finding names the change, and the instruction that broke the rule.
With --strict the command fails if there are findings.
"""
COMMAND = Command(
    "tlb",
    Form(
        "tinyos.tlb/1",
        read,
        show,
        rows=lambda found: found.broken,
        count=lambda found: found.broken_count,
        rows_are_findings=True,
    ),
    help=HELP,
    options=(STRICT,),
)
