"""The lazy pages that pass filters, or one page with its walk in the translation tables."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.walk import Translation, translate
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import Clock, Timed, read_clock
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy import LazyPages, LazyRange, read_lazy_pages
from gdbplugin.kernel.lazy_table import PAGE_BYTES, LazyPage, LazyTable
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Tasks, read_tasks
from gdbplugin.kernel.variations import SPACES
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.aarch64.walk import Fault, Level
    from gdbplugin.kernel.lazy_table import PageState


@dataclass(frozen=True)
class LazyPageDetail:
    """One page: its record, its range, and the table walk for its address.

    The walk is in the owner's tables, and None if the owner has no active address space. In a kernel without
    address spaces it is in the current tables; only then does `permissions` have the permissions by exception
    level.
    """

    json_fields = ("page", "record", "range", "output", "levels", "fault")
    json_merged = ("page",)

    page: LazyPage
    record: int
    """Number of its record."""
    range: LazyRange | None
    """The range that it was reserved with."""
    translation: Translation | None
    permissions: dict[str, str] | None = None

    @property
    def state(self) -> PageState:
        """The state of the page."""
        return self.page.state

    @property
    def output(self) -> int | None:
        """Physical address that ADDRESS translates to; null if it is not mapped."""
        return None if self.translation is None else self.translation.output

    @property
    def levels(self) -> tuple[Level, ...]:
        """The walk to the page's descriptor, level by level."""
        return () if self.translation is None else self.translation.levels

    @property
    def fault(self) -> Fault | None:
        """Why an access would fault; null if it would not."""
        return None if self.translation is None else self.translation.fault

    @property
    def other_frame(self) -> int | None:
        """The frame in the record, if the tables map the page to another one."""
        output, frame = self.output, self.page.physical_address
        if self.state == "pending" or output is None or frame is None:
            return None
        return None if output // PAGE_BYTES == frame // PAGE_BYTES else frame


@dataclass(frozen=True)
class LazyList(Diagnosed, Timed):
    """The lazy page allocator, and the pages that pass the filters.

    `selected` are those pages; at most `limit` of them are shown, or all if it is None. `ranges` are the
    reserved ranges that have such pages; `lazy` has all ranges and pages.
    """

    json_fields = ("lazy", "matching", "pages", "page", "time")

    lazy: LazyPages
    """The lazy page allocator."""
    ranges: tuple[LazyRange, ...]
    selected: LazyTable
    limit: int | None
    scheduler: Tasks | None
    clock: Clock
    page: LazyPageDetail | None
    """With ADDRESS: that page; null without."""

    @property
    def matching(self) -> int:
        """Number of pages that pass the filters."""
        return len(self.selected)

    @property
    def pages(self) -> LazyTable:
        """The pages that pass the filters, at most as many as --limit says; ascending."""
        return self.selected[: self.limit]

    def __iter__(self) -> Iterator[LazyPage]:
        return iter(self.selected)

    def __len__(self) -> int:
        return len(self.selected)


def read_lazy_list(
    kernel: Kernel,
    address: int | None = None,
    state: str | None = None,
    asid: int | None = None,
    limit: int | None = None,
) -> LazyList:
    """Decode the lazy pages, those of a state or of the address space with an ASID, or the one at `address`.

    Raises `SelectionError` if no active address space has that ASID, if there is no lazy page at `address`,
    and for a filter together with `address`.
    """
    kernel.note_change()
    for name, given in (("--state", state), ("--asid", asid)):
        if address is not None and given is not None:
            raise SelectionError(f"{name} cannot be given with an ADDRESS, which selects one page")
    lazy, matching = read_lazy_pages(kernel), None
    if asid is not None:
        spaces = read_spaces(kernel).by_asid
        if asid not in spaces:
            known = ", ".join(map(str, sorted(spaces))) or "none"
            raise SelectionError(f"no address space with ASID {asid} (known: {known})")
        matching = lazy.pages.where(owners={spaces[asid].number})
    if state is not None:
        matching = (lazy.pages if matching is None else matching).where(state=state)
    detail = None if address is None else _detail(kernel, lazy, address)
    if detail is not None:
        place = lazy.pages.records.index(detail.record)
        matching = lazy.pages[place : place + 1]
    chosen, ranges = lazy.pages, lazy.ranges or ()
    if matching is not None:
        chosen = matching
        records = set(matching.records)
        ranges = tuple(entry for entry in ranges if not records.isdisjoint(lazy.pages_of(entry).records))
    return LazyList(
        replace(lazy, selected=chosen),
        ranges,
        chosen,
        limit,
        read_tasks(kernel),
        read_clock(kernel),
        detail,
        diagnostics=kernel.diagnostics,
    )


def _detail(kernel: Kernel, lazy: LazyPages, address: int) -> LazyPageDetail:
    """The page that contains an address; raises `SelectionError` if there is none."""
    start = address - address % PAGE_BYTES
    place = next((index for index, row in enumerate(lazy.pages.rows) if row[0] == start), None)
    if place is None:
        raise SelectionError(f"no lazy page is reserved at {address:#x}")
    page, record = lazy.pages[place], lazy.pages.records[place]
    reserved = next(
        (
            entry
            for entry in lazy.ranges or ()
            if entry.first is not None
            and entry.pages is not None
            and entry.first <= record < entry.first + entry.pages
        ),
        None,
    )
    return LazyPageDetail(page, record, reserved, *_walk(kernel, page, address))


def _walk(kernel: Kernel, page: LazyPage, address: int) -> tuple[Translation | None, dict[str, str] | None]:
    """The walk in the tables of the page's owner, and None; see `LazyPageDetail`.

    In a kernel without address spaces: the walk in the current tables, and the permissions there.
    """
    spaces = kernel.without_missing_notes(lambda: read_spaces(kernel), SPACES)
    if spaces.spaces is None and not kernel.has_debugger_interface:
        regime = kernel.regime
        if not regime.enabled:
            return None, None
        walk = translate(kernel.machine, regime, address)
        if walk.attributes is None:
            return walk, None
        return walk, permissions_by_level(regime.levels, walk.attributes)
    space = spaces.of(page.owner)
    if space is None or space.table is None:
        return None, None
    regime = kernel.regime.with_lower_table(space.table, space.asid)
    return translate(kernel.machine, regime, address), None


def offered_asids(target: Target) -> list[int]:
    """The ASIDs of the active address spaces, for completion."""
    if target.kernel is None:
        return []
    return sorted(read_spaces(target.kernel).by_asid)
