"""What the views are drawn from: the newest snapshot, what was before it, and what the user has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from gdbplugin.repl.live.history import History
from gdbplugin.session.watch import Snapshot


@dataclass
class Choices:
    """What the keys have chosen."""

    view: str = "s"
    paused: bool = False
    """Whether the view stands still; the target does what it does."""
    help: bool = False
    scroll: dict[str, int] = field(default_factory=dict)
    """By view: how many rows are scrolled past; of one that is seen from its end, how many from there."""
    kind: str | None = None
    """The only kind of event to be shown."""
    until: int | None = None
    """The newest event that is shown while older ones are looked at, by number; None: the stream's newest."""
    map_only: bool = False
    by_task: bool = False
    """Whether the pool's map tells frames by the task that owns them, instead of by their use."""
    zoom: int = 0
    """How many times fewer frames a cell of the pool's map stands for, as a power of two."""


@dataclass(frozen=True)
class Scene:
    """All that a view may look at."""

    snapshot: Snapshot
    history: History
    choices: Choices
    event_names: dict[str, dict[int, str]]
    """The names of the enums that events hold as numbers, by their types' names."""
