"""The exception a core took last, explained from its syndrome registers (DDI 0487, D24.2.40, D17)."""

from __future__ import annotations

from gdbplugin.aarch64.access import Access
from gdbplugin.aarch64.registers import bits
from gdbplugin.aarch64.syndromes import (
    DATA_ABORTS,
    EXTERNAL_ABORT,
    GRANULE_PROTECTION,
    IMMEDIATE_CLASSES,
    INSTRUCTION_ABORTS,
    PC_ALIGNMENT,
    SYSTEM_ACCESS,
    WATCHPOINTS,
    FaultStatus,
    class_name,
    fault_status,
)
from gdbplugin.machine import Machine
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    TakenTo = Literal[1, 2, 3]

_WITH_FAR = (*INSTRUCTION_ABORTS, *DATA_ABORTS, *WATCHPOINTS, PC_ALIGNMENT, GRANULE_PROTECTION)
# ESR_ELx.ISS2, from bit 32 on.
_DETAILS = {
    13: "by way of VNCR_EL2",
    32 + 5: "the dirty state may not be set",
    32 + 6: "by the permission overlay",
    32 + 7: "AssuredOnly",
    32 + 8: "of the guarded control stack",
    32 + 10: "to memory without tags",
}


@dataclass(frozen=True)
class Syndrome:
    """An ESR_ELx explained.

    `access` is None where the exception was none of memory, or the access was cache maintenance or an
    address translation instruction (`cache_maintenance`). `far_valid` tells whether FAR_ELx holds the
    address of this exception. `access_bytes` and `access_register` are those of the load or store where
    the syndrome holds them (ISV), as are `access_signed` (SSE), `access_wide` (SF, 64 bits) and
    `access_ordered` (AR). `second_stage_walk` marks a stage 2 fault on a stage 1 table walk (S1PTW),
    `by_vncr` an access that EL1 made by way of VNCR_EL2. `details` is what else it says, in words.
    """

    json_fields = (
        "value",
        "exception_class as class",
        "name",
        "access",
        "status_code as status",
        "status_name",
        "status_level",
        "immediate",
        "system_register",
        "text",
    )

    value: int
    """ESR_ELx."""
    exception_class: int
    """ESR_ELx.EC."""
    name: str
    """Name of the exception class."""
    instruction_bytes: int
    access: Access | None = None
    """What was done to memory; null if nothing, or cache maintenance."""
    status: FaultStatus | None = None
    far_valid: bool = False
    cache_maintenance: bool = False
    second_stage_walk: bool = False
    external: bool = False
    access_bytes: int | None = None
    access_register: int | None = None
    access_signed: bool = False
    access_wide: bool = False
    access_ordered: bool = False
    by_vncr: bool = False
    details: tuple[str, ...] = ()
    immediate: int | None = None
    """The immediate of an SVC, HVC, SMC or BRK instruction; null for others."""
    system_register: str | None = None
    """The register of a trapped MSR or MRS instruction; null for others."""

    @property
    def status_code(self) -> int | None:
        """Fault status code; null for an exception that has none."""
        return None if self.status is None else self.status.code

    @property
    def status_name(self) -> str | None:
        """What the fault status code means."""
        return None if self.status is None else self.status.kind

    @property
    def status_level(self) -> int | None:
        """The level of the table walk that the fault status code names."""
        return None if self.status is None else self.status.level

    @property
    def text(self) -> str:
        """All of it in words: class, access and status."""
        parts = [self.name]
        if self.immediate is not None:
            parts[0] += f" #{self.immediate}"
        if self.system_register is not None:
            parts.append(f"register {self.system_register}")
        if self.cache_maintenance:
            parts.append("cache maintenance or address translation")
        elif self.access is not None:
            parts.append(self.access.value)
        if self.status is not None:
            parts.append(str(self.status))
        if self.second_stage_walk:
            parts.append("at stage 2, on a stage 1 table walk")
        return ", ".join([*parts, *self.details])


