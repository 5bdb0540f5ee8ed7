"""The last exceptions of a core, explained, for `tinyos fault`."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64 import consistency
from gdbplugin.aarch64.faults import ExceptionRecord, Syndrome, explain_syndrome, read_exception
from gdbplugin.aarch64.regime import RegimeUnknownError
from gdbplugin.aarch64.registers import exception_level, is_in_aarch32
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.fault_analysis import (
    VECTOR_BYTES,
    CurrentTranslation,
    Disassemble,
    ExceptionAnalysis,
    Instruction,
)
from gdbplugin.kernel.interface import (
    FAILURE_RECORD,
    STACKS,
    FailureRecord,
    MemoryRange,
    range_of,
    read_failure,
)
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.memory_objects import Description, describe, objects_of_program, read_objects
from gdbplugin.kernel.selection import choose_core
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import NoSymbols, Symbols, Target
from gdbplugin.kernel.tasks import EndedTask, read_ended_tasks
from gdbplugin.machine import Machine, MachineError, MachineGoneError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeVar

    _Found = TypeVar("_Found")

VECTOR_TABLE_BYTES = 0x800
_VECTORS = ("synchronous exception", "IRQ", "FIQ", "SError")
_SOURCES = (
    "the same level on SP_EL0",
    "the same level",
    "a lower level in AArch64",
    "a lower level in AArch32",
)


@dataclass(frozen=True)
class ExceptionReport:
    """An exception that an exception level took, explained."""

    json_fields = (
        "record",
        "from_level as taken_from",
        "where as place",
        "intermediate",
        "now",
        "instruction",
        "overwritten",
        "remarks",
        "contradictions",
    )
    json_merged = ("record",)

    record: ExceptionRecord
    where: Description | None
    """What is at the faulting address; null if there is no such address."""
    now: CurrentTranslation | None
    """What the address translates to now, which may have changed since the exception; null if there is no
    address or its translation is not known."""
    instruction: Instruction | None
    """The instruction that caused the exception; null if it is not known."""
    overwritten: bool
    """Whether ELR_ELx is of a later exception; the first remark says how that shows."""
    remarks: tuple[str, ...]
    """Whether the exception is over, as far as that is known, and what agrees with it."""
    from_level: int | None = None
    """The exception level that it was taken from: from SPSR_ELx, or from the exception's class if SPSR_ELx is
    of a later exception; null if it is not known."""
    intermediate: int | None = None
    """The page of the intermediate physical address at which stage 2 faulted (HPFAR_EL2); null if there is
    none."""
    contradictions: tuple[str, ...] = ()
    """Contradictions between registers, instruction and tables, one sentence each."""


@dataclass(frozen=True)
class TaskEnd:
    """A task that an exception ended, with the syndrome and the address explained."""

    json_fields = ("task", "syndrome as explained", "where as place")
    json_merged = ("task",)

    task: EndedTask
    syndrome: Syndrome
    """The syndrome, explained."""
    where: Description | None
    """What is at end_address; null if there is no such address."""


@dataclass(frozen=True)
class KernelFailure:
    """The kernel's failure record, explained."""

    json_fields = ("record", "syndrome as explained", "where as place", "instruction as instruction_place")
    json_merged = ("record",)

    record: FailureRecord
    syndrome: Syndrome | None
    """The syndrome, explained; null after a panic."""
    where: Description | None
    """What is at fault_address; null if the exception has no such address."""
    instruction: Description | None
    """What is at link_address; null if there is no such address."""


@dataclass(frozen=True)
class FaultReport(Diagnosed):
    """The last exceptions of a core, explained, by the exception level that took them."""

    json_fields = (
        "core",
        "level",
        "entering",
        "reports as exceptions",
        "silent",
        "failure",
        "has_failed",
        "ended as ended_tasks",
    )

    core: int
    """Number of the core."""
    level: int | None
    """The exception level that the core is at; null if it is not known."""
    reports: tuple[ExceptionReport, ...]
    """The last exception of each level, the current level's first."""
    silent: tuple[str, ...]
    """For each level without such an exception, a sentence that says why."""
    entering: str | None
    """The exception vector that the core is in; null if it is in none."""
    failure: KernelFailure | None
    """TinyOS's failure record; null if it has not failed."""
    has_failed: bool | None
    """Whether TinyOS has failed; null if it is not what runs, or keeps no record of that."""
    ended: tuple[TaskEnd, ...]
    """The TinyOS tasks that an exception ended."""


