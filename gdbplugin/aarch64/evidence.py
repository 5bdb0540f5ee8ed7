"""A recorded exception held against all else that is known of it (DDI 0487, D1.3, D24.2.40).

ESR_ELx is of the last synchronous exception or SError, while ELR_ELx and SPSR_ELx are also an interrupt's.
So they may be of different exceptions: what contradicts that they are of one is said here, with what it is
seen by, and nothing is concluded from the others then. All functions are pure.
"""

from __future__ import annotations

from gdbplugin.aarch64.access import Access
from gdbplugin.aarch64.faults import ExceptionRecord
from gdbplugin.aarch64.instructions import MemoryOperation, memory_operation
from gdbplugin.aarch64.registers import bits
from gdbplugin.aarch64.syndromes import (
    ALIGNMENT_FAULT,
    DATA_ABORTS,
    INSTRUCTION_ABORTS,
    PC_ALIGNMENT,
    SP_ALIGNMENT,
    SYSTEM_ACCESS,
    WAIT,
)
from gdbplugin.aarch64.walk import UNKNOWN, Fault

SVC, HVC, SMC, BRK, SERROR = 0x15, 0x16, 0x17, 0x3C, 0x2F
CALLS = {SVC: 0xD400_0001, HVC: 0xD400_0002, SMC: 0xD400_0003}
_BRK_INSTRUCTION = 0xD420_0000
_WAITS = {0xD503_205F: "WFE", 0xD503_207F: "WFI"}
_WAIT_UNTIL = {0xD503_1000: "WFET", 0xD503_1020: "WFIT"}
FROM_LOWER = (0x20, 0x24, 0x30, 0x32, 0x34)
FROM_SAME = (0x21, 0x25, 0x31, 0x33, 0x35)
_ZERO_BLOCK = 2048
"""What DC ZVA zeroes is no more."""
TABLE_FAULTS = ("translation", "address size", "access flag", "permission")
_LOW_56 = (1 << 56) - 1


def level_by_class(record: ExceptionRecord, el0_alone: bool) -> int | None:
    """The exception level that the exception was taken from, as far as its class alone tells.

    `el0_alone`: HCR_EL2.TGE, by which nothing runs at EL1.
    """
    syndrome = record.syndrome
    if syndrome.by_vncr and record.level == 2:
        return 1
    if syndrome.exception_class in FROM_SAME:
        return record.level
    if syndrome.exception_class in FROM_LOWER and (record.level == 1 or (record.level == 2 and el0_alone)):
        return 0
    return None


def level_doubt(record: ExceptionRecord, nested: bool) -> str | None:
    """Why SPSR_ELx cannot be of the exception, or None. `nested`: HCR_EL2.NV, which shows EL1 as EL2."""
    level, source = record.level, record.from_level
    if source is None:
        return None
    said = f"SPSR_EL{level} says EL{source}"
    if source > level and not (nested and level == 1 and source == 2):
        return f"{said}, from which EL{level} takes no exception"
    syndrome = record.syndrome
    if nested or syndrome.by_vncr:
        return None
    if syndrome.exception_class in FROM_LOWER and source >= level:
        return f"ESR_EL{level} says that it came from a lower exception level than EL{level}, and {said}"
    if syndrome.exception_class in FROM_SAME and source != level:
        return f"ESR_EL{level} says that it came from EL{level} itself, and {said}"
    return None


def vector_doubt(record: ExceptionRecord, vector: int | None) -> str | None:
    """Why the vector a core is in (0 to 15) is not this exception's, or None: ELR_ELx is that one's then."""
    if vector is None:
        return None
    wanted = 3 if record.syndrome.exception_class == SERROR else 0
    if vector % 4 == wanted:
        return None
    names = ("a synchronous exception", "an IRQ", "an FIQ", "an SError")
    return f"the core is in the vector of {names[vector % 4]}"


def instruction_doubt(record: ExceptionRecord, word: int | None) -> str | None:
    """Why the instruction that ELR_ELx leads to cannot be the exception's, or None.

    `word` is None where it cannot be read: then only the addresses speak.
    """
    syndrome, elr = record.syndrome, record.instruction
    exception_class = syndrome.exception_class
    names = f"ESR_EL{record.level}", f"ELR_EL{record.level}"
    if elr is not None and record.address is not None and record.address != elr:
        if exception_class in INSTRUCTION_ABORTS:
            return f"a fetch from {record.address:#x} failed, and {names[1]} is {elr:#x}"
        if exception_class == PC_ALIGNMENT:
            return f"FAR_EL{record.level} is {record.address:#x} and {names[1]} {elr:#x}, of a PC that is one"
    if exception_class == PC_ALIGNMENT and elr is not None and not elr & 3:
        return f"{names[0]} says that the PC was not aligned, and {names[1]} is aligned"
    if word is None:
        return None
    said = _by_encoding(record, word)
    return None if said is None else f"{names[0]} says {said[0]}, and the instruction at {names[1]} {said[1]}"


