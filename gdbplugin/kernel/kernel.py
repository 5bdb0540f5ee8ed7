"""TinyOS in a stopped machine: finds its statics and reads them by walking the kernel's own tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, current_regime, el1_regime
from gdbplugin.aarch64.virtual import VirtualMemory
from gdbplugin.aarch64.walk import UNKNOWN, translate
from gdbplugin.kernel.design import MANAGER, SCHEDULER
from gdbplugin.kernel.journal import History, Journal
from gdbplugin.kernel.variations import Memory, is_locked, worded
from gdbplugin.layout.decode import Invalid, presence, value
from gdbplugin.layout.types import (
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
    "the kernel's memory manager was locked when the machine stopped: a change may be under way, so that "
    "figures may not agree with each other"
)

# Input addresses of the lower range, which may be physical ones too.
_LOWER_BITS = 48
# Of dataclasses that are not called as the kernel's own types are.
_TYPES = {"AddressSpaces": "HardwareContextSwitcher", "Pressure": "MemoryPressureHandler"}


class NotTinyOSError(MachineError):
    """The program that was loaded is not TinyOS."""


class StaticUnknownError(MachineError):
    """Of a static it is not known whether the kernel has it: its debug information could not be read."""


class SelectionError(MachineError):
    """What was asked for is not there: such a core, such an ASID."""


class KernelNotReadyError(MachineError):
    """The machine was stopped before the kernel had set up its memory."""


@dataclass(frozen=True)
class Part:
    """A piece of a static: its type, and its bytes."""

    type: Type
    data: bytes

    @property
    def value(self) -> Any:
        """The decoded value."""
        return value(self.type, self.data)

    @property
    def fields(self) -> dict[str, Any] | None:
        """The decoded struct by its fields' names, even if it has only one; None for anything else."""
        found = self.value
        if isinstance(found, dict):
            return found
        if not isinstance(self.type, Struct):
            return None
        return {
            field.name: value(field.type, self.data, field.offset)
            for field in self.type.fields
            if field.type.size
        }


