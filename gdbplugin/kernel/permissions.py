"""Permissions as a user asks for them."""

from __future__ import annotations

import re

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.kernel.kernel import SelectionError


class PermissionFilter:
    """The permissions that a mapping must have: `r-x`, `?w?`, `el0:r--`, `el1:?w?`.

    A letter must be there, `-` must not, `?` may. Without a level, any of the regime's levels may have them.
    Raises `SelectionError` for anything else, and for a level that the regime does not have.
    """

    def __init__(self, text: str, regime: TranslationRegime) -> None:
        level, colon, letters = text.upper().rpartition(":")
        if (colon and not re.fullmatch("EL[0-3]", level)) or not self._is_pattern(letters.lower()):
            raise SelectionError(f'"{text}" is not a pattern of permissions (examples: r-x, ?w?, el0:r--)')
        known = [f"EL{number}" for number in regime.levels]
        if level and level not in known:
            raise SelectionError(f"the {regime.name} regime has no {level} (known: {', '.join(known)})")
        self._levels = regime.levels
        self._level = level
        self._letters = letters.lower()

    @staticmethod
    def _is_pattern(letters: str) -> bool:
        pairs = zip(letters, "rwx", strict=False)
        return len(letters) == 3 and all(letter in (name, "-", "?") for letter, name in pairs)

    def matches(self, attributes: Attributes) -> bool:
        """Whether a mapping's permissions are as wanted."""
        allowed = permissions_by_level(self._levels, attributes)
        return any(self._fits(found) for level, found in allowed.items() if self._level in ("", level))

    def _fits(self, permissions: str) -> bool:
        return all(wanted in ("?", there) for wanted, there in zip(self._letters, permissions, strict=True))
