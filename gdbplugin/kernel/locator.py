"""Tells what addresses are, by the kernel's records, the tables and the memory map; each is read once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from gdbplugin.aarch64.maps import Bounds
from gdbplugin.aarch64.regime import RegimeUnknownError
from gdbplugin.aarch64.tables import Table
from gdbplugin.aarch64.walk import level_of, translate
from gdbplugin.kernel.frame_use import read_frame_place
from gdbplugin.kernel.interface import LAZY_PAGES, range_of
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import find_lazy_page
from gdbplugin.kernel.lazy_table import PAGE_BYTES, page_state
from gdbplugin.kernel.maps import KnownSpace, MapReader, Wanted, chosen_spaces, objects_of
from gdbplugin.kernel.memory_objects import Description, MemoryObjects, describe
from gdbplugin.kernel.owned_ranges import Mapping, OwnedRange
from gdbplugin.kernel.place import PLAIN_KINDS, FramePlace, LazyPlace, Place, StackPlace, TablePlace
from gdbplugin.kernel.selection import Selection, View, choose
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.stacks import DynamicStack, RunningStack, Stacks, read_running, read_stacks
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Names, read_tasks, task_names
from gdbplugin.kernel.translate import AddressTranslation, ExplainedLevel, translate_in
from gdbplugin.layout.fields import leaves
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError, MachineGoneError, PhysicalReadError
from gdbplugin.records import NamedTuple, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _Found = TypeVar("_Found")

PLAIN_OWNERS = ("", "linear map", "identity map")
"""The owners of mapped ranges that say nothing of what is in the memory."""
_MOST_ALIASES = 100
_STACK_KINDS = ("stack", "stack reserve", "guard", "ended stack")


class _Index(NamedTuple):
    """Everything that the known address spaces map, and their tables."""

    ranges: list[tuple[KnownSpace, OwnedRange]]
    tables: list[tuple[int, int, KnownSpace, Table]]
    """Physical address, size in bytes, and the table, by address."""


class Locator:
    """Tells what addresses are. What several addresses need is read once."""

    def __init__(self, target: Target, selection: Selection) -> None:
        """Raises `SelectionError`."""
        self._target = target
        self._selection = selection
        self._is_selected = selection != Selection(core=selection.core)
        self.bounds = Bounds()
        """How much more of the tables may be read."""
        self._kernel = target.kernel
        self._symbols = target.symbols
        self._unknown: RegimeUnknownError | None = None
        self.known_view: View | None = None
        """How virtual addresses are translated; None if that is not known."""
        try:
            self.known_view = choose(target, selection)
        except RegimeUnknownError as error:
            self._unknown = error

    @property
    def view(self) -> View:
        """How virtual addresses are translated; raises `RegimeUnknownError` if that is not known."""
        if self.known_view is None:
            assert self._unknown is not None
            raise self._unknown
        return self.known_view

    def virtual(self, address: int) -> Place:
        """What is at a virtual address. Raises as `view` does."""
        translation = translate_in(self.view_for(address), address, self._target.diagnostics)
        return self._place(address, translation.mapped_to, translation)

    def mapped(self, address: int, physical: int) -> Place:
        """What is at a virtual address that some address space maps to a physical one."""
        return self._place(address, physical, None)

    def physical(self, physical: int) -> Place:
        """What is at a physical address."""
        if self.known_view is None and self._unknown is not None:
            self._target.diagnostics.add_note(f"where it is mapped is not known: {self._unknown}")
        view = self.known_view
        is_identity = view is not None and not view.regime.enabled
        return self._place(physical if is_identity else None, physical, None)

    @cached_property
    def objects(self) -> MemoryObjects:
        """What is on record at virtual addresses."""
        if self.known_view is not None and self.known_view.regime.stage == 2:
            return MemoryObjects(())
        return objects_of(self._target, self._symbols)

    @cached_property
    def index(self) -> _Index:
        """The ranges and tables of all known address spaces; empty where nothing is translated."""
        view = self.known_view
        if view is None or not view.regime.enabled:
            return _Index([], [])
        reader = MapReader(view, self.objects, Wanted(), self.bounds)
        ranges: list[tuple[KnownSpace, OwnedRange]] = []
        tables: list[tuple[int, int, KnownSpace, Table]] = []
        for space in self._spaces:
            before = len(reader.tables)
            ranges += [(space, found) for found in reader.ranges(space)]
            tables += [
                (table.address, space.control.table_bytes(table.level), space, table)
                for table in reader.tables[before:]
            ]
        if reader.stopped_at is not None:
            self._target.diagnostics.add_note(
                f"not all tables were read: at most {reader.limit} are read at once, as tables may lead back "
                "to themselves"
            )
        tables.sort(key=lambda entry: entry[0])
        return _Index(ranges, tables)

    def note_empty_stack(self, register: str, pointer: int) -> None:
        """Note that a stack pointer is one past its stack, where something else may begin."""
        here, below = self.objects.at(pointer), self.objects.at(pointer - 1)
        if below is not None and below is not here and below.kind in ("stack", "kernel"):
            self._target.diagnostics.add_note(f"{register} is at the end of {below.name}, which is empty")

    @cached_property
    def _spaces(self) -> list[KnownSpace]:
        return chosen_spaces(self._target, self.view, self._selection)

    def view_for(self, address: int) -> View:
        """The selected translation, or that of the task whose address it is, if nothing was selected."""
        view = self.view
        regime = view.regime
        if self._is_selected or not regime.enabled or regime.second_stage or regime.control(address).upper:
            return view
        if translate(view.machine, regime, address).output is not None:
            return view
        here = self.objects.at(address)
        owner = None if here is None else here.task
        mapped = (space for space, found in self.index.ranges if found.start <= address < found.end)
        owned = (space for space in self._spaces if owner is not None and space.task == owner)
        space = next(mapped, None) or next(owned, None)
        if space is None or space.control.upper or space.control == regime.lower:
            return view
        table = space.control.root_address | (space.asid or 0) << 48
        return replace(choose(self._target, replace(self._selection, ttbr=table)), task=space.task)

    def _place(
        self, address: int | None, physical: int | None, translation: AddressTranslation | None
    ) -> Place:
        aliases = list(self._aliases(physical, translation))
        if address is None:
            address = _most_telling(aliases)
        region = None if address is None else self._describe(address)
        other = None
        if region is not None and region.kind in PLAIN_KINDS:
            telling = _most_telling(aliases)
            other = None if telling in (None, address) else self._describe(telling or 0)
        named = region if other is None else other
        memory_map = self._target.memory_map
        return Place(
            address=address,
            physical=physical,
            region=region,
            other=other,
            section=None if address is None else self._section(address),
            field=None if named is None else self._field(named),
            stack=self._attempt(lambda _: self._stack(address, region)),
            lazy=self._attempt(lambda kernel: self._lazy(kernel, address, region)),
            frame=self._attempt(lambda kernel: self._frame(kernel, physical)),
            table=None if physical is None else self._table(physical),
            memory=None if physical is None else memory_map.at(physical),
            has_map=bool(memory_map.ranges),
            translation=translation,
            aliases=tuple(aliases[:_MOST_ALIASES]),
            alias_count=len(aliases),
        )

    def _aliases(self, physical: int | None, translation: AddressTranslation | None) -> Iterator[Mapping]:
        """The mappings of a physical address; under a hypervisor, of the intermediate one."""
        view = self.known_view
        if view is not None and view.regime.second_stage and view.regime.stage == 1:
            stage2 = None if translation is None else translation.walk.stage2
            physical = None if stage2 is None else stage2.input
        if physical is None:
            return
        for _, found in self.index.ranges:
            for part in found.containing(physical):
                yield from part.mappings()

    def _describe(self, address: int) -> Description:
        found = self._attempt(lambda kernel: describe(address, self.objects, self._symbols, kernel))
        return found or describe(address, self.objects, self._symbols, None)

    @cached_property
    def _sections(self) -> list[tuple[int, int, str]]:
        return sorted(self._symbols.sections())

    def _section(self, address: int) -> str | None:
        return next((name for start, end, name in self._sections if start <= address < end), None)

    def _field(self, there: Description) -> str | None:
        """The field of a static that the kernel's debug information describes."""
        if there.symbol is None or self._kernel is None:
            return None
        # In another kernel of the design, the manager has another name.
        for name in (there.symbol.partition(" + ")[0], MANAGER):
            try:
                static = self._kernel.layout.static(name)
            except (LayoutError, MachineError):
                continue  # Then nobody knows its fields.
            offset = 0 if static is None else there.address - static.address
            if static is not None and 0 <= offset < static.type.size:
                path = next((path for path, _, _ in leaves(static.type, offset, offset + 1)), "")
                return f"{static.name.rpartition('::')[2]}{path.removeprefix('.value')}" if path else None
        return None

    @cached_property
    def _names(self) -> Names:
        kernel = self._kernel
        if kernel is None:
            return {}
        return task_names(kernel.without_missing_notes(lambda: read_tasks(kernel)))

    @cached_property
    def _stacks(self) -> Stacks:
        kernel = self._kernel
        assert kernel is not None
        return kernel.without_missing_notes(lambda: read_stacks(kernel))

    @cached_property
    def _stacks_by_id(self) -> dict[int | None, DynamicStack]:
        return {stack.id: stack for stack in self._stacks.stacks}

    @cached_property
    def _running(self) -> dict[int, RunningStack]:
        kernel = self._kernel
        assert kernel is not None
        spaces = kernel.without_missing_notes(lambda: read_spaces(kernel))
        return {one.stack: one for one in read_running(kernel, self._stacks, spaces)}

    def _stack(self, address: int | None, region: Description | None) -> StackPlace | None:
        if address is None or region is None or region.kind not in _STACK_KINDS or region.number is None:
            return None
        stack = self._stacks_by_id.get(region.number)
        if stack is None or stack.base_address is None:
            return None
        live = self._running.get(region.number)
        return StackPlace(
            id=stack.id,
            task=stack.owner,
            task_name=self._names.get(stack.owner),
            base_address=stack.base_address,
            current_size=stack.current_size if stack.is_active else 0,
            below_base=stack.base_address - address,
            stack_pointer=stack.stack_pointer if live is None else live.stack_pointer,
            core=None if live is None else live.core,
        )

    def _lazy(self, kernel: Kernel, address: int | None, region: Description | None) -> LazyPlace | None:
        if address is None or region is None or region.kind not in ("lazy range", "lazy page"):
            return None
        page = find_lazy_page(kernel, address, region.task)
        if page is None:
            return None
        first = range_of(kernel, LAZY_PAGES) if kernel.has_debugger_interface else None
        is_own = kernel.has_debugger_interface
        return LazyPlace(
            virtual_address=address & -PAGE_BYTES,
            state=page_state(page.physical_address, page.is_allocated, page.is_zero_page, is_own),
            record=None if first is None else (address - first.start) // PAGE_BYTES,
            physical_address=page.physical_address,
            owner=page.owner,
            owner_name=self._names.get(page.owner),
            access_count=page.access_count,
        )

    def _frame(self, kernel: Kernel, physical: int | None) -> FramePlace | None:
        if physical is None:
            return None
        return read_frame_place(kernel, physical, lambda: self._stacks_by_id, lambda: self._names)

    def _table(self, physical: int) -> TablePlace | None:
        view = self.known_view
        if view is None or view.regime.second_stage:
            return None  # Where the tables are is known by their intermediate addresses only.
        tables = self.index.tables
        index = bisect_right(tables, physical, key=lambda entry: entry[0]) - 1
        if index < 0:
            return None
        address, size, space, table = tables[index]
        if physical >= address + size:
            return None
        number = (physical - address) // 8
        try:
            data = view.machine.read_physical(address + 8 * number, 8)
        except PhysicalReadError:
            return None  # The index was read from it: the machine is gone, which the next read says.
        control = space.control
        descriptor = int.from_bytes(data, control.byte_order)
        explained = ExplainedLevel(level_of(control, table.level, address, number, descriptor), control)
        start = table.start + (number << control.shift(table.level))
        return TablePlace(explained, start, None if control.upper else space.asid, space.task)

    def _attempt(self, read: Callable[[Kernel], _Found]) -> _Found | None:
        """What `read` returns of TinyOS's records; if they cannot be read, a note and None."""
        kernel = self._kernel
        if kernel is None:
            return None
        try:
            return read(kernel)
        except MachineGoneError:
            raise
        except (MachineError, LayoutError) as error:
            self._target.diagnostics.add_note(f"TinyOS's records could not be read: {error}")
            return None


def _most_telling(aliases: list[Mapping]) -> int | None:
    """The address of the mapping that says most of what is there: not that of a map of all memory."""
    telling = (one.alias for one in aliases if one.owner not in PLAIN_OWNERS)
    return next(telling, aliases[0].alias if aliases else None)
