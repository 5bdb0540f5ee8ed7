"""Whether the registers of a recorded exception agree with each other, the code and the tables.

ESR_ELx is of the last synchronous exception or SError, while ELR_ELx and SPSR_ELx may be of a later
interrupt. The functions here return sentences that name each contradiction and the registers that show it
(DDI 0487, D1.3, D24.2.40). All of them are pure.
"""

from __future__ import annotations

from gdbplugin.aarch64.access import Access
from gdbplugin.aarch64.faults import (
    ALIGNMENT_FAULT,
    DATA_ABORTS,
    INSTRUCTION_ABORTS,
    PC_ALIGNMENT,
    SP_ALIGNMENT,
    SYSTEM_ACCESS,
    WAIT,
    ExceptionRecord,
)
from gdbplugin.aarch64.instructions import MemoryOperation, memory_operation
from gdbplugin.aarch64.registers import bits
from gdbplugin.aarch64.walk import UNKNOWN, Fault

CALLS = {0x15: 0xD400_0001, 0x16: 0xD400_0002, 0x17: 0xD400_0003}
"""The exception classes of SVC, HVC and SMC, and the instructions with immediate 0."""
_BRK, _BRK_INSTRUCTION = 0x3C, 0xD420_0000
_SERROR = 0x2F
# Breakpoints, software steps and watchpoints, in addition to aborts.
_FROM_LOWER_LEVEL = (0x20, 0x24, 0x30, 0x32, 0x34)
_FROM_SAME_LEVEL = (0x21, 0x25, 0x31, 0x33, 0x35)


def level_from_class(record: ExceptionRecord, el0_uses_el2: bool) -> int | None:
    """The exception level that the exception was taken from, if its class alone determines it.

    `el0_uses_el2` is HCR_EL2.TGE: nothing runs at EL1 then.
    """
    syndrome = record.syndrome
    if syndrome.by_vncr and record.level == 2:
        return 1
    if syndrome.exception_class in _FROM_SAME_LEVEL:
        return record.level
    if syndrome.exception_class in _FROM_LOWER_LEVEL and (
        record.level == 1 or (record.level == 2 and el0_uses_el2)
    ):
        return 0
    return None


def saved_state_mismatch(record: ExceptionRecord, nested: bool) -> str | None:
    """Why SPSR_ELx cannot be of this exception, or None. `nested` is HCR_EL2.NV: EL1 appears as EL2."""
    level, source = record.level, record.from_level
    if source is None:
        return None
    spsr = f"SPSR_EL{level} says EL{source}"
    if source > level and not (nested and level == 1 and source == 2):
        return f"{spsr}, but EL{level} takes no exceptions from EL{source}"
    syndrome = record.syndrome
    if nested or syndrome.by_vncr:
        return None
    if syndrome.exception_class in _FROM_LOWER_LEVEL and source >= level:
        return f"ESR_EL{level} says that the exception came from a level below EL{level}, but {spsr}"
    if syndrome.exception_class in _FROM_SAME_LEVEL and source != level:
        return f"ESR_EL{level} says that the exception came from EL{level} itself, but {spsr}"
    return None


def vector_mismatch(record: ExceptionRecord, vector: int | None) -> str | None:
    """Why ELR_ELx cannot be of this exception, from the vector (0 to 15) that the core is in, or None."""
    if vector is None:
        return None
    own_kind = 3 if record.syndrome.exception_class == _SERROR else 0
    if vector % 4 == own_kind:
        return None
    kinds = ("a synchronous exception", "an IRQ", "an FIQ", "an SError")
    return f"the core is in the vector of {kinds[vector % 4]}"


def instruction_mismatch(record: ExceptionRecord, word: int | None) -> str | None:
    """Why the instruction at ELR_ELx, or before it after a call, cannot have caused the exception, or None.

    `word` is the instruction. If it is None, because it cannot be read, only the addresses are compared.
    """
    syndrome, elr = record.syndrome, record.instruction
    exception_class = syndrome.exception_class
    esr_name, elr_name = f"ESR_EL{record.level}", f"ELR_EL{record.level}"
    if elr is not None and record.address is not None and record.address != elr:
        if exception_class in INSTRUCTION_ABORTS:
            return f"a fetch from {record.address:#x} failed, but {elr_name} is {elr:#x}"
        if exception_class == PC_ALIGNMENT:
            return f"FAR_EL{record.level} has the PC {record.address:#x}, but {elr_name} has {elr:#x}"
    if exception_class == PC_ALIGNMENT and elr is not None and not elr & 3:
        return f"{esr_name} says that the PC was not aligned, but {elr_name} is aligned"
    mismatch = None if word is None else _encoding_mismatch(record, word)
    if mismatch is None:
        return None
    by_syndrome, by_instruction = mismatch
    where = "before" if exception_class in CALLS else "at"
    return f"{esr_name} says {by_syndrome}, but the instruction {where} {elr_name} {by_instruction}"