class _Places:
    """Describes addresses of a stopped machine, with or without TinyOS."""

    def __init__(self, target: Target, symbols: Symbols) -> None:
        self.symbols = symbols
        self.kernel: Kernel | None = target.kernel
        self._diagnostics = target.diagnostics
        self.objects = objects_of_program(symbols)
        kernel = self.kernel
        if kernel is not None:
            self.objects = self.attempt(lambda: read_objects(kernel, symbols), self.objects)

    def describe(self, address: int) -> Description:
        by_symbols = describe(address, self.objects, self.symbols, None)
        kernel = self.kernel
        if kernel is None:
            return by_symbols
        return self.attempt(lambda: describe(address, self.objects, self.symbols, kernel), by_symbols)

    def attempt(self, read: Callable[[], _Found], default: _Found) -> _Found:
        """What `read` returns; if TinyOS's records cannot be read, a note and `default`."""
        try:
            return read()
        except MachineGoneError:
            raise
        except MachineError as error:
            self._diagnostics.add_note(f"TinyOS's records could not be read: {error}")
            return default


def read_fault(
    target: Target,
    symbols: Symbols | None = None,
    disassemble: Disassemble = lambda _core, _address, _word: None,
    *,
    core: int | None = None,
) -> FaultReport:
    """Explain a core's last exceptions. Raises `SelectionError` for an unknown core."""
    machine = target.machine
    number = choose_core(target, core)
    places = _Places(target, symbols or NoSymbols())
    level = exception_level(machine, number)
    kernel = places.kernel
    failure = None if kernel is None else places.attempt(lambda: _failure(kernel, places), None)
    ended: list[TaskEnd] = []
    if kernel is not None:
        ended = places.attempt(lambda: _task_ends(kernel, places), ended)
    reports, silent = [], []
    if is_in_aarch32(machine, number):
        silent.append("the core is in AArch32 state: its exceptions there leave no syndrome in ESR_EL1")
    levels: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    for taken_to in sorted(levels, key=lambda entry: entry != max(level or 1, 1)):
        record = read_exception(machine, number, taken_to)
        if record is None:
            silent.append(f"ESR_EL{taken_to} cannot be read from this target")
        elif record.syndrome.value == 0:
            silent.append(
                f"EL{taken_to} has taken no synchronous exception since reset (ESR_EL{taken_to} is 0)"
            )
        else:
            report = _report(machine, record, level, places, disassemble)
            if _is_failure(failure, record):
                report = replace(report, remarks=("TinyOS halted on this exception",))
            reports.append(report)
    return FaultReport(
        core=number,
        level=level,
        reports=tuple(reports),
        silent=tuple(silent),
        entering=_entering(_vector_offset(machine, number, level)),
        failure=failure,
        has_failed=None if kernel is None or not _keeps_failures(kernel) else failure is not None,
        ended=tuple(ended),
        diagnostics=target.diagnostics,
    )


def _keeps_failures(kernel: Kernel) -> bool:
    return kernel.layout.static(FAILURE_RECORD) is not None


def _is_failure(failure: KernelFailure | None, record: ExceptionRecord) -> bool:
    """Whether an exception is the one that stopped TinyOS."""
    return failure is not None and (record.core, record.syndrome.value, record.instruction) == (
        failure.record.core,
        failure.record.syndrome,
        failure.record.link_address,
    )


