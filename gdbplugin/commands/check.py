"""`tinyos check`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import STRICT, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.check_state import Check
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target) -> Check:
    """The kernel's records and its own half compared with the tables; `findings` has what is wrong."""
    from gdbplugin.kernel.check import read_check

    return read_check(target.required_kernel(), target.symbols)


def show(check: Check, style: Style) -> str:
    """What was compared, each finding, and their number last."""
    from gdbplugin.records import asdict

    counts = asdict(check.checked).items()
    compared = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts if count is not None)
    lines = "\n".join(style.wrapped(f"Compared {compared}.", "  ")) + "\n" + style.diagnostics(check)
    if check.changing and check.transient_count:
        count = style.count(check.transient_count)
        said = f"{count} disagreements during the change are not findings."
        lines += "\n".join(style.wrapped(said, "  ")) + "\n"
    return lines + f"{style.counted(check.finding_count, 'finding')}\n"


HELP = """Compare TinyOS's records with the hardware's translation tables.

It walks every address space and compares it with the stacks, lazy pages and frames that the kernel has
on record, and it compares the kernel's own half with what the kernel maps at boot. Each finding names the
object, what was expected and what was found; the last line counts the findings. With --strict the command
fails if there are any, which ends a script and makes `scripts/run --batch` exit with status 1.
"""
COMMAND = Command(
    "check",
    Form(
        "tinyos.check/1",
        read,
        show,
        rows=lambda found: found.findings,
        count=lambda found: found.finding_count,
        rows_are_findings=True,
    ),
    help=HELP,
    options=(STRICT,),
)
