"""What commands saw at earlier stops, so that they can say what has changed since.

Nothing is read for it at a stop: it holds what a command happened to read anyway.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