def _report(
    machine: Machine,
    record: ExceptionRecord,
    level: int | None,
    places: _Places,
    disassemble: Disassemble,
) -> ExceptionReport:
    offset = _vector_offset(machine, record.core, level) if level == record.level else None
    analysis = ExceptionAnalysis(machine, record, offset)
    if analysis.mismatch is not None:
        instruction = None
        remarks = [_overwritten(record, analysis.mismatch)]
    else:
        instruction = analysis.instruction(places.describe, disassemble)
        remarks = [analysis.progress(level)]
    contradictions = consistency.syndrome_contradictions(record) + analysis.operation_contradictions()
    if record.syndrome.status is not None and record.address is None:
        remarks.append(f"FAR_EL{record.level} does not hold the address of this exception (FnV)")
    now = None
    try:
        now = analysis.current_translation()
    except RegimeUnknownError as error:
        remarks.append(f"what the address translates to now is not known: {error}")
    if now is not None:
        # Once the handler runs, a difference is usually its change of the tables, not a contradiction.
        differences = contradictions if analysis.is_being_taken else remarks
        comparison = analysis.compare_with_tables(now)
        if comparison is not None:
            sentence, differs = comparison
            (differences if differs else remarks).append(sentence)
        differences += analysis.intermediate_contradictions(now)
    return ExceptionReport(
        record=record,
        where=None if record.address is None else places.describe(record.address),
        now=now,
        instruction=instruction,
        overwritten=analysis.mismatch is not None,
        remarks=tuple(remarks),
        from_level=analysis.from_level,
        intermediate=analysis.intermediate,
        contradictions=tuple(contradictions),
    )


def _overwritten(record: ExceptionRecord, mismatch: str) -> str:
    level = record.level
    return (
        f"{mismatch}: ELR_EL{level} and SPSR_EL{level} are of a later exception, such as an interrupt, which "
        f"leaves ESR_EL{level} unchanged, or the code has changed since; the instruction of this exception "
        "is not known"
    )


def _vector_offset(machine: Machine, core: int, level: int | None) -> int | None:
    """The offset of a core's PC in the vector table of its level; None if the PC is elsewhere."""
    pc, base = machine.register("PC", core), None
    if level:
        base = machine.register(f"VBAR_EL{level}", core)
    if pc is None or not base:
        return None
    offset = pc - (base & ~(VECTOR_TABLE_BYTES - 1))
    return offset if 0 <= offset < VECTOR_TABLE_BYTES else None


def _entering(offset: int | None) -> str | None:
    """The name of the vector at an offset in the vector table."""
    if offset is None:
        return None
    number = offset // VECTOR_BYTES
    return f"{_VECTORS[number % 4]} from {_SOURCES[number // 4]}"


def _failure(kernel: Kernel, places: _Places) -> KernelFailure | None:
    record = read_failure(kernel)
    if record is None:
        return None
    syndrome = explain_syndrome(record.syndrome) if record.syndrome else None
    has_address = syndrome is not None and syndrome.far_valid and record.fault_address is not None
    return KernelFailure(
        record=record,
        syndrome=syndrome,
        where=places.describe(record.fault_address or 0) if has_address else None,
        instruction=places.describe(record.link_address) if record.link_address else None,
    )


def _task_ends(kernel: Kernel, places: _Places) -> list[TaskEnd]:
    found = []
    for task in read_ended_tasks(kernel):
        address = task.end_address
        where = None if address is None else _describe_at_end(kernel, places, task, address)
        found.append(TaskEnd(task, explain_syndrome(task.end_syndrome), where))
    return found


def _describe_at_end(kernel: Kernel, places: _Places, task: EndedTask, address: int) -> Description:
    """What was at an address when a task ended; the record of its stack may be another task's by now."""
    now = places.describe(address)
    none: MemoryRange | None = None
    region = places.attempt(lambda: range_of(kernel, STACKS), none)
    if region is None or not region.start <= address < region.end or not task.stack:
        return now
    nothing: tuple[DynamicStack, ...] = ()
    stacks = places.attempt(lambda: read_stacks(kernel).stacks, nothing)
    record = next((stack for stack in stacks if stack.id == task.stack), None)
    if record is not None and record.owner == task.id:
        return now
    change = "is not on record" if record is None else "now belongs to another task"
    return replace(now, object=None, text=f"among the stacks; its stack {task.stack} {change}")
