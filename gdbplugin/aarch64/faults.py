"""Exception syndromes, and the last exception that a core took (DDI 0487, D24.2.40, D17)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gdbplugin.aarch64.access import Access
from gdbplugin.aarch64.registers import bits, exception_level_in
from gdbplugin.machine import Machine
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    TakenTo = Literal[1, 2, 3]

INSTRUCTION_ABORTS = (0x20, 0x21)
DATA_ABORTS = (0x24, 0x25)
WATCHPOINTS = (0x34, 0x35)
PC_ALIGNMENT = 0x22
SP_ALIGNMENT = 0x26
WAIT = 0x01
GRANULE_PROTECTION = 0x1E
IMMEDIATE_CLASSES = (0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x38, 0x3C)
SYSTEM_ACCESS = 0x18
EXCEPTION_CLASSES: Mapping[int, str] = MappingProxyType(
    {
        0x00: "unknown reason (usually an undefined instruction)",
        0x01: "trapped WFI or WFE",
        0x03: "trapped MCR or MRC (coprocessor 15, AArch32)",
        0x04: "trapped MCRR or MRRC (coprocessor 15, AArch32)",
        0x05: "trapped MCR or MRC (coprocessor 14, AArch32)",
        0x06: "trapped LDC or STC (AArch32)",
        0x07: "access to SVE, Advanced SIMD or floating point, trapped by CPACR or CPTR",
        0x08: "trapped VMRS (AArch32)",
        0x09: "trapped pointer authentication instruction",
        0x0A: "trapped instruction of no other class (LD64B, ST64B and the like)",
        0x0C: "trapped MRRC (coprocessor 14, AArch32)",
        0x0D: "branch target exception",
        0x0E: "illegal execution state",
        0x11: "SVC instruction (AArch32)",
        0x12: "HVC instruction (AArch32)",
        0x13: "SMC instruction (AArch32)",
        0x14: "trapped MSRR, MRRS or 128-bit system instruction",
        0x15: "SVC instruction",
        0x16: "HVC instruction",
        0x17: "SMC instruction",
        0x18: "trapped MSR, MRS or system instruction",
        0x19: "access to SVE, trapped by CPACR or CPTR",
        0x1A: "trapped ERET",
        0x1B: "exception of the transactional memory extension",
        0x1C: "pointer authentication failure",
        0x1D: "access to SME, trapped",
        0x1E: "granule protection check",
        0x1F: "implementation defined exception to EL3",
        0x20: "instruction abort from a lower exception level",
        0x21: "instruction abort at the same exception level",
        0x22: "PC alignment fault",
        0x24: "data abort from a lower exception level",
        0x25: "data abort at the same exception level",
        0x26: "SP alignment fault",
        0x27: "exception of a memory copy or memory set instruction",
        0x28: "floating-point exception (AArch32)",
        0x2C: "floating-point exception",
        0x2D: "guarded control stack exception",
        0x2F: "SError",
        0x30: "breakpoint from a lower exception level",
        0x31: "breakpoint at the same exception level",
        0x32: "software step from a lower exception level",
        0x33: "software step at the same exception level",
        0x34: "watchpoint from a lower exception level",
        0x35: "watchpoint at the same exception level",
        0x38: "BKPT instruction (AArch32)",
        0x3A: "vector catch (AArch32)",
        0x3C: "BRK instruction",
        0x3D: "profiling exception",
    }
)


@dataclass(frozen=True)
class FaultStatus:
    """A fault status code (IFSC, DFSC, FST).

    `level` is that of the table walk, from -2 to 3; None for a fault without a level. `on_walk` marks a fault
    that was taken when a table was read, not on the access itself.
    """

    code: int
    kind: str
    level: int | None = None
    on_walk: bool = False

    def __str__(self) -> str:
        if self.level is None:
            return self.kind
        return f"{self.kind}{' on a table walk' if self.on_walk else ''}, level {self.level}"


EXTERNAL_ABORT = 0x10
ALIGNMENT_FAULT = 0x21
_BY_LEVEL = (
    (0x00, "address size fault", False),
    (0x04, "translation fault", False),
    (0x08, "access flag fault", False),
    (0x0C, "permission fault", False),
    (0x14, "synchronous external abort", True),
    (0x1C, "synchronous parity or ECC error", True),
    (0x24, "granule protection fault", True),
)
_SINGLE = (
    FaultStatus(EXTERNAL_ABORT, "synchronous external abort"),
    FaultStatus(0x11, "synchronous tag check fault"),
    FaultStatus(0x12, "synchronous external abort", -2, True),
    FaultStatus(0x13, "synchronous external abort", -1, True),
    FaultStatus(0x18, "synchronous parity or ECC error"),
    FaultStatus(0x1B, "synchronous parity or ECC error", -1, True),
    FaultStatus(ALIGNMENT_FAULT, "alignment fault"),
    FaultStatus(0x22, "granule protection fault", -2, True),
    FaultStatus(0x23, "granule protection fault", -1, True),
    FaultStatus(0x28, "granule protection fault"),
    FaultStatus(0x29, "address size fault", -1),
    FaultStatus(0x2A, "translation fault", -2),
    FaultStatus(0x2B, "translation fault", -1),
    FaultStatus(0x2C, "address size fault", -2),
    FaultStatus(0x30, "TLB conflict abort"),
    FaultStatus(0x31, "unsupported atomic hardware update fault"),
    FaultStatus(0x34, "implementation defined fault (lockdown)"),
    FaultStatus(0x35, "implementation defined fault (unsupported exclusive or atomic access)"),
)
FAULT_STATUS: Mapping[int, FaultStatus] = MappingProxyType(
    {
        **{
            first + level: FaultStatus(first + level, kind, level, on_walk)
            for first, kind, on_walk in _BY_LEVEL
            for level in range(4)
        },
        **{status.code: status for status in _SINGLE},
    }
)


def class_name(exception_class: int) -> str:
    """The name of an exception class (ESR_ELx.EC)."""
    return EXCEPTION_CLASSES.get(exception_class, f"reserved exception class {exception_class:#04x}")


def fault_status(code: int) -> FaultStatus:
    """The meaning of a fault status code, also of a reserved one."""
    return FAULT_STATUS.get(code) or FaultStatus(code, f"reserved fault status code {code:#04x}")


@dataclass(frozen=True)
class Syndrome:
    """The value of an ESR_ELx, explained.

    `access` is None if the exception has no memory access, or if the access was cache maintenance or an
    address translation instruction (`cache_maintenance`). `far_valid` is whether FAR_ELx holds the address
    of this exception. `access_bytes` (SAS) and `access_register` (SRT) describe the load or store, and are
    None if the syndrome does not (ISV clear); `access_signed` (SSE), `access_wide` (SF, 64 bits) and
    `access_ordered` (AR) are false then. `external` is EA. `on_stage1_walk` marks a stage 2 fault on a
    stage 1 table walk (S1PTW), `by_vncr` an access that EL1 made through VNCR_EL2. `details` are further
    bits that are set, in words.
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
    """The kind of memory access; null for none, and for cache maintenance."""
    status: FaultStatus | None = None
    far_valid: bool = False
    cache_maintenance: bool = False
    on_stage1_walk: bool = False
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
        """The level of the table walk in the fault status code; null if it has none."""
        return None if self.status is None else self.status.level

    @property
    def text(self) -> str:
        """The whole syndrome in words: class, access and status."""
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
        if self.on_stage1_walk:
            parts.append("at stage 2, on a stage 1 table walk")
        return ", ".join([*parts, *self.details])


