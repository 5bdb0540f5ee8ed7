"""Compares the lazy pages and the mappings of two moments, page by page."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.aarch64.maps import leaf_attributes
from gdbplugin.aarch64.tables import Leaf, Malformed
from gdbplugin.kernel.diff_rows import COUNTS, Change, Explanation, wanted
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.moment import KERNEL_HALF, Moment
from gdbplugin.kernel.replay import MappedState, PageState, Replay
from gdbplugin.kernel.spaces import SpaceMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Row = tuple[Any, ...]

_ACCESS_FLAG = 1 << 10
_BLOCKS = {
    PAGE_BYTES: "",
    64 << 10: " block of 64 KiB",
    2 << 20: " block of 2 MiB",
    1 << 30: " block of 1 GiB",
}


def lazy_changes(before: Moment, after: Moment, replay: Replay) -> Iterator[Change]:
    """The changes of lazy pages, by field and address."""
    rows = {row[0] or 0: row for row in before.lazy.pages.rows}
    rows_after = {row[0] or 0: row for row in after.lazy.pages.rows}
    changed = sorted(
        address for address in rows.keys() | rows_after.keys() if rows.get(address) != rows_after.get(address)
    )
    found = [
        change
        for address in changed
        for change in _of_page(before, after, replay, address, rows.get(address), rows_after.get(address))
    ]
    return iter(sorted(found, key=lambda change: (_FIELDS.index(change.field), change.address)))


_FIELDS = ("state", "physical_address", "owner", "access_count", "allocation_time")


def _of_page(
    before: Moment, after: Moment, replay: Replay, address: int, old: _Row | None, new: _Row | None
) -> Iterator[Change]:
    expected = replay.page(address)
    state = None if old is None else before.lazy.pages.state(old)
    state_after = None if new is None else after.lazy.pages.state(new)
    frame, frame_after = (None if row is None else row[1] or None for row in (old, new))
    owner = new[4] if new is not None else old[4] if old is not None else None
    space = (after if new is not None else before).spaces.of(owner)
    name = "lazy pages" if owner is None else f"lazy pages of task {owner}"
    place = ("lazy", name, owner, space.asid if space else None)
    explanation = _state_explanation(expected, state_after, frame_after)
    if state != state_after:
        yield Change(
            *place, "state", address, PAGE_BYTES, state, state_after, frame, frame_after, explanation
        )
    elif frame != frame_after:
        values = state, state_after, frame, frame_after
        yield Change(*place, "physical_address", address, PAGE_BYTES, *values, explanation)
    if old is None or new is None:
        return
    if old[4] != new[4]:
        reserved = tuple(
            event.sequence or 0 for event in replay.events_of_page(address) if event.kind == "LazyReserve"
        )
        reason = wanted(new[4], reserved, new[4])
        yield Change(
            *place, "owner", address, PAGE_BYTES, f"task {old[4]}", f"task {new[4]}", None, None, reason
        )
    for name, column in (("access_count", 5), ("allocation_time", 6)):
        if old[column] != new[column]:
            events = COUNTS._replace(events=expected.events)
            yield Change(
                *place, name, address, PAGE_BYTES, old[column] or 0, new[column] or 0, None, None, events
            )


def _state_explanation(expected: PageState, state: str | None, frame: int | None) -> Explanation:
    if expected.is_discarded:
        return Explanation(expected.events, True)
    if not expected.events:
        return wanted(None, (), state)
    if expected.state != state:
        return Explanation(expected.events, True, f"{expected.state or 'not reserved'}, as its events say")
    if expected.physical is not None and (expected.physical or None) != frame:
        return Explanation(expected.events, True, f"at {expected.physical:#x}, as its events say")
    return Explanation(expected.events, True)


_Entry = Leaf | Malformed


def mapping_changes(before: Moment, after: Moment, replay: Replay) -> Iterator[Change]:
    """The changes of the mappings of every address space, by space and address."""
    empty = SpaceMap(0, {}, (), ())
    for number in sorted(before.maps.keys() | after.maps.keys()):
        old, new = before.maps.get(number, empty), after.maps.get(number, empty)
        if old.is_known and new.is_known:
            yield from _of_space(before, after, replay, number, _entries(old), _entries(new))


def _entries(space: SpaceMap) -> dict[int, _Entry]:
    return {**space.pages, **{entry.start: entry for entry in space.malformed}}


def _of_space(
    before: Moment,
    after: Moment,
    replay: Replay,
    number: int,
    old: dict[int, _Entry],
    new: dict[int, _Entry],
) -> Iterator[Change]:
    known = after.spaces.of(number) or before.spaces.of(number)
    name = "kernel half" if number == KERNEL_HALF else f"space {number}"
    place = ("mappings", name, None if number == KERNEL_HALF else number, known.asid if known else None)
    changed = sorted(address for address in old.keys() | new.keys() if old.get(address) != new.get(address))
    flags = []
    for address in changed:
        one, other = old.get(address), new.get(address)
        size = (other or one or _NOTHING).size
        if _differ_by_access_flag(one, other):
            values = _flag(one), _flag(other)
            flags.append(Change(*place, "access flag", address, size, *values, None, None, COUNTS))
            continue
        texts, frames = (_text(before, one), _text(after, other)), (_frame(one), _frame(other))
        field = "mapping"
        if texts[0] == texts[1] and frames[0] == frames[1]:
            field, texts = "attributes", (_attributes(one), _attributes(other))
        reason = _mapping_explanation(replay, number, address, after, other)
        yield Change(*place, field, address, size, *texts, *frames, reason)
    yield from flags


_NOTHING = Malformed(0, PAGE_BYTES, 0, 0, 0, 0, "")


def _mapping_explanation(
    replay: Replay, number: int, address: int, after: Moment, found: _Entry | None
) -> Explanation:
    if number == KERNEL_HALF:
        return Explanation((), True, "no change, as the kernel's own half never changes")
    expected = replay.mapping(number, address)
    is_discarded = found is None and replay.page(address).is_discarded
    if not expected.events and not is_discarded:
        return wanted(None, (), found)
    return Explanation(expected.events, True, _unmet(expected, after, found))


def _unmet(expected: MappedState, after: Moment, found: _Entry | None) -> str | None:
    """What the events lead to, if that is not what is there."""
    if isinstance(found, Malformed):
        return "a well-formed table entry"
    if expected.is_mapped is not None and expected.is_mapped != (found is not None):
        return "a mapping, as its events say" if expected.is_mapped else "no mapping, as its events say"
    if found is None:
        return None
    if expected.physical is not None and expected.physical != found.physical:
        return f"a mapping to {expected.physical:#x}, as its events say"
    allowed = _permissions(after, found)
    if expected.permissions is not None and allowed != expected.permissions:
        return f"{expected.permissions} at EL0, as its events say"
    return None


def _permissions(moment: Moment, leaf: Leaf, level: int = 0) -> str:
    if moment.regime is None:
        return "?"
    found = leaf_attributes(moment.regime, leaf.start, leaf.descriptor, leaf.inherited)
    return str(found.el1 if level else found.el0)


def _text(moment: Moment, entry: _Entry | None) -> str | None:
    """What an entry is, without its output address; None for nothing."""
    if entry is None:
        return None
    if isinstance(entry, Malformed):
        return f"malformed: {entry.reason}"
    level = int(entry.start >> 63)  # EL0 may access nothing in the upper half.
    size = _BLOCKS.get(entry.size, f" block of {entry.size:#x}")
    return f"{_permissions(moment, entry, level)} at EL{level}{size}"


def _frame(entry: _Entry | None) -> int | None:
    return entry.physical if isinstance(entry, Leaf) else None


def _attributes(entry: _Entry | None) -> str | None:
    return None if entry is None else f"descriptor {entry.descriptor:#x}"


def _flag(entry: _Entry | None) -> str:
    return "set" if entry is not None and entry.descriptor & _ACCESS_FLAG else "clear"


def _differ_by_access_flag(one: _Entry | None, other: _Entry | None) -> bool:
    if not isinstance(one, Leaf) or not isinstance(other, Leaf):
        return False
    return one._replace(descriptor=one.descriptor ^ _ACCESS_FLAG) == other
