"""The last exception of a core, explained: what `tinyos fault` shows."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64 import evidence
from gdbplugin.aarch64.access import access_fault, permissions_by_level
from gdbplugin.aarch64.descriptor import Permissions
from gdbplugin.aarch64.faults import ExceptionRecord, Syndrome, explain_syndrome, read_exception
from gdbplugin.aarch64.instructions import STACK_POINTER, MemoryOperation, memory_operation
from gdbplugin.aarch64.regime import ADDRESS_MASK, RegimeUnknownError, TranslationRegime, regime_at
from gdbplugin.aarch64.registers import bits, decode, exception_level, is_in_aarch32
from gdbplugin.aarch64.virtual import UntranslatedAddressError, VirtualMemory
from gdbplugin.aarch64.walk import Fault as TableFault
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
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

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
_PAN, _UAO = 22, 23
"""Bits of SPSR_ELx."""


@dataclass(frozen=True)
class Instruction:
    """The instruction at an address; `word` is None where it cannot be read, `text` where not be told.

    `operation` is what it does to memory, None where nothing.
    """

    address: int
    word: int | None
    text: str | None
    where: Description
    operation: MemoryOperation | None = None


@dataclass(frozen=True)
class Now:
    """What the fault address translates to at this moment, in the regime of the access that failed.

    `fault` is what that access would take now: of the walk, or for a permission. `permissions` are by
    exception level of the regime, empty where no leaf was found or the MMU is off (`enabled` false);
    `stage2_permissions` are what a hypervisor allows, empty where none translates or has no leaf.
    """

    walk: Translation
    fault: TableFault | None
    permissions: dict[str, Permissions]
    stage2_permissions: dict[str, Permissions]
    regime: str
    enabled: bool

    @property
    def output(self) -> int | None:
        """The physical address, None where the access faults."""
        return None if self.fault is not None else self.walk.output


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
    found = _Evidence(machine, record, offset)
    doubt = found.doubt
    instruction = None if doubt is not None else found.instruction(around, disassemble)
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


class _Evidence:
    """What the registers, the instruction and the tables say of one exception.

    `offset` is how far into its vectors the level that took it is, None where it is not there.
    """

    def __init__(self, machine: Machine, record: ExceptionRecord, offset: int | None) -> None:
        self._machine = machine
        self._record = record
        hypervisor = decode("HCR_EL2", machine.register("HCR_EL2", record.core) or 0)
        vector = None if offset is None else offset // _VECTOR_BYTES
        doubt = evidence.level_doubt(record, bool(hypervisor["NV"])) or evidence.vector_doubt(record, vector)
        by_class = evidence.level_by_class(record, bool(hypervisor["TGE"]))
        self.from_level = by_class if doubt is not None or record.from_level is None else record.from_level
        # ELR_ELx has the instruction after a call, and the instruction itself for all else.
        after = 4 if record.syndrome.exception_class in evidence.CALLS else 0
        elr = record.instruction
        self._address = None if elr is None else (elr - after) & ADDRESS_MASK
        self._word = None if doubt is not None or self._address is None else self._read_word(self._address)
        self.doubt = doubt or evidence.instruction_doubt(record, self._word)
        if self.doubt is not None:
            self.from_level = by_class
        self._operation = None if self._word is None or self.doubt else memory_operation(self._word)
        # Until its first instruction is carried out, the handler has changed no register.
        self.is_fresh = self.doubt is None and offset is not None and offset % _VECTOR_BYTES == 0
        self._translated_by = self._access_regime()
        self.stage = self._stage()
        self.intermediate = self._intermediate()

    def standing(self, level: int | None) -> str:
        """Whether the exception is over, as far as that can be told."""
        if not self.is_fresh:
            return _standing(self._record, level)
        return (
            f"the core is at EL{level}, at the first instruction of the vector: this exception is being taken"
        )

    def instruction(self, around: _Surroundings, disassemble: Disassemble) -> Instruction | None:
        """The instruction that caused the exception; None where ELR_ELx cannot be read."""
        address, word = self._address, self._word
        if address is None:
            return None
        text = None if word is None else disassemble(self._record.core, address, word)
        return Instruction(address, word, text, around.describe(address), self._operation)

    def now(self) -> Now | None:
        """What the fault address translates to; raises `RegimeUnknownError`."""
        record = self._record
        if record.address is None:
            return None
        regime = self._translated_by
        if isinstance(regime, RegimeUnknownError):
            raise regime
        walk = translate(self._machine, regime, record.address)
        level, fault = self._access_level(), walk.fault
        if record.syndrome.access is not None and level is not None:
            fault = access_fault(regime, walk, record.syndrome.access, level, pan=self._pan(level))
        leaf, beneath, stage2 = walk.attributes, walk.second, regime.stage2
        of_stage2 = None if beneath is None else beneath.attributes
        return Now(
            walk=walk,
            fault=fault,
            permissions={} if leaf is None else permissions_by_level(regime, leaf),
            stage2_permissions=(
                {} if of_stage2 is None or stage2 is None else permissions_by_level(stage2, of_stage2)
            ),
            regime=regime.name,
            enabled=regime.enabled,
        )

    def table_remark(self, now: Now) -> tuple[str, bool] | None:
        """See `evidence.table_remark`. Where the access is not known, permissions cannot be compared."""
        status = self._record.syndrome.status
        unknown = self._record.syndrome.access is None or self._access_level() is None
        if unknown and now.fault is None and status is not None and status.kind.startswith("permission"):
            return None
        if self._record.syndrome.second_stage_walk and (now.fault is None or not now.fault.on_walk):
            return (
                f"ESR_EL{self._record.level} says a fault of stage 2 on a table walk of stage 1 (S1PTW), "
                "and the walk takes none now: the tables have changed since",
                True,
            )
        return evidence.table_remark(self._record, self.stage, now.fault)

    def operation_contradictions(self) -> list[str]:
        """See `evidence.operation_contradictions`."""
        regime = self._translated_by
        tagged = not isinstance(regime, RegimeUnknownError) and (
            regime.control(self._record.address or 0).top_byte_ignored
        )
        return evidence.operation_contradictions(self._record, self._operation, self._computed(), tagged)

    def intermediate_contradictions(self, now: Now) -> list[str]:
        """Where HPFAR_EL2 is not what stage 1 gives now."""
        second = now.walk.second
        if self.intermediate is None or second is None or self._record.syndrome.second_stage_walk:
            return []
        if second.input & ~0xFFF == self.intermediate:
            return []
        return [
            f"HPFAR_EL2 says intermediate physical {self.intermediate:#x}, and stage 1 now gives "
            f"{second.input:#x}: its tables have changed since"
        ]

    def _read_word(self, address: int) -> int | None:
        """The instruction at an address, by the tables of the level it ran at as they are now."""
        level = self._record.level if self.from_level is None else self.from_level
        try:
            memory = VirtualMemory(self._machine, regime_at(self._machine, self._record.core, level))
            return int.from_bytes(memory.read(address, 4), "little")
        except (UntranslatedAddressError, PhysicalReadError, RegimeUnknownError):
            return None  # Shown as an instruction that cannot be read.

    def _access_regime(self) -> TranslationRegime | RegimeUnknownError:
        """The regime of the access that failed, or why it is not known."""
        record = self._record
        level = self.from_level
        if record.syndrome.by_vncr and record.level == 2:
            level = 2  # VNCR_EL2 holds an address of EL2's.
        elif level is None and record.level == 2:
            level = 0  # Of EL0's regime is EL1 too, where it is not EL2's.
        elif level is None:
            return RegimeUnknownError("the exception level it was taken from is not known")
        try:
            return regime_at(self._machine, record.core, level)
        except RegimeUnknownError as error:
            return error

    def _stage(self) -> int:
        """The stage of translation that a fault of the tables is of."""
        record, regime = self._record, self._translated_by
        if record.level != 2 or isinstance(regime, RegimeUnknownError) or regime.level != 1:
            return 1
        return 2 if regime.second_stage else 1

    def _intermediate(self) -> int | None:
        """The intermediate physical page in HPFAR_EL2, where it holds one for this exception (D24.2.59)."""
        record = self._record
        status = record.syndrome.status
        if self.stage != 2 or status is None:
            return None
        kind = status.kind.removesuffix(" fault")
        if not (kind in ("translation", "access flag", "address size") or record.syndrome.second_stage_walk):
            return None
        value = self._machine.register("HPFAR_EL2", record.core)
        return None if value is None else bits(value, 47, 4) << 12

    def _access_level(self) -> int | None:
        """The exception level whose permissions the access was held against: EL0's for LDTR and its like."""
        record, level, regime = self._record, self.from_level, self._translated_by
        if record.syndrome.by_vncr and record.level == 2:
            return 2
        if isinstance(regime, RegimeUnknownError) or level is None or not regime.has_el0:
            return level
        unprivileged = self._operation is not None and self._operation.unprivileged
        overridden = record.state is not None and bits(record.state, _UAO, _UAO)
        if not unprivileged or overridden:
            return level
        try:
            # EL2's are EL0's only where EL0 belongs to EL2.
            own = regime_at(self._machine, record.core, 0).level
        except RegimeUnknownError:
            return level
        return 0 if own == regime.level else level

    def _pan(self, level: int) -> bool:
        state = self._record.state
        return bool(level and self.doubt is None and state is not None and bits(state, _PAN, _PAN))

    def _computed(self) -> int | None:
        """The address that the instruction computes, where its registers are still as they were."""
        if self._operation is None or self._address is None or not self.is_fresh:
            return None
        return self._operation.address(self._address, self._register)

    def _register(self, number: int, is_pointer: bool) -> int | None:
        """A general-purpose register; 31 is the stack pointer of the level it ran at, or zero."""
        machine, core, state = self._machine, self._record.core, self._record.state
        if number != STACK_POINTER:
            return machine.register(f"X{number}", core)
        if not is_pointer:
            return 0
        if state is None or self.from_level is None:
            return None
        if self.from_level == 0 or not state & 1:
            return machine.register("SP_EL0", core)
        if self.from_level == self._record.level:
            return machine.register("SP", core)
        return machine.register(f"SP_EL{self.from_level}", core)


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
    number = offset // _VECTOR_BYTES
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
    if not STACK_REGION[0] <= address < STACK_REGION[1] or not task.stack:
        return now
    nothing: tuple[DynamicStack, ...] = ()
    stacks = around.attempt(lambda: read_stacks(kernel).stacks, nothing)
    record = next((stack for stack in stacks if stack.id == task.stack), None)
    if record is not None and record.owner == task.id:
        return now
    what = "is not on record" if record is None else "has been another task's since"
    return replace(now, place=None, text=f"among the stacks; stack {task.stack}, which it had, {what}")
