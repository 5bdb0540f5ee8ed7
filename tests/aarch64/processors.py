"""Processors of the tests, by what their ID registers say."""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = (32, 36, 40, 42, 44, 48, 52, 52)
"""Widths of physical addresses by their encoding."""


@dataclass(frozen=True)
class Processor:
    """What the processor has."""

    physical_bits: int
    granules: tuple[int, ...]
    long_granules: tuple[int, ...] = ()
    large_virtual: bool = False
    small_tables: bool = False
    virtualization_host: bool = False

    @property
    def id_registers(self) -> dict[str, int]:
        tgran4 = 15 if 12 not in self.granules else int(12 in self.long_granules)
        tgran16 = 0 if 14 not in self.granules else 1 + (14 in self.long_granules)
        tgran64 = 0 if 16 in self.granules else 15
        return {
            "ID_AA64MMFR0_EL1": WIDTHS.index(self.physical_bits)
            | 2 << 4
            | tgran16 << 20
            | tgran64 << 24
            | tgran4 << 28,
            "ID_AA64MMFR1_EL1": 2 | self.virtualization_host << 28,
            "ID_AA64MMFR2_EL1": self.large_virtual << 16 | self.small_tables << 28 | 1 << 60,
        }


CORTEX_A72 = Processor(44, (12, 16))
MAX = Processor(52, (12, 14, 16), (12, 14), True, True, True)
