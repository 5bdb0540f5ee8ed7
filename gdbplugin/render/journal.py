"""Findings and notes, as every command shows them behind its object."""

from __future__ import annotations

from gdbplugin.kernel.journal import Journal
from gdbplugin.render.style import Style

_SHOWN = 20


def journal_text(journal: Journal, style: Style) -> str:
    """The findings and notes there are, one a line; empty if there are none."""
    lines = []
    if journal.finding_count:
        lines.append(f"Findings: {journal.finding_count:,}")
        for finding in journal.findings[:_SHOWN]:
            lines += style.wrapped(f"  {finding}", "      ")
        if journal.finding_count > _SHOWN:
            lines.append(f"  and {journal.finding_count - _SHOWN:,} more")
    for note in journal.notes:
        lines += style.wrapped(f"Note: {note}", "  ")
    return "".join(line + "\n" for line in lines)
