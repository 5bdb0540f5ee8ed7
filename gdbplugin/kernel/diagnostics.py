"""Findings and notes made while a kernel is read, and values kept from earlier stops.

Findings are about the kernel's data, notes about the reading. The history holds only what commands
read anyway: a stop alone causes no read.
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbplugin.records import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something in the target that is not as it should be."""

    object: str
    """What it is about."""
    expected: str
    """What should be there."""
    found: str
    """What is there."""

    def __str__(self) -> str:
        return f"{self.object}: expected {self.expected}; found {self.found}"


class Diagnostics:
    """Findings and notes in the order they were made, without duplicates.

    Findings beyond `limit` are counted but not kept: a table of garbage would fill the memory.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._findings: dict[Finding, None] = {}
        self._notes: dict[str, None] = {}
        self._missing: dict[str, dict[str, str]] = {}
        self.finding_count = 0

    @property
    def findings(self) -> list[Finding]:
        """The findings that were kept."""
        return list(self._findings)

    @property
    def notes(self) -> list[str]:
        """The notes; the last one says what the kernel lacks, if anything."""
        return list(self._notes) + ([_missing_note(self._missing)] if self._missing else [])

    def add_finding(self, object_: str, expected: str, found: str) -> None:
        """Add a finding."""
        finding = Finding(object_, expected, found)
        if finding in self._findings:
            return
        self.finding_count += 1
        if len(self._findings) < self._limit:
            self._findings[finding] = None

    def add_note(self, text: str) -> None:
        """Add a note."""
        self._notes[text] = None

    def add_missing(self, owner: str, name: str, why: str = "") -> None:
        """Say that a type of the kernel has no `name`; `owner` is the type, or empty for the kernel itself.

        One note says everything that is missing. `why` is added in brackets.
        """
        self._missing.setdefault(owner, {}).setdefault(name, why)

    def only_missing(self, names: Iterable[str]) -> Diagnostics:
        """A copy; of what is missing it has only the kernel's own, if among `names` or with a reason."""
        found = Diagnostics()
        found.merge(self)
        own = {name: why for name, why in self._missing.get("", {}).items() if why or name in names}
        found._missing = {"": own} if own else {}
        return found

    def merge(self, other: Diagnostics) -> None:
        """Add everything from other diagnostics."""
        for finding in other._findings:
            self.add_finding(finding.object, finding.expected, finding.found)
        self.finding_count += other.finding_count - len(other._findings)
        self._notes.update(other._notes)
        for owner, names in other._missing.items():
            self._missing[owner] = {**self._missing.get(owner, {}), **names}


def _missing_note(missing: dict[str, dict[str, str]]) -> str:
    """One note on everything that is missing: `this kernel's A has no x, y; its B no z; it has no W`."""
    several = sum(map(len, missing.values())) > 1
    parts: list[str] = []
    for owner, names in sorted(missing.items(), key=lambda entry: not entry[0]):
        words = [f"{name} ({why})" if why else name for name, why in names.items()]
        if several:
            words = [word.removeprefix("field ") for word in words]
        listed = (", " if owner else ", no ").join(words)
        if not parts:
            parts.append(
                f"this kernel's {owner} has no {listed}" if owner else f"this kernel has no {listed}"
            )
        else:
            parts.append(f"its {owner} no {listed}" if owner else f"it has no {listed}")
    return "; ".join(parts)


@dataclass(frozen=True)
class Diagnosed:
    """An object that a command shows, with the findings and notes made while it was read."""

    diagnostics: Diagnostics = field(default_factory=Diagnostics, kw_only=True, repr=False, compare=False)

    @property
    def findings(self) -> list[Finding]:
        """What is wrong in the target's data; at most the first 1,000."""
        return self.diagnostics.findings

    @property
    def notes(self) -> list[str]:
        """About the reading: what is missing, and how far the figures can be trusted."""
        return self.diagnostics.notes


class History:
    """Values by name: those of this stop, and the last known ones of earlier stops."""

    def __init__(self) -> None:
        self._current: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}
        self._moments: list[Any] = []
        self._has_moment = False
        self._most = 1

    def ran(self) -> None:
        """The machine ran: the values of this stop become those of an earlier one."""
        self._earlier.update(self._current)
        self._current.clear()
        self._has_moment = False
        self.keep_most(self._most)

    def clear(self) -> None:
        """Forget everything, because the machine or the program is another one."""
        self._current.clear()
        self._earlier.clear()
        self._moments.clear()
        self._has_moment = False

    def keep(self, name: str, value: Any) -> None:
        """Remember a value of this stop."""
        self._current[name] = value

    def earlier(self, name: str) -> Any | None:
        """The last value of that name from an earlier stop; None if there is none."""
        return self._earlier.get(name)

    def keep_moment(self, moment: Any) -> None:
        """Keep the moment of this stop, in place of one that was kept at the same stop."""
        if self._has_moment:
            self._moments.pop()
        self._moments.append(moment)
        self._has_moment = True
        self.keep_most(self._most)

    def keep_most(self, count: int) -> None:
        """Keep the moments of at most so many earlier stops from now on; at least of one."""
        self._most = max(1, count)
        del self._moments[: -self._most - self._has_moment]

    @property
    def earlier_moments(self) -> list[Any]:
        """The moments of earlier stops that were kept, the newest last."""
        return self._moments[:-1] if self._has_moment else list(self._moments)