_WAITS = (0xD503_205F, 0xD503_207F)
_TIMED_WAITS = (0xD503_1000, 0xD503_1020)


def _encoding_mismatch(record: ExceptionRecord, word: int) -> tuple[str, str] | None:
    """What the syndrome says, and what the instruction does instead; None if they agree."""
    syndrome = record.syndrome
    exception_class, immediate = syndrome.exception_class, syndrome.immediate or 0
    is_other = f"is another one ({word:#010x})"
    if exception_class in CALLS and word != CALLS[exception_class] | immediate << 5:
        return f"{syndrome.name} #{immediate}", is_other
    if exception_class == _BRK and word != _BRK_INSTRUCTION | immediate << 5:
        return f"{syndrome.name} #{immediate}", is_other
    if exception_class == SYSTEM_ACCESS and not _is_system_access(syndrome.value, word):
        return f"an access to {syndrome.system_register}", is_other
    if exception_class == WAIT and word not in _WAITS and word & ~0x1F not in _TIMED_WAITS:
        return "WFI or WFE", is_other
    operation = memory_operation(word)
    if exception_class == SP_ALIGNMENT and (
        operation is None or (operation.has_address and (operation.base != 31 or operation.maintenance))
    ):
        return "that SP was not aligned", "does not access memory through SP"
    if exception_class in DATA_ABORTS:
        return _access_mismatch(record, operation)
    return None


def _is_system_access(esr: int, word: int) -> bool:
    """Whether an MSR, MRS or SYS is the one that a syndrome of class 0x18 describes."""
    if word >> 22 != 0b1101010100:
        return False
    of_syndrome = [
        bits(esr, high, low) for high, low in ((21, 20), (16, 14), (13, 10), (4, 1), (19, 17), (9, 5))
    ]
    of_word = [bits(word, high, low) for high, low in ((20, 19), (18, 16), (15, 12), (11, 8), (7, 5), (4, 0))]
    return of_syndrome == of_word and bits(esr, 0, 0) == bits(word, 21, 21)


def _access_mismatch(record: ExceptionRecord, operation: MemoryOperation | None) -> tuple[str, str] | None:
    """The same for a data abort: compares WnR, CM and, if ISV is set, SAS, SRT, SSE, SF and AR."""
    syndrome = record.syndrome
    if operation is None:
        return "a memory access", "makes none"
    if operation.maintenance or operation.reads is None:
        # QEMU leaves CM clear for maintenance: `operation_contradictions` reports that.
        return None
    if syndrome.cache_maintenance:
        return "cache maintenance or address translation (CM)", f"is a {operation}"
    if syndrome.access is Access.WRITE and not operation.writes:
        return "a write (WnR)", f"is a {operation}"
    if syndrome.access is Access.READ and not operation.reads:
        return "a read (WnR clear)", f"is a {operation}"
    if syndrome.access_bytes is None:
        return None
    if operation.register is None:
        return "an access of one general-purpose register (ISV)", f"is a {operation}"
    if operation.size != syndrome.access_bytes:
        return f"an access of {syndrome.access_bytes} bytes (SAS)", f"is a {operation}"
    if operation.register != syndrome.access_register:
        return f"register {syndrome.access_register} (SRT)", f"has register {operation.register}"
    if operation.signed != syndrome.access_signed:
        return _flag_mismatch(syndrome.access_signed, "a sign-extended load (SSE)")
    if operation.wide is not None and operation.wide != syndrome.access_wide:
        return _flag_mismatch(syndrome.access_wide, "an access of a 64-bit register (SF)")
    if operation.ordered != syndrome.access_ordered:
        return _flag_mismatch(syndrome.access_ordered, "a load-acquire or store-release (AR)")
    return None


def _flag_mismatch(is_set: bool, kind: str) -> tuple[str, str]:
    return (kind, "is not one") if is_set else (f"not {kind}", "is one")