def _by_encoding(record: ExceptionRecord, word: int) -> tuple[str, str] | None:
    """What the syndrome says, and what the instruction is, where these exclude each other."""
    syndrome = record.syndrome
    exception_class, immediate = syndrome.exception_class, syndrome.immediate or 0
    is_other = f"is another one ({word:#010x})"
    if exception_class in CALLS and word != CALLS[exception_class] | immediate << 5:
        return f"{syndrome.name} #{immediate}", f"({word:#010x}, before it) is another one"
    if exception_class == BRK and word != _BRK_INSTRUCTION | immediate << 5:
        return f"{syndrome.name} #{immediate}", is_other
    if exception_class == SYSTEM_ACCESS and not _is_system_access(syndrome.value, word):
        return f"an access to {syndrome.system_register}", is_other
    if exception_class == WAIT and word not in _WAITS and word & ~0x1F not in _WAIT_UNTIL:
        return "WFI or WFE", is_other
    operation = memory_operation(word)
    if exception_class == SP_ALIGNMENT and (
        operation is None or (operation.has_address and (operation.base != 31 or operation.maintenance))
    ):
        return "that SP was not aligned", "accesses nothing by SP"
    if exception_class in DATA_ABORTS:
        return _by_access(record, operation)
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


def _by_access(record: ExceptionRecord, operation: MemoryOperation | None) -> tuple[str, str] | None:
    """The same of a data abort: WnR, CM, and where ISV is set SAS, SRT, SSE, SF and AR."""
    syndrome = record.syndrome
    if operation is None:
        return "an access to memory", "accesses none"
    if operation.reads is None and not operation.maintenance:
        return None
    if operation.maintenance:
        return None  # QEMU has CM clear then: no proof of another instruction, but told as a contradiction.
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
        return _whether(syndrome.access_signed, "a sign-extended load (SSE)")
    if operation.wide is not None and operation.wide != syndrome.access_wide:
        return _whether(syndrome.access_wide, "a register of 64 bits (SF)")
    if operation.ordered != syndrome.access_ordered:
        return _whether(syndrome.access_ordered, "acquire or release (AR)")
    return None


def _whether(is_said: bool, what: str) -> tuple[str, str]:
    return (what, "is not that") if is_said else (f"not {what}", "is that")


def syndrome_contradictions(record: ExceptionRecord) -> list[str]:
    """Where a syndrome contradicts itself, its level or the saved state."""
    syndrome, level = record.syndrome, record.level
    found = []
    if syndrome.instruction_bytes == 2 and record.state is not None and not bits(record.state, 4, 4):
        found.append(
            f"ESR_EL{level} says a 16-bit instruction (IL clear), and SPSR_EL{level} AArch64, which has none"
        )
    if syndrome.second_stage_walk and level != 2:
        found.append(f"ESR_EL{level} has S1PTW set, which only EL2's aborts have")
    if syndrome.by_vncr and level != 2:
        found.append(f"ESR_EL{level} has VNCR set, which only EL2's aborts have")
    status = syndrome.status
    if syndrome.external and status is not None and "external" not in status.kind:
        found.append(f"ESR_EL{level} has EA set, which only external aborts have, and says {status}")
    return found


def operation_contradictions(
    record: ExceptionRecord, operation: MemoryOperation | None, computed: int | None, tagged: bool
) -> list[str]:
    """Where ESR_ELx or FAR_ELx contradicts what the instruction does, and yet may be of it.

    `computed` is the address that it computes by registers that are known to be as they were, else None;
    `tagged` tells that the top byte of an address is ignored.
    """
    if operation is None or record.address is None:
        return []
    found, level = [], record.level
    if operation.maintenance and not record.syndrome.cache_maintenance:
        found.append(f"ESR_EL{level} says a load or store (CM clear), and the instruction is {operation}")
    if computed is not None and not covers(operation, computed, record.address, tagged):
        found.append(f"FAR_EL{level} is {record.address:#x}, and the {operation} computes {computed:#x}")
    status, unit = record.syndrome.status, operation.bytes if operation.exclusive else operation.size
    if (
        status is not None
        and status.code == ALIGNMENT_FAULT
        and unit
        and record.address % unit == 0
        and not record.syndrome.by_vncr
    ):
        found.append(
            f"ESR_EL{level} says an alignment fault, and FAR_EL{level} is aligned for the {operation}"
        )
    return found


def covers(operation: MemoryOperation, computed: int, address: int, tagged: bool) -> bool:
    """Whether an access that computes one address may have failed at the other.

    FAR_ELx holds any byte of the access, and for DC ZVA and maintenance any of the block.
    """
    if tagged:
        computed, address = computed & _LOW_56, address & _LOW_56
    if operation.zeroing or operation.maintenance:
        return computed // _ZERO_BLOCK == address // _ZERO_BLOCK
    # Of a vector structure no more than four registers of 16 bytes.
    return 0 <= address - computed < (operation.bytes or 64)


def table_remark(record: ExceptionRecord, stage: int, now: Fault | None) -> tuple[str, bool] | None:
    """What the tables as they are now say of a fault that the tables gave, and whether they contradict it.

    `now` is the fault that the same access takes now. None where the exception was no such fault.
    """
    status = record.syndrome.status
    kind = "" if status is None else status.kind.removesuffix(" fault")
    if status is None or status.on_walk or kind not in TABLE_FAULTS:
        return None
    said = f"ESR_EL{record.level} says {status}"
    if stage == 2:
        said += " of stage 2"
    if now is None:
        return (
            f"{said}, and the tables allow the access now: they have changed since, or a TLB held others",
            True,
        )
    if now.kind == UNKNOWN:
        return f"{said}; the tables cannot be read now: {now.reason}", False
    # An address out of range is a fault of level 0, or of -1 where there is that.
    is_level = now.level == status.level or {now.level, status.level} == {0, -1}
    if (now.kind, now.stage) == (kind, stage) and is_level:
        return f"{said}, and so do the tables now", False
    of_stage = f" of stage {now.stage}" if 2 in (stage, now.stage) else ""
    gives = f"the tables now give a {now.kind} fault, level {now.level}{of_stage}"
    return f"{said}, and {gives}: they have changed since", True
