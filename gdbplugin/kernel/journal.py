"""What is noticed while a kernel is read: findings about its data, and notes about the reading."""

from __future__ import annotations

from gdbplugin.records import dataclass, field


@dataclass(frozen=True)
class Finding:
    """Something in the target that is not as it must be."""

    object: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.object}: expected {self.expected}; found {self.found}"


class Journal:
    """Findings and notes in the order they were made, each once.

    More than `limit` findings are counted but not kept: a table of garbage would fill the memory.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._findings: dict[Finding, None] = {}
        self._notes: dict[str, None] = {}
        self.finding_count = 0

    @property
    def findings(self) -> list[Finding]:
        """The findings that were kept."""
        return list(self._findings)

    @property
    def notes(self) -> list[str]:
        """The notes."""
        return list(self._notes)

    def find(self, object_: str, expected: str, found: str) -> None:
        """Record a finding."""
        finding = Finding(object_, expected, found)
        if finding in self._findings:
            return
        self.finding_count += 1
        if len(self._findings) < self._limit:
            self._findings[finding] = None

    def note(self, text: str) -> None:
        """Record a note."""
        self._notes[text] = None

    def add(self, other: Journal) -> None:
        """Record all that another journal has."""
        for finding in other._findings:
            self.find(finding.object, finding.expected, finding.found)
        self.finding_count += other.finding_count - len(other._findings)
        self._notes.update(other._notes)


@dataclass(frozen=True)
class Noticed:
    """An object that a command shows, and the journal of what was noticed while it was read.

    Who asked for the object keeps the two together where there is a use for it, as a session does.
    """

    journal: Journal = field(default_factory=Journal, kw_only=True, repr=False, compare=False)

    @property
    def findings(self) -> list[Finding]:
        """What in the target is not as it must be."""
        return self.journal.findings

    @property
    def notes(self) -> list[str]:
        """What is to be known of the reading."""
        return self.journal.notes
