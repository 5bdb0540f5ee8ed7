"""TinyOS in a stopped machine: finds its statics and reads them by walking the kernel's own tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, el1_regime
from gdbplugin.aarch64.virtual import VirtualMemory
from gdbplugin.aarch64.walk import UNKNOWN, translate
from gdbplugin.kernel.history import History
from gdbplugin.kernel.journal import Journal
from gdbplugin.layout.decode import Invalid, value
from gdbplugin.layout.types import Layout, LayoutError, Static, Type, in_one_line, locate_path
from gdbplugin.machine import Machine, MachineError
from gdbplugin.records import MISSING, Protocol, dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Record = TypeVar("_Record")
    _Value = TypeVar("_Value")

MANAGER = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER"
SCHEDULER = "kernel::scheduler::SCHEDULER"
CHANGING = (
    "the kernel was stopped in the middle of a change of its memory state (odd sequence counter): "
    "figures may not agree with each other"
)


class NotTinyOSError(MachineError):
    """The program that was loaded is not TinyOS."""


class StaticUnknownError(MachineError):
    """Of a static it is not known whether the kernel has it: its debug information could not be read."""


class WrongWordError(MachineError):
    """A word of the user's names nothing that this kernel has. `reason` goes on where `word` ends."""

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(f'"{word}" {reason}')
        self.word = word
        self.reason = reason


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


class Memory(Protocol):
    """Where the kernel's statics are read from."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from virtual `address`, or a `MachineError`."""


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
        unknown: RegimeUnknownError | None = None
        enabled = False
        for core in self.machine.cores:
            try:
                regime = el1_regime(self.machine, core)
            except RegimeUnknownError as error:
                unknown = unknown or error
                continue
            enabled = enabled or regime.enabled
            if regime.enabled:
                found = translate(self.machine, regime, address)
                if found.output is not None:
                    return regime
                if found.fault is not None and found.fault.kind == UNKNOWN:
                    unknown = unknown or RegimeUnknownError(
                        f"whether core {core} maps the kernel cannot be told: {found.fault.reason}"
                    )
        if unknown is not None:
            raise unknown
        if enabled:
            raise KernelNotReadyError(
                f"no core's tables map the kernel's memory manager at {address:#x}: "
                "the machine runs something else, or has not got that far"
            )
        raise KernelNotReadyError(
            "the MMU is off on every core: the kernel has not set up its memory yet; let it run on"
        )

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
        if found is None:
            raise NotTinyOSError(f"the loaded symbols are not TinyOS's: they have no {last}")
        return found

    def place(self, static_name: str, path: str) -> Static | None:
        """Where the field at a dotted path of a static lies; None, and a note, if there is none."""
        static = self.static(static_name)
        field = locate_path(static.type, path)
        if field is None:
            self.journal.note(f"this kernel's {static_name.rpartition('::')[2]} has no {path}")
            return None
        return Static(path, static.address + field.offset, field.type)

    def part(self, static_name: str, path: str) -> Part | None:
        """Read the field at a dotted path of a static, in one read; None, and a note, if there is none."""
        place = self.place(static_name, path)
        return Part(place.type, self.memory.read(place.address, place.type.size)) if place else None

    def is_changing(self, static_name: str) -> bool:
        """Whether the machine was stopped while the kernel was changing that static (its counter is odd)."""
        field = locate_path(self.static(static_name).type, "sequence")
        if field is None:
            return False
        part = self.part(static_name, "sequence")
        return part is not None and isinstance(part.value, int) and part.value % 2 == 1

    def note_change(self) -> bool:
        """Whether the manager was being changed when the machine stopped; if so that is noted."""
        changing = self.is_changing(MANAGER)
        if changing:
            self.journal.note(CHANGING)
        return changing

    def integer(self, static_name: str, path: str) -> int | None:
        """An integer field; None, and a note, if there is none."""
        part = self.part(static_name, path)
        found = part.value if part is not None else None
        return found if isinstance(found, int) else None

    def record(self, kind: type[_Record], values: object, label: str, **given: object) -> _Record:
        """Make a dataclass of a decoded struct, field by field, by name.

        `given` are the fields the caller has made itself. A value the type does not have becomes a
        finding and None; a field the struct does not have becomes a note and None.
        """
        source: Mapping[str, Any] = values if isinstance(values, dict) else {}
        chosen: dict[str, object] = dict(given)
        for name, is_required in _fields_of(kind):  # type: ignore[arg-type]
            if name in chosen:
                continue
            if name not in source:
                if is_required:
                    chosen[name] = None
                    self.journal.note(f"this kernel's {kind.__name__} has no field {name}")
                continue
            found = source[name]
            chosen[name] = (
                self.checked(found, f"{label}: {name}") if isinstance(found, Invalid | list) else found
            )
        return kind(**chosen)

    def checked(self, found: Any, label: str) -> Any:
        """A decoded value as it is, but None, and a finding, for one its type does not have."""
        if isinstance(found, Invalid):
            self.journal.find(label, found.expected, f"{found.found:#x}")
            return None
        if isinstance(found, list):
            return tuple(self.checked(entry, f"{label}[{index}]") for index, entry in enumerate(found))
        return found


@functools.cache
def _fields_of(kind: type) -> tuple[tuple[str, bool], ...]:
    """The names of a dataclass's fields, and whether each must be given."""
    return tuple((field.name, field.default is MISSING) for field in fields(kind))
