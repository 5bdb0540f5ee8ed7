"""What the events between two moments lead to: the state of each object that they predict.

The kernel's `events.rs` says what each kind of event does. Three changes have no event of their own: a task
may discard the pages of a lazy range, the first pages of a stack that then finds no more frames stay, and
ASIDs are given at a switch. The first two are recognized by what they leave.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from gdbplugin.kernel.events import Event
from gdbplugin.kernel.lazy_table import PAGE_BYTES, LazyTable
from gdbplugin.kernel.moment import Moment
from gdbplugin.kernel.spaces import SpaceMap
from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OF_PAGES = frozenset({"LazyZero", "LazyAllocate", "LazyFold"})
_FIRST_USES = frozenset({"LazyZero", "LazyAllocate"})


class StackStep(NamedTuple):
    """One event in the life of a stack, and how many pages it had before and after."""

    sequence: int
    owner: int | None
    pages_before: int
    pages_after: int

    def concerns(self, page: int) -> bool:
        """Whether it maps or unmaps a page, counted from 0 at the base."""
        return min(self.pages_before, self.pages_after) <= page < max(self.pages_before, self.pages_after)


class StackState(NamedTuple):
    """What the events make of a stack. `is_exact` is False if a growth may have ended halfway."""

    is_active: bool
    owner: int | None
    pages: int
    steps: tuple[StackStep, ...]
    events: tuple[int, ...]
    is_exact: bool


class PageState(NamedTuple):
    """What the events make of a lazy page.

    `state` is None if the page is not reserved, `physical` if its frame is not known.
    """

    state: str | None
    physical: int | None
    events: tuple[int, ...]
    is_discarded: bool = False


class MappedState(NamedTuple):
    """What the events make of a mapping; None means that they do not say."""

    is_mapped: bool | None
    physical: int | None
    permissions: str | None
    events: tuple[int, ...]


class Replay:
    """The events between two moments, in order, applied to the objects of the first."""

    def __init__(self, before: Moment, after: Moment, events: Sequence[Event]) -> None:
        self.before = before
        self.after = after
        self.of_kind: dict[str, list[Event]] = defaultdict(list)
        self.of_task: dict[int, list[Event]] = defaultdict(list)
        self.discarded: set[int] = set()
        """The lazy ranges that were discarded, by their first address."""
        self._of_stack: dict[int, list[Event]] = defaultdict(list)
        self._of_page: dict[int, list[Event]] = defaultdict(list)
        self._moves: dict[int, list[Event]] = defaultdict(list)
        self._stacks: dict[int, StackState] = {}
        self._covering: dict[int, list[Event]] = {}
        self._rows = {row[0]: row for row in before.lazy.pages.rows}
        self._rows_after = {row[0]: row for row in after.lazy.pages.rows}
        self._discards: dict[int, int | None] = {}
        stack_of = {stack.owner: stack.id for stack in before.stacks.active}
        for event in events:
            self._sort(event, stack_of)
        self._reservations = [*self.of_kind["LazyReserve"], *self.of_kind["LazyRelease"]]
        self._edges = sorted({edge for event in self._reservations for edge in _range(event)})
        self._ranges = sorted(
            (pages.rows[0][0], pages.rows[-1][0] + PAGE_BYTES, pages)
            for one in after.lazy.ranges or ()
            if len(pages := after.lazy.pages_of(one)) and pages.rows[0][0] and pages.rows[-1][0]
        )
        self._stack_places = _stack_places(before, after)

    def _sort(self, event: Event, stack_of: dict[int | None, int | None]) -> None:
        kind, first = event.kind or "", event.first or 0
        self.of_kind[kind].append(event)
        if kind in ("TaskStarted", "TaskEnded"):
            self.of_task[first].append(event)
            if kind == "TaskStarted":
                stack_of[first] = event.second
            stack = stack_of.get(first)
            if stack is not None:
                self._of_stack[stack].append(event)
            if kind == "TaskEnded":
                stack_of.pop(first, None)
        elif kind in ("StackGrowth", "StackShrink"):
            self._of_stack[first].append(event)
        elif kind in _OF_PAGES:
            self._of_page[first & -PAGE_BYTES].append(event)
        elif kind in ("PageMoved", "TableMoved"):
            self._moves[first].append(event)

    def stack(self, number: int) -> StackState:
        """What the events make of the stack with an ID."""
        if number not in self._stacks:
            self._stacks[number] = self._stack(number)
        return self._stacks[number]

    def _stack(self, number: int) -> StackState:
        known = next((stack for stack in self.before.stacks.stacks if stack.id == number), None)
        active = bool(known and known.is_active)
        owner = known.owner if known else None
        pages = (known.current_size or 0) // PAGE_BYTES if known and active else 0
        steps = []
        for event in self._of_stack[number]:
            earlier = pages
            if event.kind == "TaskStarted":
                active, owner, earlier, pages = True, event.first, 0, 1
            elif event.kind == "TaskEnded":
                active, pages = False, 0
            else:
                change = event.second or 0
                pages = max(0, pages + (change if event.kind == "StackGrowth" else -change))
            steps.append(StackStep(event.sequence or 0, owner, earlier, pages))
        halfway = [
            event
            for event in self.of_kind["OutOfMemory"]
            if self.stack_at((event.first or 0) & -PAGE_BYTES) == number
        ]
        numbers = numbered([*self._of_stack[number], *halfway])
        return StackState(active, owner, pages, tuple(steps), numbers, not halfway)

    def stack_at(self, address: int) -> int | None:
        """The ID of the stack whose addresses contain a page: each ID has its own."""
        return next((number for start, end, number in self._stack_places if start <= address < end), None)

    def page(self, address: int) -> PageState:
        """What the events make of the lazy page at an address, or a discard if only that explains it."""
        expected, row = self._page(address, None), self._rows_after.get(address)
        if self._is(expected, row):
            return expected
        start, since = self._discard_of(address)
        if since is None:
            return expected
        discarded = self._page(address, since)
        if not self._is(discarded, row):
            return expected
        self.discarded.add(start)
        return discarded._replace(is_discarded=True)

    def _is(self, expected: PageState, row: tuple[Any, ...] | None) -> bool:
        """Whether a page of the later moment is as expected."""
        if row is None or expected.state is None:
            return row is None and expected.state is None
        physical = expected.physical
        return self.after.lazy.pages.state(row) == expected.state and physical in (None, row[1])

    def _page(self, address: int, since: int | None) -> PageState:
        """The page by its events; with `since`, from pending by those after that event."""
        row, own, at = self._rows.get(address), self.events_of_page(address), self.before.recorded
        state: str | None = None if row is None else self.before.lazy.pages.state(row)
        physical = None if row is None else row[1]
        if since is not None:
            state, physical, at = "pending", 0, since
            own = [event for event in own if (event.sequence or 0) > since]
        numbers: list[int] = []
        for event in own:
            sequence = event.sequence or 0
            numbers += self.moved(physical, at, sequence)[1]
            numbers.append(sequence)
            at = sequence
            state, physical = self._effect(event)
        physical, moves = self.moved(physical, at)
        return PageState(state, physical, (*numbers, *moves))

    def _effect(self, event: Event) -> tuple[str | None, int | None]:
        """State and frame of a page after an event of its own."""
        if event.kind == "LazyAllocate":
            return "allocated", event.second
        if event.kind in ("LazyZero", "LazyFold"):
            return "zero", self.before.lazy.zero_frame
        return ("pending", 0) if event.kind == "LazyReserve" else (None, None)

    def moved(
        self, physical: int | None, since: int, until: int | None = None
    ) -> tuple[int | None, list[int]]:
        """Where a frame's content is after the moves between two events, and the numbers of those moves."""
        numbers: list[int] = []
        while physical is not None:
            following = (
                event
                for event in self._moves.get(physical, ())
                if (event.sequence or 0) > since and (until is None or (event.sequence or 0) < until)
            )
            event = next(following, None)
            if event is None:
                break
            physical, since = event.second, event.sequence or 0
            numbers.append(since)
        return physical, numbers

    def events_of_page(self, address: int) -> list[Event]:
        """The events that name a lazy page, or reserve or release its range."""
        place = bisect_right(self._edges, address)
        if place not in self._covering:
            self._covering[place] = [
                event for event in self._reservations if _range(event)[0] <= address < _range(event)[1]
            ]
        found = [*self._of_page.get(address, ()), *self._covering[place]]
        return sorted(found, key=lambda event: event.sequence or 0)

    def _discard_of(self, address: int) -> tuple[int, int | None]:
        """The start of a page's range, and after which event it was discarded; None if it was not.

        A discard makes all pages of a range pending. So each page that is not must have an event after it.
        """
        for start, end, pages in self._ranges:
            if start <= address < end:
                if start not in self._discards:
                    self._discards[start] = self._discarded_after(pages)
                return start, self._discards[start]
        return 0, None

    def _discarded_after(self, pages: LazyTable) -> int | None:
        least, most = self.before.recorded, self.after.recorded + 1
        for row in pages.rows:
            own = self.events_of_page(row[0])
            if pages.state(row) == "pending":
                least = max(least, own[-1].sequence or 0) if own else least
            else:
                uses = [event.sequence or 0 for event in own if event.kind in _FIRST_USES]
                most = min(most, uses[-1] if uses else 0)
        return least if least < most else None

    def mapping(self, space: int, address: int) -> MappedState:
        """What the events make of a page of an address space; of others than its own, nothing is mapped."""
        stack = self.stack_at(address)
        if stack is not None:
            return self._stack_mapping(stack, space, address)
        row, row_after = self._rows.get(address), self._rows_after.get(address)
        if row is not None or row_after is not None or self.events_of_page(address):
            return self._lazy_mapping(row_after, space, address)
        tasks = self.of_task.get(space)
        if not tasks:
            return self._moved_mapping(space, address)
        ranges = self.after.task_ranges
        may_be = not ranges or any(start <= address < end for start, end in ranges)
        is_mapped = None if may_be and tasks[-1].kind == "TaskStarted" else False
        return MappedState(is_mapped, None, None, numbered(tasks))

    def _moved_mapping(self, space: int, address: int) -> MappedState:
        """A page that was at most moved to another frame: its permissions are as before."""
        map_before = self.before.maps.get(space)
        leaf = map_before.pages.get(address) if map_before else None
        physical, moves = self.moved(leaf.physical if leaf else None, self.before.recorded)
        permissions = el0(self.before, map_before, address) if leaf else None
        return MappedState(leaf is not None, physical, permissions, tuple(moves))

    def _stack_mapping(self, number: int, space: int, address: int) -> MappedState:
        stack = self.stack(number)
        base = next(end for _, end, one in self._stack_places if one == number)
        page = (base - address) // PAGE_BYTES - 1
        if not stack.is_exact:
            now = next((one for one in self.after.stacks.active if one.id == number), None)
            size = (now.current_size or 0) if now is not None and now.owner == space else 0
            return MappedState(page < size // PAGE_BYTES, None, None, stack.events)
        steps = [step for step in stack.steps if step.owner == space and step.concerns(page)]
        if not steps:
            return self._moved_mapping(space, address)
        numbers = tuple(step.sequence for step in steps)
        return MappedState(page < steps[-1].pages_after, None, "rw-", numbers)

    def _lazy_mapping(self, row: tuple[Any, ...] | None, space: int, address: int) -> MappedState:
        page = self.page(address)
        if row is None or row[4] != space:
            return MappedState(False, None, None, page.events or numbered(self.of_task.get(space, ())))
        if page.state == "allocated":
            return MappedState(True, page.physical, "rw-", page.events)
        if page.state == "zero":
            return MappedState(True, page.physical, "r--", page.events)
        return MappedState(False, None, None, page.events)


def numbered(events: Iterable[Event]) -> tuple[int, ...]:
    """The numbers of events, ascending."""
    return tuple(sorted(event.sequence or 0 for event in events))


def el0(moment: Moment, space: SpaceMap | None, address: int) -> str | None:
    """What EL0 may do at a mapped page; None if it is not mapped, or the regime is not known."""
    from gdbplugin.aarch64.maps import leaf_attributes

    leaf = space.pages.get(address) if space is not None else None
    if leaf is None or moment.regime is None:
        return None
    return str(leaf_attributes(moment.regime, leaf.start, leaf.descriptor, leaf.inherited).el0)


def _range(event: Event) -> tuple[int, int]:
    """The addresses of the lazy range of an event."""
    start = event.first or 0
    return start, start + (event.second or 0) * PAGE_BYTES


def _stack_places(before: Moment, after: Moment) -> list[tuple[int, int, int]]:
    """Start, exclusive end and ID of the addresses of each stack of either moment, with its guard page."""
    found: dict[int, tuple[int, int]] = {}
    for stack in (*before.stacks.stacks, *after.stacks.stacks):
        base, guard = stack.base_address, stack.guard_address
        if stack.id is not None and base and guard and guard < base:
            known = found.get(stack.id, (guard, base))
            found[stack.id] = min(guard, known[0]), max(base, known[1])
    return [(start, end, number) for number, (start, end) in sorted(found.items())]
