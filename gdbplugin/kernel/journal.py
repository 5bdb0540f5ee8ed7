"""What is noticed while a kernel is read, and what earlier commands read.

Findings are about its data, notes about the reading. Nothing is read for the history at a stop: it holds what
a command happened to read anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbplugin.records import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something in the target that is not as it must be."""

    object: str
    """What it is about."""
    expected: str
    """What must be there."""
    found: str
    """What is."""

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
        self._lacks: dict[str, dict[str, str]] = {}
        self.finding_count = 0

    @property
    def findings(self) -> list[Finding]:
        """The findings that were kept."""
        return list(self._findings)

    @property
    def notes(self) -> list[str]:
        """The notes; what the kernel lacks is one of them, the last."""
        return list(self._notes) + ([_lacking(self._lacks)] if self._lacks else [])

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

    def lack(self, owner: str, name: str, why: str = "") -> None:
        """Record that a struct of the kernel, or (empty) it itself, lacks something: all in one note."""
        self._lacks.setdefault(owner, {}).setdefault(name, why)

    def only_lacking(self, names: Iterable[str]) -> Journal:
        """The same without what the kernel lacks, but for what is named."""
        found = Journal()
        found.add(self)
        own = {name: why for name, why in self._lacks.get("", {}).items() if why or name in names}
        found._lacks = {"": own} if own else {}
        return found

    def add(self, other: Journal) -> None:
        """Record all that another journal has."""
        for finding in other._findings:
            self.find(finding.object, finding.expected, finding.found)
        self.finding_count += other.finding_count - len(other._findings)
        self._notes.update(other._notes)
        for owner, names in other._lacks.items():
            self._lacks[owner] = {**self._lacks.get(owner, {}), **names}


def _lacking(lacks: dict[str, dict[str, str]]) -> str:
    """One note on all that a kernel has not got: `this kernel's A has no x, y; its B no z; it has no W`."""
    several = sum(map(len, lacks.values())) > 1
    parts: list[str] = []
    for owner, names in sorted(lacks.items(), key=lambda entry: not entry[0]):
        worded = [f"{name} ({why})" if why else name for name, why in names.items()]
        if several:
            worded = [name.removeprefix("field ") for name in worded]
        said = (", " if owner else ", no ").join(worded)
        if not parts:
            parts.append(f"this kernel's {owner} has no {said}" if owner else f"this kernel has no {said}")
        else:
            parts.append(f"its {owner} no {said}" if owner else f"it has no {said}")
    return "; ".join(parts)


@dataclass(frozen=True)
class Noticed:
    """An object that a command shows, and the journal of what was noticed while it was read.

    Who asked for the object keeps the two together where there is a use for it, as a session does.
    """

    journal: Journal = field(default_factory=Journal, kw_only=True, repr=False, compare=False)

    @property
    def findings(self) -> list[Finding]:
        """What in the target is not as it must be; of very many the first 1,000."""
        return self.journal.findings

    @property
    def notes(self) -> list[str]:
        """About the reading: what is missing, and how far figures can be trusted."""
        return self.journal.notes


class History:
    """Values by name: of this stop, and the last known of earlier ones."""

    def __init__(self) -> None:
        self._current: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}

    def ran(self) -> None:
        """The machine ran: what was of this stop is now of an earlier one."""
        self._earlier.update(self._current)
        self._current.clear()

    def clear(self) -> None:
        """Another machine, or another program: nothing is known."""
        self._current.clear()
        self._earlier.clear()

    def keep(self, name: str, value: Any) -> None:
        """Remember a value of this stop."""
        self._current[name] = value

    def earlier(self, name: str) -> Any | None:
        """The last value of that name from an earlier stop."""
        return self._earlier.get(name)
