"""The Sphinx extension of the documentation: puts the generated parts into the pages."""

from __future__ import annotations

from typing import Any

from scripts.lib.docs.reference import filled


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's call."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = filled(source[0])
