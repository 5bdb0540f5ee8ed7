"""The translation table walk of one address, and reads of virtual memory by it (DDI 0487, D8.2).

Under a hypervisor the output addresses of stage 1 and the addresses of its tables are intermediate physical
addresses, which stage 2 translates. A walk reads at most five levels; each read of a stage 1 descriptor then
takes a stage 2 walk. A malformed descriptor makes the walk end with a `Fault`; it raises no error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import (
    ACCESS_FLAG,
    LAST_LEVEL,
    NO_TRANSLATION,
    Attributes,
    Kind,
    attributes,
    inherit,
    kind_of,
)
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.registers import is_device, stage2_memory_type
from gdbplugin.machine import Machine, MachineError, PhysicalReadError, UnreadableMemoryError, prefetch
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    FaultKind = Literal[
        "translation", "address size", "access flag", "permission", "external abort", "unknown"
    ]

UNKNOWN: Literal["unknown"] = "unknown"
"""The kind of a `Fault` where a table could not be read: the processor may find no fault there."""
_PHYSICAL_MASK = (1 << 52) - 1


@dataclass(frozen=True)
class Level:
    """One step of a walk: the descriptor that was read, and where. Levels go from -1 to 3."""

    json_fields = ("level", "table", "index", "address", "descriptor", "kind")

    level: int
    """Level of the table."""
    table: int
    """Physical address of the table; at stage 1 of two stages, its intermediate physical address."""
    index: int
    """Index of the descriptor in the table."""
    descriptor: int
    """The descriptor's value."""
    kind: Kind
    """The kind of descriptor."""

    @property
    def address(self) -> int:
        """Physical address of the descriptor."""
        return self.table + 8 * self.index


def level_of(control: TranslationControl, level: int, table: int, index: int, descriptor: int) -> Level:
    """The step of a walk that reads a descriptor of a table."""
    return Level(level, table, index, descriptor, kind_of(descriptor, level, control.block_levels))


@dataclass(frozen=True)
class Fault:
    """Why an address has no translation: the architecture's kind of fault, its level, and the reason.

    The kind `unknown` means that a table could not be read here, though the processor may be able to.
    """

    kind: FaultKind
    """The kind of fault; unknown if a table could not be read here, so that there may be no fault."""
    level: int
    """Level of the table walk."""
    reason: str
    """Why, in words."""
    stage: Literal[1, 2] = 1
    """Stage of translation."""
    on_walk: bool = False
    """Whether it is a fault of stage 2 during a table walk of stage 1."""

    @property
    def title(self) -> str:
        """Its name: `translation fault`."""
        return "translation not known" if self.kind == UNKNOWN else f"{self.kind} fault"


@dataclass(frozen=True)
class Translation:
    """The outcome of one walk.

    `output` is the physical address, None if an access would fault. `no_translation` is a block's nT bit: the
    block is about to be replaced by a table. `attributes` is None if no leaf was found or the MMU is off.
    With two stages, `levels` and `attributes` are those of stage 1; `stage2` is the translation of stage 1's
    output by stage 2.
    """

    json_fields = ("input", "size", "contiguous_bytes")

    input: int
    """The input address; at stage 2 the intermediate physical address that stage 1 gave."""
    output: int | None
    size: int
    """Bytes that the leaf, or the invalid descriptor, spans; with two stages, the smaller of both."""
    levels: tuple[Level, ...] = ()
    attributes: Attributes | None = None
    fault: Fault | None = None
    contiguous_bytes: int | None = None
    """Bytes that a leaf with the contiguous bit spans together with its neighbours; null for others."""
    no_translation: bool = False
    stage2: Translation | None = None


def translate(machine: Machine, regime: TranslationRegime, address: int) -> Translation:
    """Translate one 64-bit input address, reading one descriptor per level.

    An access flag fault comes with the leaf's attributes, as software will only set the flag.
    `access.access_fault` checks the permissions. Raises only `MachineGoneError`.
    """
    stage1 = _translate_one_stage(table_memory(machine, regime), regime, address)
    if regime.stage2 is None or stage1.output is None:
        return stage1
    stage2 = _translate_one_stage(machine, regime.stage2, stage1.output)
    size = min(stage1.size, stage2.size)
    return replace(stage1, output=stage2.output, size=size, fault=stage2.fault, stage2=stage2)


def prefetch_walks(machine: Machine, walks: Iterable[tuple[TranslationControl, int]]) -> None:
    """Have a machine fetch the descriptors of many walks, (control, input address), that follow.

    It does so level by level: one transfer for all walks, in place of one for each. Raises only
    `MachineGoneError`.
    """
    pending = [
        (control, address, control.start_level, control.root_address)
        for control, address in walks
        if _no_walk_reason(control, address) is None
    ]
    while pending:
        places = [_descriptor_address(*walk) for walk in pending]
        prefetch(machine, [(place, 8) for place in places])
        following = []
        for (control, address, level, _), place in zip(pending, places, strict=True):
            try:
                data = machine.read_physical(place, 8)
            except PhysicalReadError:
                continue  # The walk itself reports it.
            descriptor = int.from_bytes(data, control.byte_order)
            if level < LAST_LEVEL and kind_of(descriptor, level, control.block_levels) is Kind.TABLE:
                table = control.output_address(descriptor, control.granule_bits)
                following.append((control, address, level + 1, table))
        pending = following


