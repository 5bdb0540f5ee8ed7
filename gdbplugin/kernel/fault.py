"""The last exception of a core, explained: what `tinyos fault` shows."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64 import evidence
from gdbplugin.aarch64.faults import ExceptionRecord, Syndrome, explain_syndrome, read_exception
from gdbplugin.aarch64.regime import RegimeUnknownError
from gdbplugin.aarch64.registers import exception_level, is_in_aarch32
from gdbplugin.kernel.failure import EndedTask, FailureRecord, read_ended_tasks, read_failure
from gdbplugin.kernel.fault_evidence import VECTOR_BYTES, Disassemble, Evidence, Instruction, Now
from gdbplugin.kernel.interface import STACKS, MemoryRange, range_of
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.memory_objects import Description, describe, objects_of_program, read_objects
from gdbplugin.kernel.selection import choose_core
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import NoSymbols, Symbols, Target
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
    """What lies at the faulting address; null where there is no such address."""
    now: Now | None
    """What the address translates to now, which may not be what it was at the exception; null where there is
    no address, or its translation is not known."""
    instruction: Instruction | None
    """The instruction that caused the exception; null where it is not known."""
    overwritten: bool
    """Whether ELR_ELx is of a later exception; the first remark says how that is known."""
    remarks: tuple[str, ...]
    """When the exception was, as far as that is known, and what agrees with it."""
    from_level: int | None = None
    """The exception level it was taken from: by SPSR_ELx, or by the exception's class if SPSR_ELx is of a
    later exception; null where not known."""
    intermediate: int | None = None
    """The page of the intermediate physical address that stage 2 failed on (HPFAR_EL2); null where there is
    none."""
    contradictions: tuple[str, ...] = ()
    """Where registers, instruction and tables contradict each other, and how that is known."""


@dataclass(frozen=True)
class TaskEnd:
    """A task that an exception ended, with its syndrome explained, and what lies at the address."""

    json_fields = ("task", "syndrome as explained", "where as place")
    json_merged = ("task",)

    task: EndedTask
    syndrome: Syndrome
    """The syndrome, explained."""
    where: Description | None
    """What lies at end_address; null where there is no such address."""


@dataclass(frozen=True)
class KernelFailure:
    """The kernel's failure record, explained."""

    json_fields = ("record", "syndrome as explained", "where as place", "instruction as instruction_place")
    json_merged = ("record",)

    record: FailureRecord
    syndrome: Syndrome | None
    """The syndrome, explained; null after a panic."""
    where: Description | None
    """What lies at fault_address; null where the exception has no such address."""
    instruction: Description | None
    """What lies at link_address; null where there is no such address."""


@dataclass(frozen=True)
class Fault(Noticed):
    """The last exceptions of a core, explained, by the exception level that took them."""

    json_fields = (
        "core",
        "level",
        "entering",
        "reports as exceptions",
        "silent",
        "failure",
        "ended as ended_tasks",
    )

    core: int
    """Number of the core."""
    level: int | None
    """The exception level the core is at; null where not known."""
    reports: tuple[ExceptionReport, ...]
    """The last exception of each level, the current level's first."""
    silent: tuple[str, ...]
    """The levels without such an exception, and why."""
    entering: str | None
    """The exception vector that the core is in; null where it is in none."""
    failure: KernelFailure | None
    """TinyOS's failure record; null where it has not failed."""
    ended: tuple[TaskEnd, ...]
    """The TinyOS tasks that an exception ended."""


class _Surroundings:
    """What lies where on a stopped machine, with or without TinyOS."""

    def __init__(self, target: Target, symbols: Symbols) -> None:
        self.symbols = symbols
        self.kernel: Kernel | None = target.kernel
        self._journal = target.journal
        self.objects = objects_of_program(symbols)
        kernel = self.kernel
        if kernel is not None:
            self.objects = self.attempt(lambda: read_objects(kernel, symbols), self.objects)

    def describe(self, address: int) -> Description:
        without = describe(address, self.objects, self.symbols, None)
        kernel = self.kernel
        if kernel is None:
            return without
        return self.attempt(lambda: describe(address, self.objects, self.symbols, kernel), without)

    def attempt(self, read: Callable[[], _Found], otherwise: _Found) -> _Found:
        """What `read` returns; a note and `otherwise` if TinyOS's records cannot be read."""
        try:
            return read()
        except MachineGoneError:
            raise
        except MachineError as error:
            self._journal.note(f"TinyOS's records could not be read: {error}")
            return otherwise


def read_fault(
    target: Target,
    symbols: Symbols | None = None,
    disassemble: Disassemble = lambda _core, _address, _word: None,
    *,
    core: int | None = None,
) -> Fault:
    """Explain a core's last exceptions. Raises `SelectionError` for an unknown core."""
    machine = target.machine
    number = choose_core(target, core)
    around = _Surroundings(target, symbols or NoSymbols())
    level = exception_level(machine, number)
    kernel = around.kernel
    failure = None if kernel is None else around.attempt(lambda: _failure(kernel, around), None)
    ended: list[TaskEnd] = []
    if kernel is not None:
        ended = around.attempt(lambda: _task_ends(kernel, around), ended)
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
            report = _report(machine, record, level, around, disassemble)
            reports.append(_halted(report) if _is_failure(failure, record) else report)
    return Fault(
        core=number,
        level=level,
        reports=tuple(reports),
        silent=tuple(silent),
        entering=_entering(_vector(machine, number, level)),
        failure=failure,
        ended=tuple(ended),
        journal=target.journal,
    )


