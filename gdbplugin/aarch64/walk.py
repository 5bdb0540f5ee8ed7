"""The translation table walk of one address (DDI 0487, D8.2).

Where a hypervisor translates once more, every address of stage 1 is an intermediate one, those of its tables
included. Bounded by construction: a walk descends at most five levels, and stage 1 has a walk of stage 2 for
each of its own. What the tables hold is data: a malformed descriptor is reported in its place and nothing is
raised for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import (
    LAST_LEVEL,
    NO_TRANSLATION,
    Attributes,
    Kind,
    attributes,
    inherit,
    kind_of,
)
from gdbplugin.aarch64.memory_types import is_device, stage2_memory_type
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.machine import Machine, PhysicalReadError, UnreadableMemoryError, prefetch
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    FaultKind = Literal[
        "translation", "address size", "access flag", "permission", "external abort", "unknown"
    ]

UNKNOWN: Literal["unknown"] = "unknown"
"""The kind of a `Fault` that need not be one: a table could not be read here."""
_PHYSICAL_MASK = (1 << 52) - 1


@dataclass(frozen=True)
class Level:
    """One step of a walk: the descriptor that was read, and where. The first of five levels is -1."""

    json_fields = ("level", "table", "index", "address", "descriptor", "kind")

    level: int
    """Level of the table."""
    table: int
    """Physical address of the table; an intermediate one at stage 1 of two."""
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


@dataclass(frozen=True)
class Fault:
    """Why an address has no translation: the architecture's kind of fault, its level, and the reason.

    Kinds: `translation`, `address size`, `access flag`, `permission`, `external abort`; and `unknown` where a
    table could not be read here, so that nobody knows what the processor would find. `stage` is the stage
    of translation that it is of, `on_walk` marks one of stage 2 on the way to a table of stage 1.
    """

    kind: FaultKind
    """The kind of fault; unknown: a table could not be read here, so there may be no fault."""
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
        """What it is, in words: `translation fault`."""
        return "translation not known" if self.kind == UNKNOWN else f"{self.kind} fault"


@dataclass(frozen=True)
class Translation:
    """The outcome of one walk.

    `output` is the physical address, None when an access would fault. `size` is the number of bytes
    that the leaf found (or the missing entry) spans around the input address. `contiguous_bytes` is
    what a leaf with the contiguous bit spans together with its neighbours. `no_translation` is a block's
    nT bit, which marks one about to be replaced by a table. `attributes` is None where no leaf was found,
    or the MMU is off. With two stages `levels` and `attributes` are stage 1's, `second` is what stage 2 makes
    of its output, which is `second.input`, and `size` is the smaller of both.
    """

    json_fields = ("input", "size", "contiguous_bytes")

    input: int
    """The input address; at stage 2 the intermediate physical address that is stage 1's output."""
    output: int | None
    size: int
    """Bytes that the leaf, or the missing entry, spans; of two stages the smaller."""
    levels: tuple[Level, ...] = ()
    attributes: Attributes | None = None
    fault: Fault | None = None
    contiguous_bytes: int | None = None
    """Bytes that a leaf with the contiguous bit spans together with its neighbours; null for others."""
    no_translation: bool = False
    second: Translation | None = None


def translate(machine: Machine, regime: TranslationRegime, address: int) -> Translation:
    """Translate one 64-bit input address, reading one descriptor per level.

    An access flag fault still carries the attributes of the leaf, as the page is there and software
    will set the flag. Permissions are left to `access.access_fault`. Only losing the machine itself is
    raised.
    """
    found = _one_stage(memory_of(machine, regime), regime, address)
    if regime.stage2 is None or found.output is None:
        return found
    second = _one_stage(machine, regime.stage2, found.output)
    size, fault = min(found.size, second.size), second.fault
    return replace(found, output=second.output, size=size, fault=fault, second=second)


def memory_of(machine: Machine, regime: TranslationRegime) -> Machine:
    """The machine as stage 1 sees it: its memory by intermediate addresses, where there is a stage 2."""
    return machine if regime.stage2 is None else IntermediateMemory(machine, regime.stage2)


def _one_stage(machine: Machine, regime: TranslationRegime, address: int) -> Translation:
    if not regime.enabled:
        return _translate_without_mmu(regime, address)
    control = regime.control(address)
    obstacle = _obstacle(control, address)
    if obstacle is not None:
        return Translation(address, None, 1, fault=Fault("translation", 0, obstacle, regime.stage))
    return _walk(machine, control, address)


def _translate_without_mmu(regime: TranslationRegime, address: int) -> Translation:
    """With the MMU off an address is its own translation, if the outputs are wide enough (D8.2.1)."""
    top = 55 if regime.control(address).top_byte_ignored else 63
    if (address & ((2 << top) - 1)) >> regime.output_bits:
        reason = f"the MMU is off and the address has more than {regime.output_bits} bits"
        return Translation(address, None, 1, fault=Fault("address size", 0, reason))
    return Translation(address, address & _PHYSICAL_MASK, 1 << regime.output_bits)


def _obstacle(control: TranslationControl, address: int) -> str | None:
    """Why no walk begins for `address`, or None."""
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
    byte_order: Literal["big", "little"] = "big" if control.big_endian else "little"

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
            descriptor = int.from_bytes(machine.read_physical(table + 8 * index, 8), byte_order)
        except SecondStageError as error:
            size = 1 << control.shift(level)
            return Translation(address, None, size, tuple(levels), fault=error.fault)
        except UnreadableMemoryError as error:
            return faulted(UNKNOWN, level, str(error))
        except PhysicalReadError as error:
            return faulted("external abort", level, str(error))
        kind = kind_of(descriptor, level, control.block_levels)
        levels.append(Level(level, table, index, descriptor, kind))
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


class SecondStageError(PhysicalReadError):
    """Stage 2 lets a table of stage 1 not be read: `fault` is its."""

    def __init__(self, address: int, length: int, fault: Fault) -> None:
        reason = f"{fault.title} of stage 2 at level {fault.level}, {fault.reason}"
        super().__init__(address, length, reason, kind="intermediate physical")
        self.fault = fault


class IntermediateMemory:
    """Memory as a guest has it: a machine that reads by intermediate physical address, as table walks do."""

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
        """See `Machine`; raises `SecondStageError` where stage 2 has it fault."""
        parts = []
        position, end = address, address + length
        while position < end:
            found = _one_stage(self._machine, self._stage2, position)
            fault = found.fault or self._forbidden(found)
            if found.output is None or fault is not None:
                assert fault is not None
                raise SecondStageError(address, length, replace(fault, on_walk=True))
            here = min(end - position, found.size - position % found.size)
            parts.append(self._machine.read_physical(found.output, here))
            position += here
        return b"".join(parts)

    def _forbidden(self, found: Translation) -> Fault | None:
        """Why a walk may not read there, though it is mapped."""
        attributes = found.attributes
        if attributes is None:
            return None
        level = found.levels[-1].level
        if not attributes.el1.read:
            return Fault("permission", level, "stage 2 forbids reading", stage=2)
        memory = stage2_memory_type(attributes.attribute_index, self._stage2.forced_memory_types)
        if self._stage2.protects_walks and is_device(memory):
            return Fault("permission", level, "a table lies in device memory (HCR_EL2.PTW)", stage=2)
        return None

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """See `Prefetches`: what stage 2 has in one piece."""
        known = []
        for address, length in ranges:
            found = _one_stage(self._machine, self._stage2, address)
            if found.output is not None and found.size - address % found.size >= length:
                known.append((found.output, length))
        prefetch(self._machine, known)