def explain_syndrome(esr: int) -> Syndrome:
    """Explain the value of an ESR_ELx."""
    exception_class = bits(esr, 31, 26)
    common = (esr, exception_class, class_name(exception_class), 4 if bits(esr, 25, 25) else 2)
    if exception_class in (*INSTRUCTION_ABORTS, *DATA_ABORTS):
        return _abort(common, exception_class in DATA_ABORTS)
    if exception_class in WATCHPOINTS:
        access = Access.WRITE if bits(esr, 6, 6) else Access.READ
        return Syndrome(*common, access=access, far_valid=True)
    if exception_class == GRANULE_PROTECTION:
        return Syndrome(*common, status=fault_status(bits(esr, 5, 0)), far_valid=True)
    if exception_class in IMMEDIATE_CLASSES:
        return Syndrome(*common, immediate=bits(esr, 15, 0))
    if exception_class == SYSTEM_ACCESS:
        return Syndrome(*common, system_register=_system_register(esr))
    return Syndrome(*common, far_valid=exception_class in _WITH_FAR)


def _abort(common: tuple[int, int, str, int], data: bool) -> Syndrome:
    esr = common[0]
    status = fault_status(bits(esr, 5, 0))
    maintenance = data and bool(bits(esr, 8, 8))
    access: Access | None = Access.EXECUTE
    if data:
        access = None if maintenance else Access.WRITE if bits(esr, 6, 6) else Access.READ
    described = data and bool(bits(esr, 24, 24))
    return Syndrome(
        *common,
        access=access,
        status=status,
        # FnV speaks only of external aborts that were not on a walk.
        far_valid=not (status.code == EXTERNAL_ABORT and bits(esr, 10, 10)),
        cache_maintenance=maintenance,
        second_stage_walk=bool(bits(esr, 7, 7)),
        external=bool(bits(esr, 9, 9)),
        access_bytes=1 << bits(esr, 23, 22) if described else None,
        access_register=bits(esr, 20, 16) if described else None,
        access_signed=described and bool(bits(esr, 21, 21)),
        access_wide=described and bool(bits(esr, 15, 15)),
        access_ordered=described and bool(bits(esr, 14, 14)),
        by_vncr=data and bool(bits(esr, 13, 13)),
        details=tuple(word for bit, word in _DETAILS.items() if data and bits(esr, bit, bit)),
    )


def _system_register(esr: int) -> str:
    """The register of a trapped MSR or MRS, as assemblers name one they have no name for."""
    op0, op2, op1, crn, crm = (
        bits(esr, high, low) for high, low in ((21, 20), (19, 17), (16, 14), (13, 10), (4, 1))
    )
    return f"S{op0}_{op1}_C{crn}_C{crm}_{op2}"


@dataclass(frozen=True)
class ExceptionRecord:
    """What exception level `level` of a core recorded of the exception it took last.

    `address` is the faulting address, None where the exception has none. `instruction` is ELR_ELx: the
    instruction that failed, or the one after an SVC, HVC or SMC. `from_level` is where the core came
    from, None for AArch32 state other than EL0.
    """

    json_fields = ("level as taken_to", "syndrome", "address")

    core: int
    level: TakenTo
    """The exception level that took it."""
    syndrome: Syndrome
    """The syndrome, explained."""
    address: int | None
    """The faulting address (FAR_ELx); null where the register does not hold that of this exception."""
    instruction: int | None
    state: int | None
    from_level: int | None


def read_exception(machine: Machine, core: int, level: TakenTo) -> ExceptionRecord | None:
    """The last exception that `core` took to exception level `level` (1 to 3).

    None where its ESR_ELx cannot be read. The registers keep the last exception's values until the next,
    and hold no time: a core that never took one shows what its registers held at reset.
    """
    syndrome_value = machine.register(f"ESR_EL{level}", core)
    if syndrome_value is None:
        return None
    syndrome = explain_syndrome(syndrome_value)
    state = machine.register(f"SPSR_EL{level}", core)
    return ExceptionRecord(
        core=core,
        level=level,
        syndrome=syndrome,
        address=machine.register(f"FAR_EL{level}", core) if syndrome.far_valid else None,
        instruction=machine.register(f"ELR_EL{level}", core),
        state=state,
        from_level=None if state is None else _level_of(state),
    )


def _level_of(state: int) -> int | None:
    if bits(state, 4, 4):
        return 0 if bits(state, 3, 0) == 0 else None
    return bits(state, 3, 2)