_WITH_FAR = (*INSTRUCTION_ABORTS, *DATA_ABORTS, *WATCHPOINTS, PC_ALIGNMENT, GRANULE_PROTECTION)


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


_DETAILS = {
    13: "through VNCR_EL2",
    32 + 5: "the dirty state may not be set",
    32 + 6: "from the permission overlay",
    32 + 7: "AssuredOnly",
    32 + 8: "of the guarded control stack",
    32 + 10: "to memory without tags",
}
"""Bits of a data abort's ISS and, from bit 32 on, ISS2."""


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
        # FnV applies only to external aborts that were not on a walk.
        far_valid=not (status.code == EXTERNAL_ABORT and bits(esr, 10, 10)),
        cache_maintenance=maintenance,
        on_stage1_walk=bool(bits(esr, 7, 7)),
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
    """The generic name of the register of a trapped MSR or MRS, as assemblers write it."""
    op0, op2, op1, crn, crm = (
        bits(esr, high, low) for high, low in ((21, 20), (19, 17), (16, 14), (13, 10), (4, 1))
    )
    return f"S{op0}_{op1}_C{crn}_C{crm}_{op2}"


@dataclass(frozen=True)
class ExceptionRecord:
    """The last exception that exception level `level` of a core took, from its registers.

    `instruction` is ELR_ELx: the address of the instruction that failed, or of the one after an SVC, HVC or
    SMC. `state` is SPSR_ELx, and `from_level` the exception level in it; both are None if it cannot be read,
    `from_level` also for AArch32 modes other than User.
    """

    json_fields = ("level as taken_to", "syndrome", "address")

    core: int
    level: TakenTo
    """The exception level that took it."""
    syndrome: Syndrome
    """The syndrome, explained."""
    address: int | None
    """The faulting address; null if FAR_ELx does not hold one for this exception."""
    instruction: int | None
    state: int | None
    from_level: int | None


def read_exception(machine: Machine, core: int, level: TakenTo) -> ExceptionRecord | None:
    """The last exception that `core` took to exception level `level` (1 to 3).

    None if ESR_ELx cannot be read. The registers keep the values of the last exception until the next one;
    if there was none yet, they have their values from reset.
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
        from_level=None if state is None else exception_level_in(state),
    )
