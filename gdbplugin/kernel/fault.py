"""The last exception of a core, explained: what `tinyos fault` shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from gdbplugin.aarch64.faults import ExceptionRecord, Syndrome, explain_syndrome, read_exception
from gdbplugin.aarch64.regime import ADDRESS_MASK, RegimeUnknownError, regime_at
from gdbplugin.aarch64.registers import exception_level
from gdbplugin.aarch64.syndromes import DATA_ABORTS, INSTRUCTION_ABORTS
from gdbplugin.aarch64.virtual import UntranslatedAddressError, VirtualMemory
from gdbplugin.aarch64.walk import Translation, translate
from gdbplugin.kernel.failure import EndedTask, FailureRecord, read_ended_tasks, read_failure
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.places import (
    STACK_REGION,
    Description,
    NoSymbols,
    Symbols,
    describe,
    places_of_program,
    read_places,
)
from gdbplugin.kernel.selection import choose_core
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.stopped import Stopped
from gdbplugin.kernel.target import Kernel
from gdbplugin.machine import Machine, MachineError, MachineGoneError, PhysicalReadError

_Found = TypeVar("_Found")
Disassemble = Callable[[int, int, int], str | None]
"""From a core, an address and the 32-bit instruction there to its text; None where it cannot be told."""

VECTOR_TABLE_BYTES = 0x800
_VECTOR_BYTES = 0x80
_VECTORS = ("synchronous exception", "IRQ", "FIQ", "SError")
_SOURCES = (
    "the same level on SP_EL0",
    "the same level",
    "a lower level in AArch64",
    "a lower level in AArch32",
)
_SVC, _HVC, _SMC, _BRK = 0x15, 0x16, 0x17, 0x3C
_CALLS = {_SVC: 0xD400_0001, _HVC: 0xD400_0002, _SMC: 0xD400_0003}
_BRK_INSTRUCTION = 0xD420_0000
_FROM_LOWER = (0x20, 0x24, 0x30, 0x32, 0x34)
_FROM_SAME = (0x21, 0x25, 0x31, 0x33, 0x35)


@dataclass(frozen=True)
class Instruction:
    """The instruction at an address; `word` is None where it cannot be read, `text` where not be told."""

    address: int
    word: int | None
    text: str | None
    where: Description


@dataclass(frozen=True)
class ExceptionReport:
    """An exception taken to exception level `record.level`.

    `instruction` is the one that caused it, None where ELR_ELx is of a later exception (`overwritten`).
    `now` is what the address translates to at this moment, which need not be what it did then; `remarks`
    say what is known of when that was.
    """

    record: ExceptionRecord
    where: Description | None
    now: Translation | None
    instruction: Instruction | None
    overwritten: bool
    remarks: tuple[str, ...]


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

    def __init__(self, stopped: Stopped, symbols: Symbols) -> None:
        self.symbols = symbols
        self.kernel: Kernel | None = stopped.kernel
        self._journal = stopped.journal
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
    stopped: Stopped,
    symbols: Symbols | None = None,
    disassemble: Disassemble = lambda _core, _address, _word: None,
    *,
    core: int | None = None,
) -> Fault:
    """Explain a core's last exceptions. Raises `SelectionError` for a core there is not."""
    machine = stopped.machine
    number = choose_core(stopped, core)
    around = _Surroundings(stopped, symbols or NoSymbols())
    level = exception_level(machine, number)
    kernel = around.kernel
    failure = None if kernel is None else around.attempt(lambda: _failure(kernel, around), None)
    ended: list[TaskEnd] = []
    if kernel is not None:
        ended = around.attempt(lambda: _task_ends(kernel, around), ended)
    reports, silent = [], []
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
        entering=_entering(machine, number, level),
        failure=failure,
        ended=tuple(ended),
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
    instruction, overwritten = _instruction(machine, record, around, disassemble)
    remarks = [_overwritten(record) if overwritten else _standing(record, level)]
    now = None
    if record.address is not None:
        now = _translate_now(machine, record, overwritten)
    return ExceptionReport(
        record=record,
        where=None if record.address is None else around.describe(record.address),
        now=now,
        instruction=instruction,
        overwritten=overwritten,
        remarks=tuple(remarks),
    )


