"""TinyOS in a stopped machine: finds its statics and reads them by walking the kernel's own tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, current_regime, el1_regime
from gdbplugin.aarch64.walk import UNKNOWN, VirtualMemory, translate
from gdbplugin.kernel.design import MANAGER, SCHEDULER
from gdbplugin.kernel.diagnostics import Diagnostics, History
from gdbplugin.kernel.variations import Memory, describe_missing, is_locked
from gdbplugin.layout.decode import Invalid, presence, value
from gdbplugin.layout.types import (
    Array,
    Field,
    Layout,
    LayoutError,
    Option,
    Static,
    Struct,
    Type,
    in_one_line,
    locate_held,
    locate_path,
    unwrap,
)
from gdbplugin.machine import Machine, MachineError
from gdbplugin.records import MISSING, dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Record = TypeVar("_Record")
    _Value = TypeVar("_Value")

__all__ = ["MANAGER", "SCHEDULER", "Kernel", "Memory"]

_Regimes = Callable[[Machine, int], TranslationRegime]

CHANGING = (
    "the kernel was stopped in the middle of a change of its memory state (odd sequence counter): "
    "figures may not agree with each other"
)
LOCKED = (
    "the kernel's memory manager was locked when the machine stopped: a change may be under way, and "
    "figures may not agree with each other"
)

# An address with more bits cannot be a physical one.
_LOWER_BITS = 48
# The kernel's types of the dataclasses that have other names.
_TYPES = {"AddressSpaces": "HardwareContextSwitcher", "Pressure": "MemoryPressureHandler"}


class NotTinyOSError(MachineError):
    """The loaded program is not TinyOS, or lacks what was asked for."""


class StaticUnknownError(MachineError):
    """The debug information could not be read, so a static may exist or not."""


class KernelNotReadyError(MachineError):
    """The machine was stopped before the kernel had set up its memory."""


@dataclass(frozen=True)
class FieldData:
    """A field of a static: its type and its bytes."""

    type: Type
    data: bytes

    @property
    def value(self) -> Any:
        """The decoded value."""
        return value(self.type, self.data)

    @property
    def fields(self) -> dict[str, Any] | None:
        """The decoded fields of a struct by name, even if there is only one; None for other types."""
        found = self.value
        if isinstance(found, dict):
            return found
        if not isinstance(self.type, Struct):
            return None
        held = (field for field in self.type.fields if field.type.size)
        return {field.name: value(field.type, self.data, field.offset) for field in held}


class Kernel:
    """The kernel in one stopped machine. Findings and notes go into `diagnostics`.

    `history` holds values from earlier stops. `decoded` is the cache of one stop: pass the same dictionary to
    every `Kernel` of that stop, and nothing is decoded twice. The statics are read from `memory`, by default
    the machine's memory by way of the kernel's own tables.
    """

    def __init__(
        self,
        machine: Machine,
        layout: Layout,
        diagnostics: Diagnostics | None = None,
        history: History | None = None,
        decoded: dict[str, Any] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.machine = machine
        self.layout = layout
        self.diagnostics = diagnostics if diagnostics is not None else Diagnostics()
        self.history = history if history is not None else History()
        self._decoded = decoded if decoded is not None else {}
        self._memory = memory
        self._regime: TranslationRegime | None = None

    def cached(self, name: str, read: Callable[[], _Value]) -> _Value:
        """The result of `read`, which is called once per stop; its notes and findings are added each time."""
        if name not in self._decoded:
            outer, self.diagnostics = self.diagnostics, Diagnostics()
            try:
                self._decoded[name] = (read(), self.diagnostics)
            finally:
                self.diagnostics = outer
        found: tuple[_Value, Diagnostics] = self._decoded[name]
        self.diagnostics.merge(found[1])
        return found[0]

    @property
    def memory(self) -> Memory:
        """Virtual memory as the kernel sees it. Raises as `regime` does."""
        if self._memory is None:
            self._memory = VirtualMemory(self.machine, self.regime)
        return self._memory

    @property
    def regime(self) -> TranslationRegime:
        """The regime that translates the kernel's addresses: of the first core whose tables map the manager.

        Raises `KernelNotReadyError` if there is none, `RegimeUnknownError` if registers or memory that would
        say so cannot be read.
        """
        if self._regime is None:
            self._regime = self.cached("regime", self._find_regime)
        return self._regime

    def _find_regime(self) -> TranslationRegime:
        address = self.static(MANAGER).address
        if address >> _LOWER_BITS:
            found, enabled, _ = self._first_mapping(address, el1_regime)
        else:
            # Linked where it is loaded: found through the tables in use now, or with the MMU off.
            found, enabled, identity = self._first_mapping(address, current_regime)
            found = found if enabled else identity
        if found is not None:
            self.require_manager(VirtualMemory(self.machine, found))
            return found
        if enabled:
            raise KernelNotReadyError(
                f"no core's tables map the kernel's memory manager at {address:#x}: "
                "the machine runs another program, or has not booted the kernel yet"
            )
        raise KernelNotReadyError(
            "the MMU is off on every core: the kernel has not set up its memory yet; let it run on"
        )

    def _first_mapping(
        self, address: int, regime_of: _Regimes
    ) -> tuple[TranslationRegime | None, bool, TranslationRegime | None]:
        """The first regime that maps an address, whether any MMU is on, and the first regime that is off.

        Raises `RegimeUnknownError` if no core maps the address, but one is unknown.
        """
        unknown: RegimeUnknownError | None = None
        enabled, off = False, None
        for core in self.machine.cores:
            try:
                regime = regime_of(self.machine, core)
            except RegimeUnknownError as error:
                unknown = unknown or error
                continue
            enabled = enabled or regime.enabled
            if not regime.enabled:
                off = off or regime
                continue
            found = translate(self.machine, regime, address)
            if found.output is not None:
                return regime, enabled, off
            if found.fault is not None and found.fault.kind == UNKNOWN:
                unknown = unknown or RegimeUnknownError(
                    f"cannot tell whether core {core} maps the kernel: {found.fault.reason}"
                )
        if unknown is not None:
            raise unknown
        return None, enabled, off

    def require_manager(self, memory: Memory) -> None:
        """Raise `KernelNotReadyError` if the manager is in an Option that is None: it is not set up yet."""
        static = self.static(MANAGER)
        _, options = locate_held(static.type, "stack_manager")
        for option in options:
            found = _presence(static, option, memory)
            if isinstance(found, Invalid):
                raise KernelNotReadyError(
                    f"cannot tell whether the kernel's memory manager is set up: {static.name} should be "
                    f"{found.expected}, but holds {found.found:#x}"
                )
            if not found:
                raise KernelNotReadyError(
                    f"the kernel has not set up its memory manager yet ({static.name} is None); let it run on"
                )

    @functools.cached_property
    def has_debugger_interface(self) -> bool:
        """Whether this kernel has TinyOS's own interface for debuggers, `kernel/src/debugger.rs`.

        Other kernels of the design have no sequence counter, and keep their records in any order.
        """
        manager = self.static(MANAGER)
        own = manager.name == MANAGER or locate_path(manager.type, "events.entries") is not None
        return own and locate_path(manager.type, "sequence") is not None

    def static(self, name: str) -> Static:
        """A static of the kernel by its name.

        Raises `NotTinyOSError` if the program has none, and `StaticUnknownError` if it could not be searched.
        """
        last = name.rpartition("::")[2]
        try:
            found = self.layout.static(name)
            if found is None and self.layout.problems:
                raise LayoutError(in_one_line(self.layout.problems))
        except LayoutError as error:
            raise StaticUnknownError(f"cannot find {last}: {error}") from error
        if found is None and name != MANAGER and self.layout.static(MANAGER) is not None:
            raise NotTinyOSError(f"this kernel has no {last}")
        if found is None:
            raise NotTinyOSError(f"the loaded symbols are not TinyOS's: they have no {last}")
        return found

    def locate_field(self, static_name: str, path: str) -> Static | None:
        """Where the field at a dotted path of a static lies; None and a note if there is none."""
        static = self.static(static_name)
        field, options = locate_held(static.type, path)
        if field is None:
            self._note_missing_field(static, path)
            return None
        for option in options:
            is_there = _presence(static, option, self.memory)
            if self.valid_or_none(is_there, f"this kernel's {path}") is not True:
                if self.has_debugger_interface or static_name != MANAGER:
                    self.diagnostics.add_missing(*_owner_of(static, path), "which is None now")
                else:
                    self.diagnostics.add_missing("", describe_missing(path), "which is None now")
                return None
        return Static(path, static.address + field.offset, field.type)

    def has(self, static_name: str, path: str) -> bool:
        """Whether a static has a field at a dotted path. Reads no memory, and adds no note."""
        static = self.layout.static(static_name)
        return static is not None and locate_held(static.type, path)[0] is not None

    def _note_missing_field(self, static: Static, path: str) -> None:
        """Note that a static has no field at a path. The note names the first step that is missing."""
        if not self.has_debugger_interface and static.name == self.static(MANAGER).name:
            self.note_missing(path)
            return
        names = path.split(".")
        for count in range(1, len(names)):
            if locate_held(static.type, ".".join(names[:count]))[0] is None:
                self.diagnostics.add_missing(*_owner_of(static, ".".join(names[:count])))
                return
        self.diagnostics.add_missing(*_owner_of(static, path))

    def note_missing(self, path: str) -> None:
        """Note, in plain words, a field that the manager of another kernel of the design does not have."""
        self.diagnostics.add_missing("", describe_missing(path))

    def without_missing_notes(self, read: Callable[[], _Value], *shown: str) -> _Value:
        """The result of `read`, for a command that shows only a part of it.

        In other kernels of the design, missing fields get a note only if they are among `shown`.
        """
        if self.has_debugger_interface:
            return read()
        outer, self.diagnostics = self.diagnostics, Diagnostics()
        try:
            return read()
        finally:
            inner, self.diagnostics = self.diagnostics, outer
            outer.merge(inner.only_missing(shown))

    def read_field(self, static_name: str, path: str) -> FieldData | None:
        """Read the field at a dotted path of a static, in one read; None and a note if there is none."""
        field = self.locate_field(static_name, path)
        return FieldData(field.type, self.memory.read(field.address, field.type.size)) if field else None

    def read_element(self, path: str, index: int) -> bytes | None:
        """The bytes of one element of an array in the manager; None if it has no such index."""
        field = self.locate_field(MANAGER, path)
        array = unwrap(field.type) if field else None
        if field is None or not isinstance(array, Array) or not 0 <= index < array.count:
            return None
        return self.memory.read(field.address + index * array.element.size, array.element.size)

    def is_changing(self, static_name: str) -> bool:
        """Whether the kernel was changing a static when the machine stopped.

        It was if the sequence counter is odd or, without a counter, a lock of a known kind is held.
        """
        static = self.static(static_name)
        if locate_path(static.type, "sequence") is None:
            return is_locked(static, self.memory)
        sequence = self.read_integer(static_name, "sequence")
        return sequence is not None and sequence % 2 == 1

    def note_change(self) -> bool:
        """Whether the kernel was changing the manager when the machine stopped; if so, adds a note."""
        changing = self.is_changing(MANAGER)
        if changing:
            self.diagnostics.add_note(CHANGING if self.has_debugger_interface else LOCKED)
        return changing

    def read_integer(self, static_name: str, path: str) -> int | None:
        """An integer field; None and a note if there is none."""
        field = self.read_field(static_name, path)
        found = field.value if field else None
        return found if isinstance(found, int) else None

    def make_record(self, kind: type[_Record], values: object, label: str, **given: object) -> _Record:
        """Make a dataclass from the fields of a decoded struct, by name.

        `given` are fields that the caller has made. A value that is not one of its type becomes None and a
        finding, a missing field None and a note. If `values` is None, the struct is missing: all fields are
        None, and the caller has added a note.
        """
        source: Mapping[str, Any] = values if isinstance(values, dict) else {}
        chosen: dict[str, object] = dict(given)
        for name, is_required in _fields_of(kind):  # type: ignore[arg-type]
            if name in chosen:
                continue
            if name in source:
                found = list(source[name]) if isinstance(source[name], bytes) else source[name]
                is_plain = not isinstance(found, Invalid | list)
                chosen[name] = found if is_plain else self.valid_or_none(found, f"{label}: {name}")
                continue
            if is_required:
                chosen[name] = None
            if values is not None and not self.has_debugger_interface:
                self.note_missing(f"{kind.__name__}.{name}")
            elif values is not None and is_required:
                owner = _TYPES.get(kind.__name__)
                self.diagnostics.add_missing(owner or kind.__name__, name if owner else f"field {name}")
        return kind(**chosen)

    def read_record(
        self,
        kind: type[_Record],
        path: str,
        label: str,
        parts: Callable[[Kernel, dict[str, Any]], dict[str, object]],
    ) -> _Record:
        """Read a struct of the manager as a dataclass; `parts` makes the fields that are dataclasses."""
        field = self.read_field(MANAGER, path)
        values = field.fields if field else None
        return self.make_record(kind, values, label, **({} if values is None else parts(self, values)))

    def valid_or_none(self, found: Any, label: str) -> Any:
        """A decoded value; None and a finding if it is not one of its type. A list becomes a tuple."""
        if isinstance(found, Invalid):
            self.diagnostics.add_finding(label, found.expected, f"{found.found:#x}")
            return None
        if isinstance(found, list):
            return tuple(self.valid_or_none(entry, f"{label}[{index}]") for index, entry in enumerate(found))
        return found


def _owner_of(static: Static, path: str) -> tuple[str, str]:
    """The name of the type that has the field at a path, and of the field: `LazyPageAllocator`, `ranges`."""
    before, _, name = path.rpartition(".")
    owner = locate_held(static.type, before)[0] if before else None
    if owner is None:
        return static.name.rpartition("::")[2], path
    type_ = owner.type
    inner = type_.value.type if isinstance(type_, Option) else type_
    return inner.name.partition("<")[0].rpartition("::")[2], name


def _presence(static: Static, option: Field, memory: Memory) -> bool | Invalid:
    """Whether an Option within a static holds a value."""
    assert isinstance(option.type, Option)
    return presence(option.type, memory.read(static.address + option.offset, option.type.size))


@functools.cache
def _fields_of(kind: type) -> tuple[tuple[str, bool], ...]:
    """The names of a dataclass's fields, and whether each must be given."""
    return tuple((field.name, field.default is MISSING) for field in fields(kind))
