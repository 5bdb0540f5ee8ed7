"""Physical frames: the dynamic pool's counters, and its reverse map."""

from __future__ import annotations

from collections import Counter

from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.layout.decode import Columns, Invalid
from gdbplugin.layout.types import Array, unwrap
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PAGE_BYTES = 4096
_POOL_COUNTERS = (
    "base",
    "total_frames",
    "limit_frames",
    "free_frames",
    "cached_frames",
    "retired_frames",
    "allocation_count",
    "release_count",
    "failure_count",
)


@dataclass(frozen=True)
class Frames:
    """The pool. `base` is the physical address of frame 0; frames are of 4,096 bytes."""

    json_fields = (*_POOL_COUNTERS, "used_frames")

    base: int | None
    """Physical address of frame 0."""
    total_frames: int | None
    """Frames of 4 KiB in the pool."""
    limit_frames: int | None
    """Frames that the pool may use."""
    free_frames: int | None
    """Free frames."""
    cached_frames: int | None
    """Frames that are kept ready, and available as well."""
    retired_frames: int | None
    """Frames beyond the limit."""
    allocation_count: int | None
    """Allocations since boot."""
    release_count: int | None
    """Releases since boot."""
    failure_count: int | None
    """Allocations that failed."""

    @property
    def used_frames(self) -> int | None:
        """Frames that are neither free nor cached nor retired."""
        counts = (self.total_frames, self.free_frames, self.cached_frames, self.retired_frames)
        known = [count for count in counts if count is not None]
        return known[0] - sum(known[1:]) if len(known) == len(counts) else None

    def number(self, address: int) -> int | None:
        """The number of the frame that holds a physical address, if it is in the pool."""
        if self.base is None or self.total_frames is None or address < self.base:
            return None
        number = (address - self.base) // PAGE_BYTES
        return number if number < self.total_frames else None


@dataclass(frozen=True)
class FrameTable:
    """The reverse map: for each frame its use by name, its owner, and the index within that use.

    A use that cannot be decoded is None.
    """

    uses: tuple[str | None, ...]
    owners: tuple[int | None, ...]
    indexes: tuple[int | None, ...]

    def count(self) -> Counter[str | None]:
        """Frames by their use."""
        return Counter(self.uses)


def read_frames(kernel: Kernel) -> Frames:
    """Decode the pool's counters, each by a small read of its own: the pool's tables are large."""
    values: dict[str, Any] = dict.fromkeys(_POOL_COUNTERS)
    for name in _POOL_COUNTERS:
        part = kernel.part(MANAGER, f"frames.{name}")
        if part is not None:
            values[name] = part.value
    return kernel.record(Frames, values, "frame pool")


def read_frame_table(kernel: Kernel) -> FrameTable | None:
    """Decode the reverse map, one read; None, and a note, if this kernel has none."""
    part = kernel.part(MANAGER, "frames.info")
    array = unwrap(part.type) if part else None
    if part is None or not isinstance(array, Array):
        return None
    columns, data = Columns(array.element, ("usage", "owner", "index")), part.data
    return FrameTable(*(_read_column(kernel, columns, name, data) for name in columns.names))


def _read_column(kernel: Kernel, columns: Columns, name: str, data: bytes) -> tuple[Any, ...]:
    """A field of every frame's entry; what it cannot be is a finding, and None."""
    if name in columns.missing:
        kernel.journal.lack("FrameInfo", f"field {name}")
        return (None,) * (len(data) // columns.row_bytes)
    numbers, convert = columns.column(name, data), columns.convert[name]
    if convert is None:
        return tuple(numbers)
    meanings = {number: convert(number) for number in set(numbers)}
    for number, meaning in meanings.items():
        if isinstance(meaning, Invalid):
            kernel.journal.find(f"frame {numbers.index(number)}: {name}", meaning.expected, f"{number:#x}")
            meanings[number] = None
    return tuple(map(meanings.__getitem__, numbers))
