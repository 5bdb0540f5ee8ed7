"""Whether pyelftools is there, and new enough.

The installer sees to that, but in GDB another plugin may put its own, older one before it on Python's path.
"""

from __future__ import annotations

import os
import re

from gdbplugin.layout.types import LayoutError

_LEAST = (0, 33)
"""As pyproject.toml has it: the first that reads every form of string and address that DWARF 5 has."""


def require() -> None:
    """Raises `LayoutError` where it is missing or too old, saying which was found."""
    try:
        import elftools
    except Exception as error:  # Whatever another plugin has there under that name.
        raise LayoutError(f"debug information cannot be read without pyelftools: {error}") from error
    version = str(getattr(elftools, "__version__", "of no version"))
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < _LEAST:
        raise LayoutError(
            f"debug information cannot be read with pyelftools {version}, which comes first on "
            f"Python's path ({os.path.dirname(elftools.__file__)}): {'.'.join(map(str, _LEAST))} is needed"
        )