def _descriptor_address(control: TranslationControl, address: int, level: int, table: int) -> int:
    """Where a walk of `address` finds its descriptor in a table of `level`."""
    return table + 8 * (address >> control.shift(level) & (control.table_bytes(level) // 8 - 1))


def table_memory(machine: Machine, regime: TranslationRegime) -> Machine:
    """The machine to read a regime's tables from: under a stage 2, by intermediate physical address."""
    return machine if regime.stage2 is None else IntermediateMemory(machine, regime.stage2)


class UntranslatedAddressError(MachineError):
    """A virtual address to be read is not mapped, or its tables cannot be read."""

    def __init__(self, address: int, fault: Fault) -> None:
        what = "cannot be translated" if fault.kind == UNKNOWN else "is not mapped"
        super().__init__(f"{address:#x} {what}: {fault.title} at level {fault.level}, {fault.reason}")
        self.address = address
        self.fault = fault


class VirtualMemory:
    """Reads by virtual address in one regime of a machine."""

    def __init__(self, machine: Machine, regime: TranslationRegime) -> None:
        self.machine = machine
        self.regime = regime

    def physical_ranges(self, address: int, length: int) -> list[tuple[int, int]]:
        """The physical ranges (address, length) that a virtual range maps to; adjacent ones are joined.

        A long range takes one walk per level 3 table, and one read of the rest of that table.
        Raises `UntranslatedAddressError` at the first address that is not mapped.
        """
        found: list[tuple[int, int]] = []
        position, end = address, address + length
        while position < end:
            translation = translate(self.machine, self.regime, position)
            if translation.output is None:
                assert translation.fault is not None
                raise UntranslatedAddressError(position, translation.fault)
            here = min(end - position, translation.size - position % translation.size)
            _append(found, translation.output, here)
            position += here
            if position < end and translation.levels:
                for output, size in self._following_pages(position, translation.levels[-1]):
                    here = min(end - position, size)
                    _append(found, output, here)
                    position += here
                    if position == end:
                        break
        return found

    def _following_pages(self, address: int, leaf: Level) -> Iterator[tuple[int, int]]:
        """Output address and size of each page after a page, up to the first that is not simply mapped.

        `address` is the end of the page before, `leaf` the step of the walk that found that page.
        """
        control = self.regime.control(address)
        size = 1 << control.granule_bits
        count = control.table_bytes(LAST_LEVEL) // 8 - leaf.index - 1
        if leaf.level != LAST_LEVEL or count <= 0 or self.regime.stage2 is not None:
            return
        try:
            data = self.machine.read_physical(leaf.address + 8, 8 * count)
        except PhysicalReadError:
            return  # The walk of the next address reports the error.
        for place in range(0, len(data), 8):
            descriptor = int.from_bytes(data[place : place + 8], control.byte_order)
            usable = descriptor & ACCESS_FLAG or control.hardware_access_flag
            if kind_of(descriptor, LAST_LEVEL, control.block_levels) is not Kind.PAGE or not usable:
                return
            output = control.output_address(descriptor, control.granule_bits)
            if output >> control.output_bits:
                return
            yield output, size

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from virtual `address`, with one physical read for each physical range.

        Raises `UntranslatedAddressError`, or what the machine's own reads raise.
        """
        ranges = self.physical_ranges(address, length)
        return b"".join([self.machine.read_physical(start, size) for start, size in ranges])


def _append(ranges: list[tuple[int, int]], start: int, size: int) -> None:
    """Add a physical range, joined with the last one if they are adjacent."""
    if ranges and sum(ranges[-1]) == start:
        ranges[-1] = (ranges[-1][0], ranges[-1][1] + size)
    else:
        ranges.append((start, size))


def _translate_one_stage(machine: Machine, regime: TranslationRegime, address: int) -> Translation:
    if not regime.enabled:
        return _translate_without_mmu(regime, address)
    control = regime.control(address)
    reason = _no_walk_reason(control, address)
    if reason is not None:
        return Translation(address, None, 1, fault=Fault("translation", 0, reason, regime.stage))
    return _walk(machine, control, address)


def _translate_without_mmu(regime: TranslationRegime, address: int) -> Translation:
    """With the MMU off an address is its own output address, if it is not too wide (D8.2.1)."""
    top = 55 if regime.control(address).top_byte_ignored else 63
    if (address & ((2 << top) - 1)) >> regime.output_bits:
        reason = f"the MMU is off and the address has more than {regime.output_bits} bits"
        return Translation(address, None, 1, fault=Fault("address size", 0, reason))
    return Translation(address, address & _PHYSICAL_MASK, 1 << regime.output_bits)


def _no_walk_reason(control: TranslationControl, address: int) -> str | None:
    """Why the processor starts no walk for `address`; None if it does."""
    if control.defect is not None:
        return control.defect
    if not control.covers(address):
        return f"the address has more than the {control.input_bits} bits that {control.name} translates"
    if control.walks_disabled:
        return f"walks by {control.name} are disabled (EPD)"
    return None


def _walk(machine: Machine, control: TranslationControl, address: int) -> Translation:
    levels: list[Level] = []
    table, inherited = control.root_address, 0

    def faulted(kind: FaultKind, level: int, reason: str, found: Attributes | None = None) -> Translation:
        size = 1 << control.shift(levels[-1].level if levels else control.start_level)
        fault = Fault(kind, level, reason, control.rules.stage)
        return Translation(address, None, size, tuple(levels), found, fault)

    if control.base >> control.output_bits:
        return faulted("address size", 0, f"{control.name} points beyond {control.output_bits} bits")
    for level in range(control.start_level, LAST_LEVEL + 1):
        shift = control.shift(level)
        index = (address >> shift) & (control.table_bytes(level) // 8 - 1)
        try:
            descriptor = int.from_bytes(machine.read_physical(table + 8 * index, 8), control.byte_order)
        except Stage2FaultError as error:
            return Translation(address, None, 1 << shift, tuple(levels), fault=error.fault)
        except UnreadableMemoryError as error:
            return faulted(UNKNOWN, level, str(error))
        except PhysicalReadError as error:
            return faulted("external abort", level, str(error))
        levels.append(level_of(control, level, table, index, descriptor))
        kind = levels[-1].kind
        if kind in (Kind.INVALID, Kind.RESERVED):
            return faulted("translation", level, f"{kind.value} descriptor {descriptor:#x} at level {level}")
        output = control.output_address(descriptor, control.granule_bits if kind is Kind.TABLE else shift)
        if output >> control.output_bits:
            reason = f"output address {output:#x} exceeds {control.output_bits} bits"
            return faulted("address size", level, reason)
        if kind is not Kind.TABLE:
            found = attributes(descriptor, inherited, control.rules)
            if not found.access_flag and not control.hardware_access_flag:
                return faulted("access flag", level, "the access flag is clear", found)
            return _mapped(control, address, output, tuple(levels), found)
        if not control.hierarchical_disabled:
            inherited = inherit(inherited, descriptor)
        table = output
    raise AssertionError("the last level holds no tables")


def _mapped(
    control: TranslationControl, address: int, output: int, levels: tuple[Level, ...], found: Attributes
) -> Translation:
    leaf = levels[-1]
    size = 1 << control.shift(leaf.level)
    return Translation(
        address,
        output | (address & (size - 1)),
        size,
        levels,
        found,
        contiguous_bytes=control.contiguous_bytes(leaf.level) if found.contiguous else None,
        no_translation=leaf.kind is Kind.BLOCK and bool(leaf.descriptor & NO_TRANSLATION),
    )


class Stage2FaultError(PhysicalReadError):
    """Reading a table of stage 1 takes the stage 2 fault `fault`."""

    def __init__(self, address: int, length: int, fault: Fault) -> None:
        reason = f"{fault.title} of stage 2 at level {fault.level}, {fault.reason}"
        super().__init__(address, length, reason, kind="intermediate physical")
        self.fault = fault


class IntermediateMemory:
    """A machine that reads by intermediate physical address, as a guest's table walks do."""

    def __init__(self, machine: Machine, stage2: TranslationRegime) -> None:
        self._machine = machine
        self._stage2 = stage2

    @property
    def cores(self) -> Sequence[int]:
        """See `Machine`."""
        return self._machine.cores

    def register(self, name: str, core: int) -> int | None:
        """See `Machine`."""
        return self._machine.register(name, core)

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`; raises `Stage2FaultError` if stage 2 does not permit it."""
        parts = []
        position, end = address, address + length
        while position < end:
            found = _translate_one_stage(self._machine, self._stage2, position)
            fault = found.fault or self._permission_fault(found)
            if found.output is None or fault is not None:
                assert fault is not None
                raise Stage2FaultError(address, length, replace(fault, on_walk=True))
            here = min(end - position, found.size - position % found.size)
            parts.append(self._machine.read_physical(found.output, here))
            position += here
        return b"".join(parts)

    def _permission_fault(self, found: Translation) -> Fault | None:
        """The fault of a table walk that may not read mapped memory."""
        attributes = found.attributes
        if attributes is None:
            return None
        level = found.levels[-1].level
        if not attributes.el1.read:
            return Fault("permission", level, "stage 2 forbids reading", stage=2)
        memory = stage2_memory_type(attributes.attribute_index, self._stage2.forced_memory_types)
        if self._stage2.protects_walks and is_device(memory):
            return Fault("permission", level, "a table is in device memory (HCR_EL2.PTW)", stage=2)
        return None

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """See `Prefetches`; ranges that stage 2 maps to more than one block or page are left out."""
        physical_ranges = []
        for address, length in ranges:
            found = _translate_one_stage(self._machine, self._stage2, address)
            if found.output is not None and found.size - address % found.size >= length:
                physical_ranges.append((found.output, length))
        prefetch(self._machine, physical_ranges)
