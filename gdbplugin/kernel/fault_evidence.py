"""What the registers, the instruction and the tables say of one exception, as the machine stands now."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64 import evidence
from gdbplugin.aarch64.access import access_fault, permissions_by_level
from gdbplugin.aarch64.faults import ExceptionRecord
from gdbplugin.aarch64.instructions import STACK_POINTER, MemoryOperation, memory_operation
from gdbplugin.aarch64.regime import ADDRESS_MASK, RegimeUnknownError, TranslationRegime, regime_at
from gdbplugin.aarch64.registers import bits, decode
from gdbplugin.aarch64.virtual import UntranslatedAddressError, VirtualMemory
from gdbplugin.aarch64.walk import Fault as TableFault
from gdbplugin.aarch64.walk import Translation, translate
from gdbplugin.kernel.memory_objects import Description
from gdbplugin.machine import Machine, PhysicalReadError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _Found = TypeVar("_Found")

Disassemble = Callable[[int, int, int], str | None]
"""From a core, an address and the 32-bit instruction there to its text; None where it cannot be told."""

VECTOR_BYTES = 0x80
"""One of the sixteen vectors of a table (VBAR_ELx)."""
_PAN, _UAO = 22, 23
"""Bits of SPSR_ELx."""


@dataclass(frozen=True)
class Instruction:
    """The instruction at an address, and what it does to memory."""

    json_fields = ("address", "word", "text", "does", "where as place")

    address: int
    """Address of the instruction."""
    word: int | None
    """The instruction, 32 bits; null where it cannot be read."""
    text: str | None
    """The instruction in assembly language; null where it cannot be disassembled."""
    where: Description
    """What lies at its address."""
    operation: MemoryOperation | None = None

    @property
    def does(self) -> str | None:
        """What it does to memory, in words; null if nothing."""
        return None if self.operation is None else str(self.operation)


@dataclass(frozen=True)
class Now:
    """What the fault address translates to at this moment, in the regime of the access that failed.

    `fault` is what that access would take now: of the walk, or for a permission.
    """

    json_fields = (
        "output",
        "fault",
        "mapped_to",
        "permissions",
        "stage2_permissions",
        "regime",
        "enabled",
    )

    walk: Translation
    fault: TableFault | None
    """Why there is no output; null where there is one."""
    permissions: dict[str, str]
    """What each exception level of the regime may do, as r-x; empty where nothing is mapped, or the MMU is
    off."""
    stage2_permissions: dict[str, str]
    """What stage 2 allows of that; empty where there is no stage 2, or it maps nothing there."""
    regime: str
    """The translation regime of the access."""
    enabled: bool
    """Whether the regime's MMU is on."""

    @property
    def output(self) -> int | None:
        """The physical address of the same access; null where it faults."""
        return None if self.fault is not None else self.walk.output

    @property
    def mapped_to(self) -> int | None:
        """The physical address of the memory, even where the access faults; null where nothing is mapped."""
        return self.walk.output


class Evidence:
    """What the registers, the instruction and the tables say of one exception.

    `offset` is how far into its vectors the level that took it is, None where it is not there.
    """

    def __init__(self, machine: Machine, record: ExceptionRecord, offset: int | None) -> None:
        self._machine = machine
        self._record = record
        hypervisor = decode("HCR_EL2", machine.register("HCR_EL2", record.core) or 0)
        vector = None if offset is None else offset // VECTOR_BYTES
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
        self.is_fresh = self.doubt is None and offset is not None and offset % VECTOR_BYTES == 0
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

    def instruction(
        self, describe: Callable[[int], Description], disassemble: Disassemble
    ) -> Instruction | None:
        """The instruction that caused the exception; None where ELR_ELx cannot be read."""
        address, word = self._address, self._word
        if address is None:
            return None
        text = None if word is None else disassemble(self._record.core, address, word)
        return Instruction(address, word, text, describe(address), self._operation)

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
            permissions={} if leaf is None else permissions_by_level(regime.levels, leaf),
            stage2_permissions=(
                {} if of_stage2 is None or stage2 is None else permissions_by_level(stage2.levels, of_stage2)
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
