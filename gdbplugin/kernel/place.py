"""What is at one address: the records that `tinyos where` and `tinyos search` show."""

from __future__ import annotations

from gdbplugin.kernel.memory_objects import Description
from gdbplugin.kernel.owned_ranges import Mapping
from gdbplugin.kernel.physical_map import PhysicalRange
from gdbplugin.kernel.translate import AddressTranslation, ExplainedLevel
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.lazy_table import PageState

PLAIN_KINDS = ("linear map", None)
"""The kinds of objects that say nothing of what is in the memory."""


@dataclass(frozen=True)
class StackPlace:
    """The dynamic stack that an address is in: its mapped part, its reserve, its guard page."""

    id: int | None
    """ID of the stack."""
    task: int | None
    """The task that it belongs to; of an ended stack, the last one."""
    task_name: str | None
    """The task's name; null if it is not known."""
    base_address: int
    """Virtual address one past its highest byte."""
    current_size: int | None
    """Bytes mapped below the base."""
    below_base: int
    """Bytes from the address to the base."""
    stack_pointer: int | None
    """Its stack pointer: of the core that runs its task, else as the kernel last recorded it."""
    core: int | None
    """The core that runs its task; null if none does."""

    @property
    def in_use(self) -> bool | None:
        """Whether the address is at or above the stack pointer; null if that is not in the stack."""
        pointer, base = self.stack_pointer, self.base_address
        if pointer is None or self.current_size is None or not base - self.current_size <= pointer <= base:
            return None
        return base - self.below_base >= pointer


@dataclass(frozen=True)
class LazyPlace:
    """The lazy page that an address is in."""

    virtual_address: int
    """Virtual address of its first byte."""
    state: PageState
    """Pending, zero or allocated, from its record; corrupt if its flags contradict each other."""
    record: int | None
    """Number of its record; null in a kernel that does not export the range of its lazy pages."""
    physical_address: int | None
    """The frame in the record; 0 while it is pending."""
    owner: int | None
    """The task that reserved it."""
    owner_name: str | None
    """The task's name; null if it is not known."""
    access_count: int | None
    """Number of faults and hits there, as in the record."""


@dataclass(frozen=True)
class FramePlace:
    """The frame of the kernel's pool that a physical address is in."""

    number: int
    """Its number in the pool."""
    address: int
    """Physical address of its first byte."""
    use: str | None
    """Its use by the reverse map: Free, Table, LazyPage, Stack, ...; null if it is not known."""
    owner: int | None
    """The task that owns it; 0 or null if there is none."""
    owner_name: str | None
    """The task's name; null if it is not known."""
    virtual_address: int | None
    """Where the reverse map says that it is mapped; of a table, the first address that it translates."""
    text: str
    """Its use in words."""


@dataclass(frozen=True)
class TablePlace:
    """The translation table that a physical address is in, and the descriptor there."""

    json_fields = ("explained", "input", "name as register", "asid", "task")
    json_merged = ("explained",)

    explained: ExplainedLevel
    """The descriptor and its meaning."""
    input: int
    """The first input address that the descriptor translates."""
    asid: int | None
    """The ASID of the address space; null if its entries are global."""
    task: int | None
    """The task that the address space belongs to; null if there is none or it is not known."""

    @property
    def name(self) -> str:
        """The range of input addresses that the table belongs to, as TTBR0_EL1."""
        return self.explained.control.name


@dataclass(frozen=True)
class Place:
    """Everything known of one address. What does not apply is null."""

    json_fields = (
        "address",
        "physical",
        "text",
        "region",
        "other",
        "section",
        "field",
        "stack",
        "lazy",
        "frame",
        "table",
        "memory",
        "device",
        "translation",
        "aliases",
        "alias_count",
    )

    address: int | None
    """The virtual address; for a physical one, the most telling address at which it is mapped."""
    physical: int | None
    """The physical address; null if the tables map none."""
    region: Description | None
    """What is there by the kernel's records or the program's sections, with the symbol."""
    other: Description | None
    """Where that is only a map of all memory: what is at the most telling other address of the memory."""
    section: str | None
    """The section of the program."""
    field: str | None
    """The field of a static of the kernel, by its path."""
    stack: StackPlace | None
    """The dynamic stack."""
    lazy: LazyPlace | None
    """The lazy page."""
    frame: FramePlace | None
    """The frame of the kernel's pool, and its use."""
    table: TablePlace | None
    """The translation table that is there, and the descriptor."""
    memory: PhysicalRange | None
    """QEMU's range of physical memory; null if nothing is there, or the map is not known."""
    has_map: bool
    translation: AddressTranslation | None
    """The walk of the tables; null if a physical address was asked for."""
    aliases: tuple[Mapping, ...]
    """Where the known address spaces map the physical address, the first 100."""
    alias_count: int
    """Number of all of them."""

    @property
    def device(self) -> str | None:
        """QEMU's name of the device there."""
        return None if self.memory is None or self.memory.is_memory else self.memory.name

    @property
    def text(self) -> str:
        """All of it in one sentence."""
        region, parts = self.region, []
        is_plain = region is None or (region.kind in PLAIN_KINDS and not region.symbol)
        if self.table is not None:
            explained, step = self.table.explained, self.table.explained.step
            parts.append(
                f"entry {step.index} of a level {step.level} table of {self.table.name}, for "
                f"{self.table.input:#x}: {explained.meaning}"
            )
        elif self.frame is not None and is_plain:
            parts.append(f"frame {self.frame.number:,}, {self.frame.text}")
        if self.device is not None:
            parts.append(f"device {self.device}")
        if self.other is not None and self.other.kind not in PLAIN_KINDS:
            parts.append(f"{self._with_field(self.other)}, at {self.other.address:#x}")
        if region is not None and (not parts or not (is_plain or self.device)):
            parts.append(self._with_field(region))
        return "; ".join(parts) or self._unknown

    def _with_field(self, there: Description) -> str:
        """What is there; a field says more than the symbol and an offset."""
        return f"{there.name}: {self.field}" if self.field and there.name else there.text

    @property
    def _unknown(self) -> str:
        if self.has_map and self.memory is None:
            return "nothing: there is no memory"
        return "memory that no known table maps" if self.memory is not None else "nothing is known about it"
