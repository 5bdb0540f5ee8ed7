"""Findings and notes, as every command shows them behind its object."""

from __future__ import annotations

from textwrap import wrap

from gdbplugin.kernel.journal import Journal

_SHOWN = 20
_WIDTH = 100


def journal_text(journal: Journal) -> str:
    """The findings and notes there are, one a line; empty if there are none."""
    lines = []
    if journal.finding_count:
        lines.append(f"Findings: {journal.finding_count:,}")
        for finding in journal.findings[:_SHOWN]:
            lines += _wrapped(f"  {finding}", "      ")
        if journal.finding_count > _SHOWN:
            lines.append(f"  and {journal.finding_count - _SHOWN:,} more")
    for note in journal.notes:
        lines += _wrapped(f"Note: {note}", "  ")
    return "".join(line + "\n" for line in lines)


def _wrapped(line: str, indent: str) -> list[str]:
    return wrap(line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