def syndrome_contradictions(record: ExceptionRecord) -> list[str]:
    """Contradictions within ESR_ELx, and with its exception level or SPSR_ELx."""
    syndrome, level = record.syndrome, record.level
    found = []
    if syndrome.instruction_bytes == 2 and record.state is not None and not bits(record.state, 4, 4):
        found.append(
            f"ESR_EL{level} says a 16-bit instruction (IL clear), but SPSR_EL{level} says AArch64 state, "
            "which has none"
        )
    if syndrome.on_stage1_walk and level != 2:
        found.append(f"ESR_EL{level} has S1PTW set, which only EL2's aborts have")
    if syndrome.by_vncr and level != 2:
        found.append(f"ESR_EL{level} has VNCR set, which only EL2's aborts have")
    status = syndrome.status
    if syndrome.external and status is not None and "external" not in status.kind:
        found.append(f"ESR_EL{level} has EA set, which only external aborts have, but says {status}")
    return found


def operation_contradictions(
    record: ExceptionRecord, operation: MemoryOperation | None, computed: int | None, tagged: bool
) -> list[str]:
    """Contradictions between ESR_ELx or FAR_ELx and an access that may still have caused the exception.

    `computed` is the address that the instruction computes, or None if its registers may have changed since.
    `tagged` is whether the top byte of addresses is ignored.
    """
    if operation is None or record.address is None:
        return []
    found, level = [], record.level
    if operation.maintenance and not record.syndrome.cache_maintenance:
        found.append(f"ESR_EL{level} says a load or store (CM clear), but the instruction is {operation}")
    if computed is not None and not _may_fault_at(record.address, operation, computed, tagged):
        found.append(f"FAR_EL{level} is {record.address:#x}, but the {operation} computes {computed:#x}")
    status, unit = record.syndrome.status, operation.bytes if operation.exclusive else operation.size
    if (
        status is not None
        and status.code == ALIGNMENT_FAULT
        and unit
        and record.address % unit == 0
        and not record.syndrome.by_vncr
    ):
        found.append(
            f"ESR_EL{level} says an alignment fault, but FAR_EL{level} is aligned for the {operation}"
        )
    return found


_MAX_ZERO_BLOCK = 2048
"""The largest block that DC ZVA zeroes, in bytes."""
_MAX_STRUCTURE_BYTES = 64
"""The most that a vector structure instruction accesses: four registers of 16 bytes."""
_LOW_56 = (1 << 56) - 1


def _may_fault_at(address: int, operation: MemoryOperation, computed: int, tagged: bool) -> bool:
    """Whether FAR_ELx may be `address` if the access computes the address `computed`.

    FAR_ELx holds the address of any byte of the access, or of the block for DC ZVA and maintenance.
    """
    if tagged:
        computed, address = computed & _LOW_56, address & _LOW_56
    if operation.zeroing or operation.maintenance:
        return computed // _MAX_ZERO_BLOCK == address // _MAX_ZERO_BLOCK
    return 0 <= address - computed < (operation.bytes or _MAX_STRUCTURE_BYTES)


_TABLE_FAULTS = ("translation", "address size", "access flag", "permission")


def compare_with_tables(record: ExceptionRecord, stage: int, now: Fault | None) -> tuple[str, bool] | None:
    """A sentence that compares a fault of `stage` with the tables, and whether it is a contradiction.

    `now` is the fault that the same access takes now. Returns None if the tables did not cause the exception.
    """
    status = record.syndrome.status
    kind = "" if status is None else status.kind.removesuffix(" fault")
    if status is None or status.on_walk or kind not in _TABLE_FAULTS:
        return None
    esr = f"ESR_EL{record.level} says {status}"
    if stage == 2:
        esr += " of stage 2"
    if now is None:
        sentence = (
            f"{esr}, but the tables allow the access now: they have changed since, or a TLB entry was stale"
        )
        return sentence, True
    if now.kind == UNKNOWN:
        return f"{esr}; the tables cannot be read now: {now.reason}", False
    # A fault for an address out of range has level 0, or level -1 if the tables start there.
    is_level = now.level == status.level or {now.level, status.level} == {0, -1}
    if (now.kind, now.stage) == (kind, stage) and is_level:
        return f"{esr}, and so do the tables now", False
    of_stage = f" of stage {now.stage}" if 2 in (stage, now.stage) else ""
    fault = f"a {now.kind} fault, level {now.level}{of_stage}"
    return f"{esr}, but the tables now give {fault}: they have changed since", True
