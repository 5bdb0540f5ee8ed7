"""What a recorded store changed, in the words of the kernel's types and of the translation tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gdbplugin.aarch64.descriptor import Kind, attributes
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import VirtualMemory, level_of
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.translate import ExplainedLevel
from gdbplugin.layout.decode import value
from gdbplugin.layout.fields import WORD_BYTES, leaves
from gdbplugin.layout.types import Array, LayoutError, Type, locate, unwrap
from gdbplugin.machine import MachineError
from gdbplugin.recording.ring import Record
from gdbplugin.records import NamedTuple


class Part(NamedTuple):
    """What a store changed: a field of a static, or a descriptor, with its values in words."""

    what: str
    before: str
    after: str


class Object(NamedTuple):
    """A static, or a part of one, in physical memory."""

    name: str
    address: int
    type: Type

    @property
    def places(self) -> tuple[int, int]:
        """Its physical range; the end exclusive."""
        return self.address, self.address + self.type.size

    def named(self, path: str) -> str:
        """The name of the field at a path. What a lock holds has the lock's name."""
        return f"{self.name}{path.removeprefix('.value')}"

    def elements(self, field: str) -> range | None:
        """Where a field of each element of an array lies; None if there is none."""
        array = unwrap(self.type)
        found = locate(array.element, field) if isinstance(array, Array) else None
        if not isinstance(array, Array) or found is None:
            return None
        first, size = self.address + found.offset, array.element.size
        return range(first, first + array.count * size, size)


def find_object(kernel: Kernel, static: str, path: str = "", index: int | None = None) -> Object | None:
    """A static of the kernel, its field at a path, or an element of that array; None if there is none."""
    try:
        found = kernel.locate_field(static, path) if path else kernel.static(static)
    except (MachineError, LayoutError):
        return None
    if found is None:
        return None
    address, type_, name = found.address, found.type, path or found.name.rpartition("::")[2]
    if index is not None:
        array = unwrap(type_)
        if not isinstance(array, Array) or not 0 <= index < array.count:
            return None
        address, type_, name = address + index * array.element.size, array.element, f"{name}[{index}]"
    memory = kernel.memory
    if not isinstance(memory, VirtualMemory):
        return Object(name, address, type_)
    (physical, size), *_ = memory.physical_ranges(address, type_.size)
    return Object(name, physical, type_) if size == type_.size else None


class Namer:
    """Names what stores to the kernel's objects and to translation tables change."""

    def __init__(self, objects: Sequence[Object], regime: TranslationRegime) -> None:
        self._objects = objects
        self._regime = regime

    def parts(self, record: Record) -> list[Part]:
        """What a store changed; the plain words if nothing is known of the place."""
        if record.table_level is not None:
            return [self._descriptor(record, record.table_level)]
        for one in self._objects:
            if one.address <= record.physical < one.address + one.type.size:
                found = list(_changed(one, record))
                if found:
                    return found
        return [Part(f"{record.physical:#x}", f"{record.old:#x}", f"{record.new:#x}")]

    def _descriptor(self, record: Record, level: int) -> Part:
        what = f"level {level} descriptor of {record.input:#x}"
        return Part(what, *(self._meaning(record, level, value) for value in (record.old, record.new)))

    def _meaning(self, record: Record, level: int, descriptor: int) -> str:
        control = self._regime.control(record.input)
        table, index = record.physical & ~0xFFF, record.physical % 4096 // WORD_BYTES
        step = level_of(control, level, table, index, descriptor)
        said = ExplainedLevel(step, control).meaning
        if step.kind in (Kind.PAGE, Kind.BLOCK):
            found = attributes(descriptor, 0, control.rules)
            said += f" {found.el0} at EL0" if str(found.el0) != "---" else f" {found.el1}"
            said += "" if found.access_flag else ", access flag clear"
        return said


def _changed(one: Object, record: Record) -> Iterator[Part]:
    """The fields of an object that a store changed."""
    start = record.physical - one.address
    word = (record.physical & ~(WORD_BYTES - 1)) - one.address
    old, new = (number.to_bytes(WORD_BYTES, "little") for number in (record.old, record.new))
    for path, offset, type_ in leaves(one.type, start, start + record.size):
        place = offset - word
        if not 0 <= place <= WORD_BYTES - type_.size:
            continue
        before, after = (value(type_, data, place) for data in (old, new))
        if before != after:
            yield Part(one.named(path), _text(before, type_), _text(after, type_))


def _text(found: object, type_: Type) -> str:
    """A value in words: addresses and other large numbers in hexadecimal."""
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, int):
        return f"{found:#x}" if type_.size == WORD_BYTES and found >= 0x10000 else f"{found:,}"
    return str(found)
