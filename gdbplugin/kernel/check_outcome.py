"""What a check comes to, whichever kernel it is of."""

from __future__ import annotations

from gdbplugin.kernel.journal import Finding, Journal, Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class Checked:
    """How much was compared; null for what this kernel does not have, or what could not be compared."""

    address_spaces: int | None
    """Address spaces that were compared; null in a kernel that has none on record."""
    stacks: int
    """Stacks that were compared."""
    lazy_pages: int
    """Lazy pages that were compared."""
    mapped_pages: int | None
    """Mapped pages that were compared; null in a kernel without address spaces whose MMU is off."""
    tables: int | None
    """Translation tables that were compared; null in a kernel that has none on record."""
    frames: int | None
    """Frames that were compared; null in a kernel that has none on record."""
    kernel_mappings: int | None
    """Blocks and pages of the kernel's own half that were compared; null if it was not, which a note says."""


@dataclass(frozen=True)
class Check(Noticed):
    """The outcome: how much was compared, and what was seen while the kernel was changing it."""

    json_fields = ("changing", "checked", "finding_count", "transient")

    changing: bool
    """Whether the kernel was stopped in the middle of a change: figures may not agree."""
    checked: Checked
    """How much was compared."""
    transient: tuple[Finding, ...]
    """Disagreements that were seen during a change of the kernel's, and so are not findings."""
    transient_count: int

    @property
    def finding_count(self) -> int:
        """How many findings there are, including those that are not listed."""
        return self.journal.finding_count


def settled(kernel: Kernel, seen: Journal, changing: bool, checked: Checked) -> Check:
    """The outcome of what was seen: findings, or transient ones if the kernel was changing its records."""
    if changing:
        kernel.note_change()
    else:
        for finding in seen.findings:
            kernel.journal.find(finding.object, finding.expected, finding.found)
        kernel.journal.finding_count += seen.finding_count - len(seen.findings)
    return Check(
        changing=changing,
        checked=checked,
        transient=tuple(seen.findings) if changing else (),
        transient_count=seen.finding_count if changing else 0,
        journal=kernel.journal,
    )
