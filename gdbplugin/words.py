"""Which of the known words a mistyped one may be."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], quote: str = "") -> str:
    """A question after a mistyped word, which of the known ones is meant; empty if none is like it."""
    import difflib  # For mistakes only.

    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {quote}{found[0]}{quote}?)" if found else ""