def _standing(record: ExceptionRecord, level: int | None) -> str:
    """Whether the exception is over, as far as that can be told."""
    if level is None:
        return "the core's exception level is not known: whether this exception is over is not either"
    if level < record.level:
        return f"the core is back at EL{level}: this exception is over"
    if level > record.level:
        return f"the core is at EL{level} now, above the level that took this exception"
    return (
        f"the core is at EL{level}: this exception may be being handled, or be over, "
        f"as ESR_EL{level} keeps it until the next"
    )


def _overwritten(record: ExceptionRecord) -> str:
    return (
        f"ELR_EL{record.level} is of a later exception, such as an interrupt, which leaves ESR as it was: "
        "this exception is over, or was interrupted, and its instruction is not known"
    )


def _entering(machine: Machine, core: int, level: int | None) -> str | None:
    """The vector that the core is in, where it was stopped right there."""
    place, base = machine.register("PC", core), None
    if level:
        base = machine.register(f"VBAR_EL{level}", core)
    if place is None or base is None:
        return None
    offset = place - (base & ~(VECTOR_TABLE_BYTES - 1))
    if base == 0 or not 0 <= offset < VECTOR_TABLE_BYTES:
        return None
    number = offset // _VECTOR_BYTES
    return f"{_VECTORS[number % 4]} from {_SOURCES[number // 4]}"


def _instruction(
    machine: Machine, record: ExceptionRecord, around: _Surroundings, disassemble: Disassemble
) -> tuple[Instruction | None, bool]:
    """The instruction that ELR_ELx leads to, and whether it cannot be this exception's."""
    if record.instruction is None:
        return None, False
    exception_class = record.syndrome.exception_class
    if record.from_level is not None and (
        (exception_class in _FROM_LOWER and record.from_level >= record.level)
        or (exception_class in _FROM_SAME and record.from_level != record.level)
    ):
        return None, True
    # ELR_ELx has the instruction after a call, and the instruction itself for all else.
    address = (record.instruction - (4 if exception_class in _CALLS else 0)) & ADDRESS_MASK
    word = _read_word(machine, record, address)
    if word is not None and not _can_cause(word, record):
        return None, True
    text = None if word is None else disassemble(record.core, address, word)
    return Instruction(address, word, text, around.describe(address)), False


def _read_word(machine: Machine, record: ExceptionRecord, address: int) -> int | None:
    """The instruction at an address, by the tables of the level it ran at as they are now."""
    level = record.level if record.from_level is None else record.from_level
    try:
        memory = VirtualMemory(machine, regime_at(machine, record.core, level))
        return int.from_bytes(memory.read(address, 4), "little")
    except (UntranslatedAddressError, PhysicalReadError, RegimeUnknownError):
        return None  # Shown as an instruction that cannot be read.


def _can_cause(word: int, record: ExceptionRecord) -> bool:
    """Whether an instruction can have caused the exception, by its encoding (DDI 0487, C4.1)."""
    syndrome = record.syndrome
    if syndrome.exception_class in _CALLS:
        return word == _CALLS[syndrome.exception_class] | (syndrome.immediate or 0) << 5
    if syndrome.exception_class == _BRK:
        return word == _BRK_INSTRUCTION | (syndrome.immediate or 0) << 5
    if syndrome.exception_class in DATA_ABORTS:
        # Loads and stores; and the system instructions, of which DC, IC and AT access memory.
        return word >> 25 & 0b0101 == 0b0100 or word >> 22 == 0b1101010100
    if syndrome.exception_class in INSTRUCTION_ABORTS:
        return record.address is None or record.address == record.instruction
    return True


def _translate_now(machine: Machine, record: ExceptionRecord, overwritten: bool) -> Translation | None:
    level = record.level if overwritten or record.from_level is None else record.from_level
    try:
        regime = regime_at(machine, record.core, level)
    except RegimeUnknownError:
        return None  # What is not known of the registers, `tinyos translate` says.
    return translate(machine, regime, record.address or 0)


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
    if not STACK_REGION[0] <= address < STACK_REGION[1] or not task.stack:
        return now
    nothing: tuple[DynamicStack, ...] = ()
    stacks = around.attempt(lambda: read_stacks(kernel).stacks, nothing)
    record = next((stack for stack in stacks if stack.id == task.stack), None)
    if record is not None and record.owner == task.id:
        return now
    what = "is not on record" if record is None else "has been another task's since"
    return replace(now, place=None, text=f"among the stacks; stack {task.stack}, which it had, {what}")
