"""Names of the recorded instructions, by their encoding (DDI 0487, C5.5)."""

from __future__ import annotations

_TLBI = {0: "VMALLE1", 1: "VAE1", 2: "ASIDE1", 3: "VAAE1", 5: "VALE1", 7: "VAALE1"}
"""TLBI operations of EL1 by `op2`."""
_SCOPES = {1: "OS", 3: "IS", 7: ""}
"""Suffixes by `CRm`: the outer or inner shareable domain, or this core alone."""
_BY_ADDRESS = frozenset({1, 3, 5, 7})
_OF_ALL_ASIDS = frozenset({0, 3, 7})
_OF_LAST_LEVEL = frozenset({5, 7})
_LOCAL = 7


_CONTROLS = {
    (0, 2, 0, 0): "TTBR0_EL1",
    (0, 2, 0, 1): "TTBR1_EL1",
    (0, 2, 0, 2): "TCR_EL1",
    (0, 1, 0, 0): "SCTLR_EL1",
    (0, 10, 2, 0): "MAIR_EL1",
    (0, 12, 0, 0): "VBAR_EL1",
}
"""Registers by `op1`, `CRn`, `CRm` and `op2`."""


def register_of(code: int) -> str:
    """The register that a recorded MSR writes."""
    fields = (code >> 16 & 7, code >> 12 & 15, code >> 8 & 15, code >> 5 & 7)
    return _CONTROLS.get(fields, f"MSR ({code:#x})")


def completes_stores(code: int) -> bool:
    """Whether a DSB completes the stores before it: its type is not that of loads alone."""
    return code >> 8 & 3 != 1


def completes_all(code: int) -> bool:
    """Whether a DSB completes TLB invalidations before it, which one for stores alone does not."""
    return code >> 8 & 3 == 3


class Invalidation:
    """A TLB invalidation, by the code of its instruction and the value of its operand's register."""

    def __init__(self, code: int, operand: int) -> None:
        self.operation, crm = code >> 5 & 7, code >> 8 & 15
        is_known = not code >> 16 & 7 and crm in _SCOPES and self.operation in _TLBI
        self.name = f"TLBI {_TLBI[self.operation]}{_SCOPES[crm]}" if is_known else f"TLBI ({code:#x})"
        self.is_broadcast = is_known and crm != _LOCAL
        """Whether it reaches the TLBs of other cores."""
        self.is_of_last_level = is_known and self.operation in _OF_LAST_LEVEL
        """Whether it leaves alone what TLBs hold of tables."""
        self.asid = None if not is_known or self.operation in _OF_ALL_ASIDS else operand >> 48
        """The ASID that it is for; None for all."""
        self.address = None
        """The address that it is for, without its upper bits; None for all."""
        if is_known and self.operation in _BY_ADDRESS:
            self.address = (operand & (1 << 44) - 1) << 12

    def __str__(self) -> str:
        address = "" if self.address is None else f" {_extended(self.address):#x}"
        asid = "" if self.asid is None else f" ASID {self.asid}"
        return f"{self.name}{address}{asid}"

    def concerns(self, address: int, asids: frozenset[int] | None) -> bool:
        """Whether it invalidates translations of an address, in spaces with these ASIDs; None: any."""
        if self.address is not None and self.address != address & (1 << 56) - 1 & ~0xFFF:
            return False
        return self.asid is None or asids is None or self.asid in asids


def _extended(address: int) -> int:
    """An address of 56 bits as one of 64, by its bit 55."""
    return address | 0xFF << 56 if address >> 55 & 1 else address


def operation_of(code: int, operand: int) -> str:
    """A TLB invalidation in words."""
    return str(Invalidation(code, operand))
