"""The Sphinx extension of the documentation: puts the generated parts into the pages.

Sphinx reads docstrings as reStructuredText. Those here have Markdown's tables, which are converted.
"""

from __future__ import annotations

from typing import Any

from scripts.lib.docs.reference import filled


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's call."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _read_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = filled(source[0])


def _read_docstring(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = with_tables(lines)


def with_tables(lines: list[str]) -> list[str]:
    """The lines of a docstring with each Markdown table as a `list-table`."""
    found: list[str] = []
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            found.append(line)
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not (number and lines[number - 1].startswith("|")):
            found += [".. list-table::", "   :header-rows: 1", ""]
        if not all(set(cell) == {"-"} for cell in cells):
            found += [f"   {'* -' if not place else '  -'} {cell}" for place, cell in enumerate(cells)]
    return found
