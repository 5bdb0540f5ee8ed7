"""One recorded exception compared with the instruction, the registers and the tables as they are now."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64 import consistency
from gdbplugin.aarch64.access import access_fault, permissions_by_level
from gdbplugin.aarch64.faults import ExceptionRecord
from gdbplugin.aarch64.instructions import ADDRESS_MASK, STACK_POINTER, MemoryOperation, memory_operation
from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, regime_at
from gdbplugin.aarch64.registers import bits, decode
from gdbplugin.aarch64.walk import Fault as TableFault
from gdbplugin.aarch64.walk import Translation, UntranslatedAddressError, VirtualMemory, translate
from gdbplugin.kernel.memory_objects import Description
from gdbplugin.machine import Machine, PhysicalReadError
from gdbplugin.records import dataclass

Disassemble = Callable[[int, int, int], str | None]
"""The text of an instruction, from its core, address and 32-bit value; None if it cannot be disassembled."""

VECTOR_BYTES = 0x80
"""Size of one of the sixteen vectors of a vector table (VBAR_ELx)."""
_PAN, _UAO = 22, 23
"""Bits of SPSR_ELx."""


@dataclass(frozen=True)
class Instruction:
    """The instruction at an address, and its memory access."""

    json_fields = ("address", "word", "text", "does", "where as place")

    address: int
    """Address of the instruction."""
    word: int | None
    """The instruction, 32 bits; null if it cannot be read."""
    text: str | None
    """The instruction in assembly language; null if it cannot be disassembled."""
    where: Description
    """What is at its address."""
    operation: MemoryOperation | None = None

    @property
    def does(self) -> str | None:
        """Its memory access, in words; null if it has none."""
        return None if self.operation is None else str(self.operation)


@dataclass(frozen=True)
class CurrentTranslation:
    """What the fault address translates to now, in the regime of the access that failed."""

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
    """The fault that the same access takes now; null if it succeeds."""
    permissions: dict[str, str]
    """The permissions of each exception level of the regime, as r-x; empty if nothing is mapped or the MMU is
    off."""
    stage2_permissions: dict[str, str]
    """The permissions of stage 2; empty if there is no stage 2 or it maps nothing there."""
    regime: str
    """The translation regime of the access."""
    enabled: bool
    """Whether the regime's MMU is on."""

    @property
    def output(self) -> int | None:
        """The physical address of the same access; null if it faults."""
        return None if self.fault is not None else self.walk.output

    @property
    def mapped_to(self) -> int | None:
        """The physical address that is mapped, even if the access faults; null if nothing is mapped."""
        return self.walk.output