def _is_failure(failure: KernelFailure | None, record: ExceptionRecord) -> bool:
    """Whether an exception is the one that stopped TinyOS."""
    return failure is not None and (record.core, record.syndrome.value, record.instruction) == (
        failure.record.core,
        failure.record.syndrome,
        failure.record.link_address,
    )


def _halted(report: ExceptionReport) -> ExceptionReport:
    return replace(report, remarks=("TinyOS halted on this exception",))


def _report(
    machine: Machine,
    record: ExceptionRecord,
    level: int | None,
    around: _Surroundings,
    disassemble: Disassemble,
) -> ExceptionReport:
    offset = _vector(machine, record.core, level) if level == record.level else None
    found = Evidence(machine, record, offset)
    doubt = found.doubt
    instruction = None if doubt is not None else found.instruction(around.describe, disassemble)
    remarks = [_overwritten(record, doubt) if doubt is not None else found.standing(level)]
    contradictions = evidence.syndrome_contradictions(record)
    contradictions += found.operation_contradictions()
    if record.syndrome.status is not None and record.address is None:
        remarks.append(f"FAR_EL{record.level} does not hold the address of this exception (FnV)")
    now = None
    try:
        now = found.now()
    except RegimeUnknownError as error:
        remarks.append(f"what the address translates to now is not known: {error}")
    if now is not None:
        # Once the handler runs, it is usually the handler that has changed the tables.
        changed = contradictions if found.is_fresh else remarks
        said = found.table_remark(now)
        if said is not None:
            (changed if said[1] else remarks).append(said[0])
        changed += found.intermediate_contradictions(now)
    return ExceptionReport(
        record=record,
        where=None if record.address is None else around.describe(record.address),
        now=now,
        instruction=instruction,
        overwritten=doubt is not None,
        remarks=tuple(remarks),
        from_level=found.from_level,
        intermediate=found.intermediate,
        contradictions=tuple(contradictions),
    )


def _overwritten(record: ExceptionRecord, doubt: str) -> str:
    level = record.level
    return (
        f"{doubt}: ELR_EL{level} and SPSR_EL{level} are of a later exception, such as an interrupt, which "
        "leaves ESR as it was, or the code has changed since; the instruction of this exception is not known"
    )


def _vector(machine: Machine, core: int, level: int | None) -> int | None:
    """The offset of a core's PC in its vector table; None if it is elsewhere."""
    position, base = machine.register("PC", core), None
    if level:
        base = machine.register(f"VBAR_EL{level}", core)
    if position is None or not base:
        return None
    offset = position - (base & ~(VECTOR_TABLE_BYTES - 1))
    return offset if 0 <= offset < VECTOR_TABLE_BYTES else None


def _entering(offset: int | None) -> str | None:
    """The vector at that offset."""
    if offset is None:
        return None
    number = offset // VECTOR_BYTES
    return f"{_VECTORS[number % 4]} from {_SOURCES[number // 4]}"


def _failure(kernel: Kernel, around: _Surroundings) -> KernelFailure | None:
    record = read_failure(kernel)
    if record is None:
        return None
    syndrome = explain_syndrome(record.syndrome) if record.syndrome else None
    has_address = syndrome is not None and syndrome.far_valid and record.fault_address is not None
    return KernelFailure(
        record=record,
        syndrome=syndrome,
        where=around.describe(record.fault_address or 0) if has_address else None,
        instruction=around.describe(record.link_address) if record.link_address else None,
    )


def _task_ends(kernel: Kernel, around: _Surroundings) -> list[TaskEnd]:
    found = []
    for task in read_ended_tasks(kernel):
        where = (
            None if task.end_address is None else _description_then(kernel, around, task, task.end_address)
        )
        found.append(TaskEnd(task, explain_syndrome(task.end_syndrome), where))
    return found


def _description_then(kernel: Kernel, around: _Surroundings, task: EndedTask, address: int) -> Description:
    """What lay at an address when a task ended; the record of its stack may be another task's by now."""
    now = around.describe(address)
    none: MemoryRange | None = None
    region = around.attempt(lambda: range_of(kernel, STACKS), none)
    if region is None or not region.start <= address < region.end or not task.stack:
        return now
    nothing: tuple[DynamicStack, ...] = ()
    stacks = around.attempt(lambda: read_stacks(kernel).stacks, nothing)
    record = next((stack for stack in stacks if stack.id == task.stack), None)
    if record is not None and record.owner == task.id:
        return now
    what = "is not on record" if record is None else "has been another task's since"
    return replace(now, object=None, text=f"among the stacks; stack {task.stack}, which it had, {what}")
