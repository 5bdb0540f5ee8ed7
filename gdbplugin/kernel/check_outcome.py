"""What a check comes to, whichever kernel it is of."""

from __future__ import annotations

from gdbplugin.kernel.journal import Finding, Journal, Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class Check(Noticed):
    """The outcome: how much was compared, and what was seen while the kernel was changing it.

    `checked` has None for what the kernel has not, or what could not be compared.
    """

    changing: bool
    checked: dict[str, int | None]
    passing: tuple[Finding, ...]
    passing_count: int


def settled(kernel: Kernel, seen: Journal, changing: bool, checked: dict[str, int | None]) -> Check:
    """The outcome of what was seen: findings, or while the kernel was amid a change (noted here) passing."""
    if changing:
        kernel.note_change()
    else:
        for finding in seen.findings:
            kernel.journal.find(finding.object, finding.expected, finding.found)
        kernel.journal.finding_count += seen.finding_count - len(seen.findings)
    return Check(
        changing=changing,
        checked=checked,
        passing=tuple(seen.findings) if changing else (),
        passing_count=seen.finding_count if changing else 0,
        journal=kernel.journal,
    )