class ExceptionAnalysis:
    """One recorded exception compared with the instruction, the registers and the tables.

    `vector_offset` is the offset of the PC in the vector table of the level that took the exception, or None
    if the core is elsewhere. `mismatch` is why ELR_ELx and SPSR_ELx are not of this exception; it is None if
    they may be. `is_being_taken` is whether the core is at the first instruction of the vector: the handler
    has changed no register yet. `stage` is the stage of translation of a fault. `intermediate` is the page of
    the intermediate physical address in HPFAR_EL2, if it holds that of this exception.
    """

    def __init__(self, machine: Machine, record: ExceptionRecord, vector_offset: int | None) -> None:
        self._machine = machine
        self._record = record
        hcr = decode("HCR_EL2", machine.register("HCR_EL2", record.core) or 0)
        vector = None if vector_offset is None else vector_offset // VECTOR_BYTES
        by_spsr = consistency.saved_state_mismatch(record, bool(hcr["NV"]))
        self.mismatch = by_spsr or consistency.vector_mismatch(record, vector)
        by_class = consistency.level_from_class(record, bool(hcr["TGE"]))
        has_level = self.mismatch is None and record.from_level is not None
        self.from_level = record.from_level if has_level else by_class
        # After a call ELR_ELx is the address of the next instruction.
        after = 4 if record.syndrome.exception_class in consistency.CALLS else 0
        elr = record.instruction
        self._address = None if elr is None else (elr - after) & ADDRESS_MASK
        self._word: int | None = None
        if self.mismatch is None:
            self._word = None if self._address is None else self._read_word(self._address)
            self.mismatch = consistency.instruction_mismatch(record, self._word)
        if self.mismatch is not None:
            self.from_level = by_class
        self._operation = None if self._word is None or self.mismatch else memory_operation(self._word)
        at_vector = vector_offset is not None and vector_offset % VECTOR_BYTES == 0
        self.is_being_taken = self.mismatch is None and at_vector
        self._regime = self._access_regime()
        self.stage = self._stage()
        self.intermediate = self._intermediate()

    def progress(self, level: int | None) -> str:
        """A sentence on whether the exception is over, for a core that is now at exception level `level`."""
        taken_to = self._record.level
        if self.is_being_taken:
            return (
                f"the core is at EL{level}, at the first instruction of the vector: "
                "this exception is being taken"
            )
        if level is None:
            return (
                "the core's exception level is not known, so it is not known whether this exception is over"
            )
        if level < taken_to:
            return f"the core is back at EL{level}: this exception is over"
        if level > taken_to:
            return f"the core is at EL{level} now, above the level that took this exception"
        return (
            f"the core is at EL{level}: this exception is being handled, or it is over and ESR_EL{level} "
            "still holds it"
        )

    def instruction(
        self, describe: Callable[[int], Description], disassemble: Disassemble
    ) -> Instruction | None:
        """The instruction that caused the exception; None if ELR_ELx cannot be read."""
        address, word = self._address, self._word
        if address is None:
            return None
        text = None if word is None else disassemble(self._record.core, address, word)
        return Instruction(address, word, text, describe(address), self._operation)

    def current_translation(self) -> CurrentTranslation | None:
        """What the fault address translates to now; None without one. Raises `RegimeUnknownError`."""
        record = self._record
        if record.address is None:
            return None
        regime = self._regime
        if isinstance(regime, RegimeUnknownError):
            raise regime
        walk = translate(self._machine, regime, record.address)
        level, fault = self._access_level(), walk.fault
        if record.syndrome.access is not None and level is not None:
            fault = access_fault(regime, walk, record.syndrome.access, level, pan=self._pan(level))
        leaf, stage2_leaf = walk.attributes, None if walk.stage2 is None else walk.stage2.attributes
        stage2_permissions = {}
        if regime.stage2 is not None and stage2_leaf is not None:
            stage2_permissions = permissions_by_level(regime.stage2.levels, stage2_leaf)
        return CurrentTranslation(
            walk=walk,
            fault=fault,
            permissions={} if leaf is None else permissions_by_level(regime.levels, leaf),
            stage2_permissions=stage2_permissions,
            regime=regime.name,
            enabled=regime.enabled,
        )

    def compare_with_tables(self, now: CurrentTranslation) -> tuple[str, bool] | None:
        """See `consistency.compare_with_tables`; also None if permissions cannot be compared."""
        syndrome = self._record.syndrome
        is_unknown = syndrome.access is None or self._access_level() is None
        is_permission = syndrome.status is not None and syndrome.status.kind.startswith("permission")
        if is_unknown and is_permission and now.fault is None:
            return None
        if syndrome.on_stage1_walk and (now.fault is None or not now.fault.on_walk):
            return (
                f"ESR_EL{self._record.level} says a stage 2 fault on a stage 1 table walk (S1PTW), "
                "but the walk takes none now: the tables have changed since",
                True,
            )
        return consistency.compare_with_tables(self._record, self.stage, now.fault)

    def operation_contradictions(self) -> list[str]:
        """See `consistency.operation_contradictions`."""
        record, regime = self._record, self._regime
        tagged = not isinstance(regime, RegimeUnknownError) and (
            regime.control(record.address or 0).top_byte_ignored
        )
        computed = self._computed_address()
        return consistency.operation_contradictions(record, self._operation, computed, tagged)

    def intermediate_contradictions(self, now: CurrentTranslation) -> list[str]:
        """A sentence if HPFAR_EL2 differs from the output of stage 1 now."""
        stage2 = now.walk.stage2
        if self.intermediate is None or stage2 is None or self._record.syndrome.on_stage1_walk:
            return []
        if stage2.input & ~0xFFF == self.intermediate:
            return []
        return [
            f"HPFAR_EL2 says intermediate physical {self.intermediate:#x}, but stage 1 now gives "
            f"{stage2.input:#x}: its tables have changed since"
        ]

    def _read_word(self, address: int) -> int | None:
        """The instruction at an address, read with the present tables of the level that it ran at."""
        level = self._record.level if self.from_level is None else self.from_level
        try:
            memory = VirtualMemory(self._machine, regime_at(self._machine, self._record.core, level))
            return int.from_bytes(memory.read(address, 4), "little")
        except (UntranslatedAddressError, PhysicalReadError, RegimeUnknownError):
            return None

    def _access_regime(self) -> TranslationRegime | RegimeUnknownError:
        """The regime of the access that failed, or why it is not known."""
        record, level = self._record, self.from_level
        if record.syndrome.by_vncr and record.level == 2:
            level = 2  # VNCR_EL2 holds an address of EL2.
        elif level is None and record.level == 2:
            level = 0  # EL0 and EL1 share a regime; if EL0 is in the EL2&0 regime, nothing runs at EL1.
        elif level is None:
            return RegimeUnknownError("the exception level it was taken from is not known")
        try:
            return regime_at(self._machine, record.core, level)
        except RegimeUnknownError as error:
            return error

    def _stage(self) -> int:
        """The stage of translation of a fault that the tables caused."""
        record, regime = self._record, self._regime
        if record.level != 2 or isinstance(regime, RegimeUnknownError) or regime.level != 1:
            return 1
        return 2 if regime.second_stage else 1

    def _intermediate(self) -> int | None:
        """The intermediate physical page in HPFAR_EL2 (D24.2.59); None if it is not of this exception."""
        record = self._record
        status = record.syndrome.status
        if self.stage != 2 or status is None:
            return None
        kind = status.kind.removesuffix(" fault")
        if not (kind in ("translation", "access flag", "address size") or record.syndrome.on_stage1_walk):
            return None
        value = self._machine.register("HPFAR_EL2", record.core)
        return None if value is None else bits(value, 47, 4) << 12

    def _access_level(self) -> int | None:
        """The exception level whose permissions apply to the access: EL0 for LDTR and the like."""
        record, level, regime = self._record, self.from_level, self._regime
        if record.syndrome.by_vncr and record.level == 2:
            return 2
        if isinstance(regime, RegimeUnknownError) or level is None or not regime.has_el0:
            return level
        unprivileged = self._operation is not None and self._operation.unprivileged
        overridden = record.state is not None and bits(record.state, _UAO, _UAO)
        if not unprivileged or overridden:
            return level
        try:
            # At EL2, LDTR has the permissions of EL0 only if EL0 is in the same regime.
            el0_regime = regime_at(self._machine, record.core, 0)
        except RegimeUnknownError:
            return level
        return 0 if el0_regime.level == regime.level else level

    def _pan(self, level: int) -> bool:
        state = self._record.state
        return bool(level and self.mismatch is None and state is not None and bits(state, _PAN, _PAN))

    def _computed_address(self) -> int | None:
        """The address that the instruction computes; None if its registers may have changed since."""
        if self._operation is None or self._address is None or not self.is_being_taken:
            return None
        return self._operation.address(self._address, self._register)

    def _register(self, number: int, is_pointer: bool) -> int | None:
        """A general-purpose register; number 31 is zero or, with `is_pointer`, SP of the level it ran at."""
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
