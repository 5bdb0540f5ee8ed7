"""Permissions as a user asks for them."""

from __future__ import annotations

from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.kernel.selection import SelectionError


class PermissionFilter:
    """Permissions that a mapping is to have: `r-x`, `?w?`, `el0:r--`, `el1:?w?`.

    A letter must be there, `-` must not, `?` may. Without a level, either level's permissions may be it.
    """

    def __init__(self, text: str) -> None:
        level, colon, letters = text.lower().rpartition(":")
        if (colon and level not in ("el0", "el1")) or not self._is_pattern(letters):
            raise SelectionError(
                f'"{text}" is no pattern of permissions: r-x, ? for either; el0:?w? for one level'
            )
        self._levels = (level,) if level else ("el0", "el1")
        self._letters = letters

    @staticmethod
    def _is_pattern(letters: str) -> bool:
        pairs = zip(letters, "rwx", strict=False)
        return len(letters) == 3 and all(letter in (name, "-", "?") for letter, name in pairs)

    def matches(self, attributes: Attributes) -> bool:
        """Whether a mapping's permissions are as wanted."""
        return any(self._fits(str(getattr(attributes, level))) for level in self._levels)

    def _fits(self, permissions: str) -> bool:
        return all(wanted in ("?", there) for wanted, there in zip(self._letters, permissions, strict=True))
