"""Compares the kernel's own half of the address space, in TTBR1, with the memory map that the kernel exports.

The image is mapped by section; the linear map of RAM and the devices are mapped as whole ranges. Each range
has a constant offset to its physical addresses. Nothing is both writable and executable, EL0 may access
nothing, and nothing else is mapped. None of it changes after boot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import NO_ACCESS, SHAREABILITY, Attributes
from gdbplugin.aarch64.maps import Bounds, MappedRange, leaf_runs, mapped_ranges
from gdbplugin.aarch64.registers import bits, is_device, memory_type_at
from gdbplugin.aarch64.tables import Malformed, Piece
from gdbplugin.aarch64.walk import table_memory
from gdbplugin.kernel.interface import DEVICES, IMAGE, LINEAR_MAP, MemoryRange, read_memory_map
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.memory_objects import MemoryObject, MemoryObjects, image_objects
from gdbplugin.kernel.target import Symbols
from gdbplugin.machine import Machine, MachineError, MachineGoneError
from gdbplugin.records import NamedTuple

# The kernel has room for 32 tables for it, with a few thousand leaves.
_MAXIMUM_TABLES, _MAXIMUM_ENTRIES = 64, 20_000
_BLOCK_BYTES = 2 << 20
_IMAGE_PERMISSIONS = {"kernel text": "r-x", "kernel rodata": "r--", "programs as loaded": None}
"""The permissions of EL1, None for what is not mapped; the other parts of the image are writable."""
_SHAREABILITY = SHAREABILITY[3]


class _Expected(NamedTuple):
    """How a range of virtual addresses must be mapped.

    `offset` is the difference of virtual and physical addresses. `el1` are the permissions of EL1, None if
    the range must not be mapped.
    """

    offset: int
    el1: str | None
    device: bool = False


def check_kernel_half(kernel: Kernel, symbols: Symbols) -> int | None:
    """Compare; each difference becomes a finding. Returns the number of mapped blocks and pages.

    Returns None and adds a note if the program's symbols are missing, or if the kernel does not use its own
    tables yet.
    """
    control = kernel.regime.upper
    memory_map = _memory_map(kernel)
    image = next((one for one in memory_map if one.kind == IMAGE), None)
    if control is None or image is None or not _uses_its_tables(kernel, control, symbols, image):
        return None
    objects, expected = _expected(memory_map, image, symbols)
    bounds = Bounds(_MAXIMUM_TABLES, _MAXIMUM_ENTRIES)
    walked = leaf_runs(table_memory(kernel.machine, kernel.regime), control, bounds)
    entries = list(mapped_ranges(kernel.regime, walked))
    if bounds.stopped_at is not None:
        kernel.diagnostics.add_finding(
            f"kernel half at {bounds.stopped_at:#x}", f"at most {bounds.limit}", "more"
        )
    for entry in entries:
        if isinstance(entry, Malformed):
            kernel.diagnostics.add_finding(
                f"kernel half at {entry.start:#x}", "a well-formed table entry", entry.reason
            )
    mapped = [entry for entry in entries if isinstance(entry, MappedRange)]
    mair = _mair(kernel.machine, control)
    pieces = [(piece, entry.attributes) for entry in mapped for piece in entry.pieces()]
    for piece, attributes in pieces:
        for start, end, here in objects.split(piece.start, piece.end):
            name = f"{here.name if here else 'kernel half'} at {start:#x}"
            wanted = expected[here.name] if here else None
            for right, wrong in _differences(piece, attributes, start, wanted, mair):
                kernel.diagnostics.add_finding(name, right, f"{wrong}, up to {end:#x}")
    for here in objects.objects if bounds.stopped_at is None else ():
        for start, end in _holes(here, mapped) if expected[here.name].el1 is not None else ():
            kernel.diagnostics.add_finding(
                f"{here.name} at {start:#x}", "mapped", f"not mapped, up to {end:#x}"
            )
    return sum(len(run.outputs) for entry in mapped for run in entry.runs)


def _memory_map(kernel: Kernel) -> tuple[MemoryRange, ...]:
    """The kernel's memory map; empty, with a finding, if it cannot be read."""
    try:
        return read_memory_map(kernel)
    except MachineGoneError:
        raise
    except MachineError as error:
        kernel.diagnostics.add_finding("the kernel's memory map", "readable", str(error))
        return ()


