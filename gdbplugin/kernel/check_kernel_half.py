"""The kernel's own half of the address space, in TTBR1, held against what the kernel makes of it at boot.

That is written in `kernel/src/kernel_map.rs`: the image by section and the linear map of RAM, each at a
constant distance from physical addresses, and the devices; nothing that can be written can be executed,
nothing is EL0's, and nothing else is mapped. None of it changes after boot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbplugin.aarch64.extents import Malformed
from gdbplugin.aarch64.maps import Bounds, MappedRange, extents, mapped_ranges
from gdbplugin.aarch64.memory_types import is_device, memory_type_at
from gdbplugin.aarch64.walk import memory_of
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.places import DEVICES, IMAGE, LINEAR_MAP, Symbols, image_places
from gdbplugin.kernel.target import Kernel

# The tables that the kernel has set aside for it are 24; its map has about a thousand leaves.
_MAXIMUM_TABLES, _MAXIMUM_ENTRIES = 64, 20_000
_BLOCK_BYTES = 2 << 20
# What the firmware leaves to the Arm cores, as in the kernel's `RAM`.
_RAM = ((0, 0x3B40_0000), (1 << 30, 2 << 30))
_DEVICE_OFFSET = DEVICES[0] & ~0xFFFF_FFFF
_OF_IMAGE = {"kernel text": "r-x", "kernel rodata": "r--", "programs as loaded": None}
"""What EL1 may do there; None where nothing is mapped. All else of the image is written to."""


class _Expected(NamedTuple):
    """A range of virtual addresses (`end` exclusive) and how it is to be mapped.

    `offset` is what its addresses are above the physical ones; `el1` what EL1 may do, None where nothing is
    mapped.
    """

    start: int
    end: int
    name: str
    offset: int
    el1: str | None
    device: bool = False


def check_kernel_half(kernel: Kernel, symbols: Symbols, journal: Journal) -> int | None:
    """Compare; what does not agree becomes a finding. Returns how many blocks and pages there are.

    None where the program's symbols do not tell what is to be expected.
    """
    expected = _expected(symbols)
    control = kernel.regime.upper
    if not expected or control is None:
        return None
    bounds = Bounds(_MAXIMUM_TABLES, _MAXIMUM_ENTRIES)
    entries = extents(memory_of(kernel.machine, kernel.regime), control, bounds)
    mapped: list[MappedRange] = []
    for entry in mapped_ranges(kernel.regime, entries):
        if isinstance(entry, Malformed):
            journal.find(f"kernel half at {entry.start:#x}", "a well-formed table entry", entry.reason)
        else:
            mapped.append(entry)
    mair = kernel.machine.register("MAIR_EL1", kernel.machine.cores[0])
    for found in mapped:
        for start, end, wanted in _parts(found.start, found.end, expected):
            _compare(found, start, end, wanted, mair, journal)
    if bounds.stopped_at is not None:
        journal.find(f"kernel half at {bounds.stopped_at:#x}", f"at most {bounds.limit}", "more of them")
        return sum(sum(found.sizes.values()) for found in mapped)
    for wanted in expected:
        for start, end in _holes(wanted, mapped) if wanted.el1 is not None else ():
            journal.find(f"{wanted.name} at {start:#x}", "mapped", f"not mapped, up to {end:#x}")
    return sum(sum(found.sizes.values()) for found in mapped)


def _expected(symbols: Symbols) -> list[_Expected]:
    """How everything is to be mapped, in order; empty where the symbols do not tell."""
    image_end = symbols.address("__image_end")
    parts = image_places(symbols)
    if image_end is None or not parts:
        return []
    linear = LINEAR_MAP[0]
    # The blocks that the image lies in are only read there.
    kept = -(-(image_end - IMAGE[0]) // _BLOCK_BYTES) * _BLOCK_BYTES
    found = [
        _Expected(linear, linear + kept, "linear map of the image", linear, "r--"),
        _Expected(linear + kept, linear + _RAM[0][1], "linear map", linear, "rw-"),
        _Expected(linear + _RAM[1][0], linear + _RAM[1][1], "linear map", linear, "rw-"),
        _Expected(*DEVICES, "devices", _DEVICE_OFFSET, "rw-", device=True),
    ]
    for place in parts:
        el1 = None if place.kind == "guard" else _OF_IMAGE.get(place.name, "rw-")
        found.append(_Expected(place.start, place.end, place.name, IMAGE[0], el1))
    return sorted(found)


def _parts(
    start: int, end: int, expected: Sequence[_Expected]
) -> Iterator[tuple[int, int, _Expected | None]]:
    """A range, divided where what is expected differs."""
    index = max(0, bisect_right(expected, start, key=lambda entry: entry.start) - 1)
    while start < end:
        while index < len(expected) and expected[index].end <= start:
            index += 1
        wanted = expected[index] if index < len(expected) and expected[index].start <= start else None
        if wanted is not None:
            stop = min(end, wanted.end)
        else:
            stop = min(end, expected[index].start) if index < len(expected) else end
        yield start, stop, wanted
        start = stop


def _compare(
    found: MappedRange, start: int, end: int, wanted: _Expected | None, mair: int | None, journal: Journal
) -> None:
    """One part of what is mapped."""
    physical = found.physical + start - found.start
    name = f"{wanted.name if wanted else 'kernel half'} at {start:#x}"
    if wanted is None or wanted.el1 is None:
        journal.find(name, "nothing mapped", f"mapped up to {end:#x}, to physical {physical:#x}")
        return
    if physical != start - wanted.offset:
        journal.find(name, f"physical {start - wanted.offset:#x}", f"physical {physical:#x}, up to {end:#x}")
    attributes = found.attributes
    allowed, right = (str(attributes.el1), str(attributes.el0)), (wanted.el1, "---")
    if allowed != right:
        journal.find(
            name,
            "{} at EL1, {} at EL0".format(*right),
            "{} at EL1, {} at EL0, up to {:#x}".format(*allowed, end),
        )
    memory = memory_type_at(mair, attributes.attribute_index)
    if memory is not None and is_device(memory) != wanted.device:
        journal.find(name, "device memory" if wanted.device else "Normal memory", f"{memory}, up to {end:#x}")


def _holes(wanted: _Expected, mapped: Sequence[MappedRange]) -> Iterator[tuple[int, int]]:
    """The parts of what is to be mapped that are not."""
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
