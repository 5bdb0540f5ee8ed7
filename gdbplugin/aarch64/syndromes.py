"""Exception classes and fault status codes: data only (DDI 0487, D24.2.40, ESR_ELx)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gdbplugin.records import dataclass

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
        0x00: "unknown reason (an undefined instruction, as a rule)",
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
    """A fault status code (IFSC, DFSC, FST). `level` is that of the walk, None where there is none.

    Levels of -1 and -2 are those of tables for more than 48 bits. `on_walk` faults were taken reading a
    table, not by the access itself.
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
    """The meaning of a fault status code; a reserved one says so."""
    return FAULT_STATUS.get(code) or FaultStatus(code, f"reserved fault status code {code:#04x}")