class Kernel:
    """The kernel of one stopped machine. What is noticed on the way goes into `journal`.

    `history` holds what was seen at earlier stops, `decoded` what was decoded already at this one: who
    gives the same to another `Kernel` of the same stop has nothing decoded twice. `memory` is for who has the
    bytes of the kernel's statics already: without it they are found by walking the kernel's tables.
    """

    def __init__(
        self,
        machine: Machine,
        layout: Layout,
        journal: Journal | None = None,
        history: History | None = None,
        decoded: dict[str, Any] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.machine = machine
        self.layout = layout
        self.journal = journal if journal is not None else Journal()
        self.history = history if history is not None else History()
        self._decoded = decoded if decoded is not None else {}
        self._memory = memory
        self._regime: TranslationRegime | None = None

    def once(self, name: str, read: Callable[[], _Value]) -> _Value:
        """What `read` gives: called the first time at this stop, its notes and findings made each time."""
        if name not in self._decoded:
            outer, self.journal = self.journal, Journal()
            try:
                self._decoded[name] = (read(), self.journal)
            finally:
                self.journal = outer
        found, noticed = self._decoded[name]
        self.journal.add(noticed)
        kept: _Value = found
        return kept

    @property
    def memory(self) -> Memory:
        """Virtual memory as the kernel sees it. Raises as `regime` does."""
        if self._memory is None:
            self._memory = VirtualMemory(self.machine, self.regime)
        return self._memory

    @property
    def regime(self) -> TranslationRegime:
        """The regime the kernel's addresses are translated by: that of a core whose tables map the manager.

        Raises `KernelNotReadyError` where no core has its MMU on.
        """
        if self._regime is None:
            self._regime = self.once("regime", self._find_regime)
        return self._regime

    def _find_regime(self) -> TranslationRegime:
        address = self.static(MANAGER).address
        if address >> _LOWER_BITS:
            found, enabled, _ = self._first_mapping(address, el1_regime)
        else:
            # Linked where it is loaded: by whichever tables the kernel runs on now, or by none.
            found, enabled, identity = self._first_mapping(address, current_regime)
            found = found if enabled else identity
        if found is not None:
            self.require_manager(VirtualMemory(self.machine, found))
            return found
        if enabled:
            raise KernelNotReadyError(
                f"no core's tables map the kernel's memory manager at {address:#x}: "
                "the machine runs something else, or has not got that far"
            )
        raise KernelNotReadyError(
            "the MMU is off on every core: the kernel has not set up its memory yet; let it run on"
        )

    def _first_mapping(
        self, address: int, regime_of: _Regimes
    ) -> tuple[TranslationRegime | None, bool, TranslationRegime | None]:
        """The first core's regime that maps an address; whether any is on; and the first that is not.

        Raises `RegimeUnknownError` where none maps it, but some cannot be told.
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
                    f"whether core {core} maps the kernel cannot be told: {found.fault.reason}"
                )
        if unknown is not None:
            raise unknown
        return None, enabled, off

    def require_manager(self, memory: Memory) -> None:
        """Raise `KernelNotReadyError` where the manager is in an enum that says that it is not there yet."""
        static = self.static(MANAGER)
        _, doors = locate_held(static.type, "stack_manager")
        for door in doors:
            found = _presence(static, door, memory)
            if isinstance(found, Invalid):
                raise KernelNotReadyError(
                    f"whether the kernel's memory manager is set up cannot be told: {static.name} should be "
                    f"{found.expected}, but has {found.found:#x} there"
                )
            if not found:
                raise KernelNotReadyError(
                    f"the kernel has not set up its memory manager yet ({static.name} is None); let it run on"
                )

    @functools.cached_property
    def keeps_promises(self) -> bool:
        """Whether it is a kernel with TinyOS's own interface for debuggers, in `kernel/src/debugger.rs`.

        Others of the same design have no sequence counter, and order their records as they like.
        """
        manager = self.static(MANAGER)
        own = manager.name == MANAGER or locate_path(manager.type, "events.entries") is not None
        return own and locate_path(manager.type, "sequence") is not None

    def static(self, name: str) -> Static:
        """A static of the kernel; raises `NotTinyOSError` if the loaded symbols have none of that name.

        Raises `StaticUnknownError` where it cannot be told whether they have.
        """
        last = name.rpartition("::")[2]
        try:
            found = self.layout.static(name)
            if found is None and self.layout.problems:
                raise LayoutError(in_one_line(self.layout.problems))
        except LayoutError as error:
            raise StaticUnknownError(f"{last} cannot be found: {error}") from error
        if found is None and name != MANAGER and self.layout.static(MANAGER) is not None:
            raise NotTinyOSError(f"this kernel has no {last}")
        if found is None:
            raise NotTinyOSError(f"the loaded symbols are not TinyOS's: they have no {last}")
        return found

    def place(self, static_name: str, path: str) -> Static | None:
        """Where the field at a dotted path of a static lies; None, and a note, if there is none."""
        static = self.static(static_name)
        field, doors = locate_held(static.type, path)
        if field is None:
            self._lack(static, path)
            return None
        for door in doors:
            if self.checked(_presence(static, door, self.memory), f"this kernel's {path}") is not True:
                if self.keeps_promises or static_name != MANAGER:
                    self.journal.lack(*_owner_of(static, path), "which is None now")
                else:
                    self.journal.lack("", worded(path), "which is None now")
                return None
        return Static(path, static.address + field.offset, field.type)

    def has(self, static_name: str, path: str) -> bool:
        """Whether a static has a field at a dotted path; nothing is read, and nothing noted."""
        static = self.layout.static(static_name)
        return static is not None and locate_held(static.type, path)[0] is not None

    def _lack(self, static: Static, path: str) -> None:
        """Note that a static has no such field: by the first step of the path that leads nowhere."""
        if not self.keeps_promises and static.name == self.static(MANAGER).name:
            self.lack(path)
            return
        names = path.split(".")
        for count in range(1, len(names)):
            if locate_held(static.type, ".".join(names[:count]))[0] is None:
                self.journal.lack(*_owner_of(static, ".".join(names[:count])))
                return
        self.journal.lack(*_owner_of(static, path))

    def lack(self, path: str) -> None:
        """Note in plain words that the manager of a kernel of the design has no such field."""
        self.journal.lack("", worded(path))

    def beside(self, read: Callable[[], _Value], *shown: str) -> _Value:
        """What `read` gives, for a command that shows little of it.

        What a kernel that has no more than the design lacks of it is noted only where it is among `shown`.
        """
        if self.keeps_promises:
            return read()
        outer, self.journal = self.journal, Journal()
        try:
            return read()
        finally:
            inner, self.journal = self.journal, outer
            outer.add(inner.only_lacking(shown))

    def part(self, static_name: str, path: str) -> Part | None:
        """Read the field at a dotted path of a static, in one read; None, and a note, if there is none."""
        place = self.place(static_name, path)
        return Part(place.type, self.memory.read(place.address, place.type.size)) if place else None

    def is_changing(self, static_name: str) -> bool:
        """Whether the machine was stopped while the kernel was changing that static.

        Its sequence counter is odd then; or, where it has none, its lock is held, if that is understood.
        """
        static = self.static(static_name)
        if locate_path(static.type, "sequence") is None:
            return is_locked(static, self.memory)
        part = self.part(static_name, "sequence")
        return part is not None and isinstance(part.value, int) and part.value % 2 == 1

    def note_change(self) -> bool:
        """Whether the manager was being changed when the machine stopped; if so that is noted."""
        changing = self.is_changing(MANAGER)
        if changing:
            self.journal.note(CHANGING if self.keeps_promises else LOCKED)
        return changing

    def integer(self, static_name: str, path: str) -> int | None:
        """An integer field; None, and a note, if there is none."""
        part = self.part(static_name, path)
        found = part.value if part is not None else None
        return found if isinstance(found, int) else None

    def record(self, kind: type[_Record], values: object, label: str, **given: object) -> _Record:
        """Make a dataclass of a decoded struct, field by field, by name.

        `given` are the fields the caller has made itself. A value the type does not have becomes a
        finding and None; a field the struct does not have becomes a note and None. Where there is no struct
        at all (None), all fields are None: whoever looked for it has noted that.
        """
        source: Mapping[str, Any] = values if isinstance(values, dict) else {}
        chosen: dict[str, object] = dict(given)
        for name, is_required in _fields_of(kind):  # type: ignore[arg-type]
            if name in chosen:
                continue
            if name not in source:
                if values is not None and not self.keeps_promises:
                    self.lack(f"{kind.__name__}.{name}")
                if is_required:
                    chosen[name] = None
                    if values is not None and self.keeps_promises:
                        owner = _TYPES.get(kind.__name__, kind.__name__)
                        self.journal.lack(owner, name if owner in _TYPES.values() else f"field {name}")
                continue
            found = list(source[name]) if isinstance(source[name], bytes) else source[name]
            chosen[name] = (
                self.checked(found, f"{label}: {name}") if isinstance(found, Invalid | list) else found
            )
        return kind(**chosen)

    def part_record(
        self,
        kind: type[_Record],
        path: str,
        label: str,
        parts: Callable[[Kernel, dict[str, Any]], dict[str, object]],
    ) -> _Record:
        """As `record`, of a struct of the manager, in one read; `parts` makes what is more than a value."""
        part = self.part(MANAGER, path)
        values = part.fields if part else None
        return self.record(kind, values, label, **({} if values is None else parts(self, values)))

    def checked(self, found: Any, label: str) -> Any:
        """A decoded value as it is, but None, and a finding, for one its type does not have."""
        if isinstance(found, Invalid):
            self.journal.find(label, found.expected, f"{found.found:#x}")
            return None
        if isinstance(found, list):
            return tuple(self.checked(entry, f"{label}[{index}]") for index, entry in enumerate(found))
        return found


def _owner_of(static: Static, path: str) -> tuple[str, str]:
    """What a field at a path belongs to, by name, and its name there: `LazyPageAllocator`, `ranges`."""
    before, _, name = path.rpartition(".")
    owner = locate_held(static.type, before)[0] if before else None
    if owner is None:
        return static.name.rpartition("::")[2], path
    type_ = owner.type
    inner = type_.value.type if isinstance(type_, Option) else type_
    return inner.name.partition("<")[0].rpartition("::")[2], name


def _presence(static: Static, door: Field, memory: Memory) -> bool | Invalid:
    """Whether an Option within a static holds its value."""
    assert isinstance(door.type, Option)
    return presence(door.type, memory.read(static.address + door.offset, door.type.size))


@functools.cache
def _fields_of(kind: type) -> tuple[tuple[str, bool], ...]:
    """The names of a dataclass's fields, and whether each must be given."""
    return tuple((field.name, field.default is MISSING) for field in fields(kind))
