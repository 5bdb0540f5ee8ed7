"""The objects whose history can be asked for, and which records are about them."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.interface import LAZY_PAGES, range_of
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.kernel.selection import Selection, choose
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.stacks import read_stacks
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import find_task, read_tasks
from gdbplugin.machine import SelectionError
from gdbplugin.recording.instructions import Invalidation
from gdbplugin.recording.naming import Object, find_object
from gdbplugin.recording.ring import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PAGE = 4096
_OUTPUT = (1 << 48) - _PAGE
_LAST_LEVEL = 3
_WORD = 8
_KIND, _BLOCK = 3, 1
"""The low bits of a descriptor that say what it is, and what they are in a block's."""


class Subject:
    """An object in memory: ranges that have its records, ranges of input addresses, or frames.

    `objects` are its physical ranges (start, end). `inputs` are the input addresses (start, end) whose
    translation it is, in the address spaces of `roots` (None: any), which has the number of the space of each
    root table. `frame` is the physical address of a page
    that descriptors may map.
    """

    def __init__(
        self,
        name: str,
        objects: Sequence[tuple[int, int]] = (),
        inputs: tuple[int, int] | None = None,
        roots: dict[int, int] | None = None,
        asids: frozenset[int] | None = None,
        frame: int | None = None,
        stack: int | None = None,
        without: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._objects = objects
        self._inputs = inputs
        self._roots = roots
        self._spaces = frozenset(roots.values()) if roots is not None else frozenset()
        self._asids = asids
        self._frame = frame
        self._stack = stack
        self._without = without

    def replace_root(self, space: int, old: int, new: int) -> None:
        """The root table of an address space is another one from here on."""
        if self._roots is not None and space in self._spaces:
            self._roots.pop(old, None)
            self._roots[new] = space

    @property
    def wants_events(self) -> bool:
        """Whether the kernel's events may be about it."""
        return self._inputs is not None or self._frame is not None or self._stack is not None

    def may_have(self, fields: Sequence[Any]) -> bool:
        """Whether a store may be about it, by the fields of its record: fast."""
        physical, old, new, first, root = fields[3], fields[4], fields[5], fields[7], fields[8]
        if any(start < physical + _WORD and physical < end for start, end in self._objects):
            return True
        level = fields[12] - 1
        if level < 0:
            return False
        is_leaf = level == _LAST_LEVEL or _BLOCK in (old & _KIND, new & _KIND)
        if self._frame is not None and is_leaf:
            return any(word & 1 and word & _OUTPUT == self._frame for word in (old, new))
        if self._inputs is None:
            return False
        last = first + (_PAGE << 9 * (_LAST_LEVEL - level))
        if not (self._inputs[0] < last and first < self._inputs[1]):
            return False
        # Tables lead to many pages: those of all spaces would be too many.
        return is_leaf if self._roots is None else root in self._roots

    def has_store(self, record: Record) -> bool:
        """Whether a store is about it."""
        start, end = record.physical, record.physical + record.size
        if any(first < end and start < last for first, last in self._objects):
            return True
        return record.table_level is not None and self.may_have(record)

    def has_part(self, what: str) -> bool:
        """Whether a field that a store changed is shown."""
        return not any(part in what for part in self._without)

    def has_invalidation(self, code: int, operand: int) -> bool:
        """Whether a TLB invalidation is about it alone, not about all."""
        if self._inputs is None:
            return False
        found = Invalidation(code, operand)
        return found.address is not None and any(
            found.concerns(page, self._asids)
            for page in range(self._inputs[0] & ~(_PAGE - 1), self._inputs[1], _PAGE)
        )

    def has_event(self, event: Event) -> bool:
        """Whether an event of the kernel is about it."""
        if self._stack is not None and event.stack == self._stack:
            return True
        numbers = [number for number in (event.first, event.second) if number]
        if self._frame is not None and self._frame in numbers:
            return True
        if self._inputs is None or not (self._asids is None or event.asid in self._asids):
            return False
        return any(self._inputs[0] <= number < self._inputs[1] for number in numbers)


def choose_subject(
    target: Target,
    kernel: Kernel,
    address: int | None = None,
    page: int | None = None,
    asid: int | None = None,
    stack: int | None = None,
    frame: int | None = None,
    task: str | int | None = None,
) -> Subject:
    """The subject of exactly one of these: a virtual address, a page, a stack, a frame, a task.

    Raises `SelectionError`.
    """
    given = [one for one in (address, page, stack, frame, task) if one is not None]
    if len(given) != 1:
        raise SelectionError("give one of ADDRESS, --page, --stack, --physical, --task")
    if asid is not None and page is None:
        raise SelectionError("--asid goes with --page")
    if address is not None:
        return _of_address(target, kernel, address)
    if page is not None:
        return _of_page(kernel, page, asid)
    if stack is not None:
        return _of_stack(kernel, stack)
    if frame is not None:
        return _of_frame(kernel, frame)
    assert task is not None
    return _of_task(kernel, task)


def _of_address(target: Target, kernel: Kernel, address: int) -> Subject:
    view = choose(target, Selection())
    regime = view.regime if address >> 55 & 1 == 0 else kernel.regime
    found = translate(kernel.machine, regime, address)
    if found.output is None:
        reason = found.fault.title if found.fault is not None else "unknown"
        raise SelectionError(
            f"{address:#x} is not mapped here ({reason}): give --page or --physical, or select another space"
        )
    return Subject(f"{address:#x}", [(found.output, found.output + 8)])


def _of_page(kernel: Kernel, page: int, asid: int | None) -> Subject:
    page &= ~(_PAGE - 1)
    spaces = read_spaces(kernel).active
    roots, asids, name = None, None, f"page {page:#x}"
    if asid is not None:
        chosen = [space for space in spaces if space.asid == asid and space.table is not None]
        if not chosen:
            known = ", ".join(str(space.asid) for space in spaces if space.number)
            raise SelectionError(f"no address space with ASID {asid} (known: {known})")
        roots = {space.table: space.number for space in chosen if space.table is not None}
        asids = frozenset({asid})
        name += f", ASID {asid}"
    objects = []
    lazy = range_of(kernel, LAZY_PAGES)
    if lazy is not None and lazy.start <= page < lazy.end:
        record = find_object(kernel, MANAGER, "lazy_allocator.pages", (page - lazy.start) // _PAGE)
        objects = [record.places] if record is not None else []
    return Subject(name, objects, (page, page + _PAGE), roots, asids, without=(".access_count",))


def _of_stack(kernel: Kernel, number: int) -> Subject:
    stacks = read_stacks(kernel).stacks
    stack = next((one for one in stacks if one.id == number), None)
    if stack is None:
        known = ", ".join(str(one.id) for one in stacks) or "none"
        raise SelectionError(f"no stack with ID {number} (known: {known})")
    record = find_object(kernel, MANAGER, "stack_manager.stacks", number - 1)
    base, size = stack.base_address or 0, stack.max_size or 0
    return Subject(
        f"stack {number}",
        [record.places] if record is not None else [],
        (base - size, base),
        stack=number,
        without=(".stack_pointer", ".last_access_time"),
    )


def _of_frame(kernel: Kernel, frame: int) -> Subject:
    frame &= ~(_PAGE - 1)
    base = kernel.read_integer(MANAGER, "frames.base")
    record: Object | None = None
    if base is not None and frame >= base:
        record = find_object(kernel, MANAGER, "frames.info", (frame - base) // _PAGE)
    return Subject(f"frame {frame:#x}", [record.places] if record is not None else [], frame=frame)


def _of_task(kernel: Kernel, wanted: str | int) -> Subject:
    tasks = read_tasks(kernel)
    if tasks is None:
        raise SelectionError("this kernel has no tasks on record")
    task = find_task(tasks, wanted)
    record = find_object(kernel, SCHEDULER, "tasks", task.id or 0)
    space = find_object(kernel, MANAGER, "context_switcher.spaces", task.id or 0)
    objects = [one.places for one in (record, space) if one is not None]
    return Subject(
        f"task {task.id} ({task.name})", objects, without=(".context.", ".switch_count", ".run_time")
    )
