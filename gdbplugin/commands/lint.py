"""`tinyos lint`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import STRICT, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.kernel.lint import Lint
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target, *, ignore: Sequence[str] = ()) -> Lint:
    """What undoes protections, in every address space and by registers; `ignore` are names of rules."""
    from gdbplugin.kernel.lint import read_lint

    return read_lint(target, tuple(ignore))


def show(found: Lint, style: Style) -> str:
    """What was looked at, each rule with the number of its findings, the findings, and their number last."""
    counts = (
        style.counted(len(found.spaces), "range") + " of addresses",
        style.counted(found.tables, "table"),
        style.count(found.leaves) + " blocks and pages",
    )
    lines = style.wrapped(f"Looked at {', '.join(counts)}.", "  ")
    rows = [
        (
            rule.name,
            "ignored" if rule.ignored else style.count(rule.broken_count),
            rule.expected,
            rule.section,
        )
        for rule in found.rules
    ]
    headers = ("rule", "findings", "expected", "DDI 0487")
    lines.append(style.table(headers, rows, ("findings",), dispensable=("DDI 0487", "expected")))
    last = style.counted(found.broken_count, "finding")
    return "\n".join(lines) + "\n" + style.diagnostics(found) + last + "\n"


def offered_rules(target: Target) -> list[str]:
    """The names of the rules."""
    from gdbplugin.kernel.lint_rules import RULES

    del target
    return [rule.name for rule in RULES]


HELP = """Find mappings and registers that undo a kernel's protections, on any AArch64 kernel.

It walks every address space that it can find: those in the registers of all cores, at every exception level,
and those of TinyOS's tasks. It looks for memory that is writable and executable, access from EL0 to the
kernel's memory, executable devices, frames mapped with different memory types, or executable here and
writable there, writable kernel text, tables that EL0 may write, stacks without a guard page, and registers
that undo protections. Each finding names the addresses, the descriptor or register, and the rule with its
section of the Arm manual. With --strict the command fails if there are any.
"""
COMMAND = Command(
    "lint",
    Form(
        "tinyos.lint/1",
        read,
        show,
        rows=lambda found: found.broken,
        count=lambda found: found.broken_count,
        title="findings",
        rows_are_findings=True,
    ),
    help=HELP,
    options=(
        Option("--ignore", "leave out this rule", "text", "RULE", repeated=True, complete=offered_rules),
        STRICT,
    ),
)
