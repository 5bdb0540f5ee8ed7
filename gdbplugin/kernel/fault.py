"""The last exception of a core, explained: what `tinyos fault` shows."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64 import evidence
from gdbplugin.aarch64.faults import ExceptionRecord, Syndrome, explain_syndrome, read_exception
from gdbplugin.aarch64.regime import RegimeUnknownError
from gdbplugin.aarch64.registers import exception_level, is_in_aarch32
from gdbplugin.kernel.exports import STACKS, MemoryRange, range_of
from gdbplugin.kernel.failure import EndedTask, FailureRecord, read_ended_tasks, read_failure
from gdbplugin.kernel.fault_evidence import VECTOR_BYTES, Disassemble, Evidence, Instruction, Now
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.places import Description, describe, places_of_program, read_places
from gdbplugin.kernel.selection import choose_core
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import NoSymbols, Symbols, Target
from gdbplugin.machine import Machine, MachineError, MachineGoneError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

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
    """An exception taken to exception level `record.level`.

    `instruction` is the one that caused it, None where ELR_ELx is of a later exception (`overwritten`).
    `from_level` is the exception level it was taken from, by SPSR_ELx, or else by the exception's class.
    `intermediate` is the page of the intermediate physical address that stage 2 had no translation for
    (HPFAR_EL2). `now` is what the address translates to at this moment, which need not be what it did then;
    `remarks` say what is known of when that was; `contradictions` say where registers, instruction and
    tables do not fit each other, and by what that is seen.
    """

    record: ExceptionRecord
    where: Description | None
    now: Now | None
    instruction: Instruction | None
    overwritten: bool
    remarks: tuple[str, ...]
    from_level: int | None = None
    intermediate: int | None = None
    contradictions: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskEnd:
    """A task that an exception ended, with its syndrome explained, and what lies at the address."""

    task: EndedTask
    syndrome: Syndrome
    where: Description | None


@dataclass(frozen=True)
class KernelFailure:
    """The kernel's failure record, explained. A panic has no syndrome."""

    record: FailureRecord
    syndrome: Syndrome | None
    where: Description | None
    instruction: Description | None


@dataclass(frozen=True)
class Fault(Noticed):
    """The last exceptions of a core by the level that took them, the current level's own first.

    `level` is the exception level the core is at, None where unknown. Levels whose registers hold
    nothing, or are not to be had, have no report: `silent` names them.
    """

    core: int
    level: int | None
    reports: tuple[ExceptionReport, ...]
    silent: tuple[str, ...]
    entering: str | None
    failure: KernelFailure | None
    ended: tuple[TaskEnd, ...]


class _Surroundings:
    """What lies where, on a stopped machine, whatever runs on it."""

    def __init__(self, target: Target, symbols: Symbols) -> None:
        self.symbols = symbols
        self.kernel: Kernel | None = target.kernel
        self._journal = target.journal
        self.places = places_of_program(symbols)
        kernel = self.kernel
        if kernel is not None:
            self.places = self.attempt(lambda: read_places(kernel, symbols), self.places)

    def describe(self, address: int) -> Description:
        without = describe(address, self.places, self.symbols, None)
        kernel = self.kernel
        if kernel is None:
            return without
        return self.attempt(lambda: describe(address, self.places, self.symbols, kernel), without)

    def attempt(self, read: Callable[[], _Found], otherwise: _Found) -> _Found:
        """What is read of TinyOS; a note, and `otherwise`, where it cannot be read."""
        try:
            return read()
        except MachineGoneError:
            raise
        except MachineError as error:
            self._journal.note(f"what TinyOS has on record could not be read: {error}")
            return otherwise


def read_fault(
    target: Target,
    symbols: Symbols | None = None,
    disassemble: Disassemble = lambda _core, _address, _word: None,
    *,
    core: int | None = None,
) -> Fault:
    """Explain a core's last exceptions. Raises `SelectionError` for a core there is not."""
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
        silent.append("it is in AArch32 state, whose own exceptions leave no syndrome in ESR_EL1")
    for taken_to in sorted((1, 2, 3), key=lambda entry: entry != max(level or 1, 1)):
        record = read_exception(machine, number, taken_to)
        if record is None:
            silent.append(f"ESR_EL{taken_to} is not to be had from this target")
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
        # Once the handler runs, tables that have changed are its work, as a rule.
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
    """How many bytes into its vectors a core is; None where it was not stopped there."""
    place, base = machine.register("PC", core), None
    if level:
        base = machine.register(f"VBAR_EL{level}", core)
    if place is None or not base:
        return None
    offset = place - (base & ~(VECTOR_TABLE_BYTES - 1))
    return offset if 0 <= offset < VECTOR_TABLE_BYTES else None


def _entering(offset: int | None) -> str | None:
    """The vector that the core is in, where it was stopped right there."""
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
        where = None if task.end_address is None else _place_then(kernel, around, task, task.end_address)
        found.append(TaskEnd(task, explain_syndrome(task.end_syndrome), where))
    return found


def _place_then(kernel: Kernel, around: _Surroundings, task: EndedTask, address: int) -> Description:
    """What lay at an address when a task ended, of whose stack the record may be another's by now."""
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
    return replace(now, place=None, text=f"among the stacks; stack {task.stack}, which it had, {what}")
