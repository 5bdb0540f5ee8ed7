"""System registers by named fields (DDI 0487, D24.2). Where the fields lie is in `register_fields`."""

from __future__ import annotations

from gdbplugin.aarch64.register_fields import FORMATS, FORMATS_WITH_E2H
from gdbplugin.machine import Machine

PHYSICAL_ADDRESS_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
"""Meaning of TCR_EL1.IPS and of ID_AA64MMFR0_EL1.PARange, by their value."""


def bits(value: int, high: int, low: int) -> int:
    """Bits `high` down to `low` of `value`, both included."""
    return (value >> low) & ((1 << (high - low + 1)) - 1)


def decode(name: str, value: int, *, e2h: bool = False) -> dict[str, int]:
    """The named fields of a register's value; KeyError for a register that has no layout here.

    `e2h` is HCR_EL2.E2H, by which some EL2 registers take the layout of EL1's.
    """
    layout = (FORMATS_WITH_E2H if e2h else FORMATS)[name]
    return {field: bits(value, high, low) for field, (high, low) in layout.items()}


def physical_address_bits(encoded: int) -> int:
    """Width of a physical address, in bits, by IPS or PARange; reserved values count as the widest."""
    return PHYSICAL_ADDRESS_BITS[min(encoded, len(PHYSICAL_ADDRESS_BITS) - 1)]


def asid_bits(machine: Machine, core: int, level: int = 1) -> int:
    """Width, in bits, of the ASIDs of the EL1&0 (`level` 1) or EL2&0 (2) regime.

    It is 16 if the core has them and TCR_ELx.AS asks for them, else 8. Where ID_AA64MMFR0_EL1 cannot
    be read, TCR_ELx.AS is believed.
    """
    control = machine.register(f"TCR_EL{level}", core)
    features = machine.register("ID_AA64MMFR0_EL1", core)
    if control is None or not decode(f"TCR_EL{level}", control, e2h=True)["AS"]:
        return 8
    if features is not None and decode("ID_AA64MMFR0_EL1", features)["ASIDBits"] == 0:
        return 8
    return 16


_MODES = frozenset({0, 4, 5, 8, 9, 12, 13})
"""M[3:0] of AArch64: EL0, and EL1 to EL3 with either stack pointer."""
_AARCH32_MODES = frozenset({0, 1, 2, 3, 6, 7, 10, 11, 15})
_STATE_RES0 = 1 << 27 | 1 << 26 | 1 << 5 | -1 << 36


def is_processor_state(value: int) -> bool:
    """Whether a processor may be in this state, as debug stubs and SPSR_ELx give it (DDI 0487, C5.2.20)."""
    if bits(value, 4, 4):
        return bits(value, 3, 0) in _AARCH32_MODES and not value >> 32
    return bits(value, 3, 0) in _MODES and not value & _STATE_RES0


def is_in_aarch32(machine: Machine, core: int) -> bool:
    """Whether a core is stopped in AArch32 state (nRW set); false where its state is not known."""
    state = machine.register("CPSR", core)
    return state is not None and bool(bits(state, 4, 4))


def exception_level(machine: Machine, core: int) -> int | None:
    """The exception level a core is stopped at, from the processor state's bits 3:2; None if unknown.

    A processor in AArch32 state (nRW set) keeps a mode there instead, of which only User is EL0.
    """
    state = machine.register("CPSR", core)
    if state is None:
        return None
    if bits(state, 4, 4):
        return 0 if bits(state, 3, 0) == 0 else None
    return bits(state, 3, 2)
