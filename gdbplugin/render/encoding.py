"""Objects as JSON text."""

from __future__ import annotations

from collections.abc import Mapping

from gdbplugin.records import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Encoded(Protocol):
    """A value that makes its own JSON text, for there is very much of it."""

    def json(self) -> str:
        """The text."""


class Nested:
    """An object within an object, of whose values some are `Encoded`."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def json(self) -> str:
        """The text."""
        return dumps(self._content)


def dumps(content: Mapping[str, Any]) -> str:
    """A view's content as JSON; of its values some may be `Encoded`."""
    # Not at the top: the same views make text, which is what is mostly asked for.
    import json

    from gdbplugin.commands.encoding import text_of

    values = (
        f"{json.dumps(name)}: {value.json() if hasattr(value, 'json') else text_of(value)}"
        for name, value in content.items()
    )
    return "{" + ", ".join(values) + "}"