def _uses_its_tables(
    kernel: Kernel, control: TranslationControl, symbols: Symbols, image: MemoryRange
) -> bool:
    """Whether TTBR1 has the kernel's own tables, as after its early boot; if not, adds a note."""
    tables = symbols.address("KERNEL_TABLES")
    if tables is None or symbols.address("__image_end") is None:
        kernel.diagnostics.add_note(
            "the kernel's own half was not compared: the symbols of its tables are missing"
        )
    elif control.root_address != tables - image.offset:
        kernel.diagnostics.add_note(
            f"the kernel's own half was not compared: {control.name} does not have the kernel's tables at "
            f"{tables - image.offset:#x} yet, but the table at {control.root_address:#x}"
        )
    else:
        return True
    return False


def _mair(machine: Machine, control: TranslationControl) -> int | None:
    """MAIR_EL1 of a core that uses the kernel's tables; other cores may not have set it yet."""
    for core in machine.cores:
        table, enabled = machine.register(control.name, core), machine.register("SCTLR_EL1", core)
        if (
            table is not None
            and enabled is not None
            and enabled & 1
            and bits(table, 47, 1) << 1 == control.base
        ):
            return machine.register("MAIR_EL1", core)
    return None


def _expected(
    memory_map: Sequence[MemoryRange], image: MemoryRange, symbols: Symbols
) -> tuple[MemoryObjects, dict[str, _Expected]]:
    """The objects of the kernel's own half, and how each must be mapped, by the object's name."""
    expected = {}
    objects = image_objects(symbols)
    for entry in objects:
        el1 = None if entry.kind == "guard" else _IMAGE_PERMISSIONS.get(entry.name, "rw-")
        expected[entry.name] = _Expected(image.offset, el1)
    for one in memory_map:
        if one.kind == DEVICES:
            objects.append(MemoryObject(one.start, one.end, "device", "devices"))
            expected["devices"] = _Expected(one.offset, "rw-", device=True)
        elif one.kind == LINEAR_MAP:
            # In the linear map the blocks that contain the image are read-only.
            image_end = (symbols.address("__image_end") or image.start) - image.offset
            writable = one.offset + -(-image_end // _BLOCK_BYTES) * _BLOCK_BYTES
            if one.start < writable:
                objects.append(MemoryObject(one.start, writable, "linear map", "linear map of the image"))
            objects.append(MemoryObject(max(one.start, writable), one.end, "linear map", "linear map"))
            expected["linear map of the image"] = _Expected(one.offset, "r--")
            expected["linear map"] = _Expected(one.offset, "rw-")
    return MemoryObjects(objects), expected


def _differences(
    piece: Piece, attributes: Attributes, start: int, wanted: _Expected | None, mair: int | None
) -> Iterator[tuple[str, str]]:
    """What is expected and what is found instead, from address `start` of a piece on."""
    physical = piece.physical + start - piece.start
    if wanted is None or wanted.el1 is None:
        yield "nothing mapped", f"physical {physical:#x}"
        return
    if physical != start - wanted.offset:
        yield f"physical {start - wanted.offset:#x}", f"physical {physical:#x}"
    if (str(attributes.el1), attributes.el0) != (wanted.el1, NO_ACCESS):
        yield f"{wanted.el1} at EL1, {NO_ACCESS} at EL0", f"{attributes.el1} at EL1, {attributes.el0} at EL0"
    memory = memory_type_at(mair, attributes.attribute_index)
    if memory is not None and is_device(memory) != wanted.device:
        yield "device memory" if wanted.device else "Normal memory", memory
    if attributes.not_global:
        yield "global", "not global (nG)"
    if not attributes.access_flag:
        yield "the access flag set", "clear"
    if attributes.shareability != _SHAREABILITY:
        yield _SHAREABILITY, attributes.shareability


def _holes(wanted: MemoryObject, mapped: Sequence[MappedRange]) -> Iterator[tuple[int, int]]:
    """The parts of an object that are not mapped."""
    position = wanted.start
    index = max(0, bisect_right(mapped, wanted.start, key=lambda entry: entry.start) - 1)
    for entry in mapped[index:]:
        if entry.start >= wanted.end:
            break
        if entry.start > position:
            yield position, entry.start
        position = max(position, entry.end)
    if position < wanted.end:
        yield position, wanted.end
