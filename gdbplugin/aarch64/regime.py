"""Translation regimes: what the registers say of how addresses are translated (DDI 0487, D8.1, D8.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gdbplugin.aarch64.descriptor import ADDRESS_BITS
from gdbplugin.aarch64.registers import asid_bits, bits, decode, physical_address_bits
from gdbplugin.machine import Machine, MachineError

ADDRESS_MASK = (1 << 64) - 1
_GRANULE_BITS_0 = {0: 12, 1: 16, 2: 14}
_GRANULE_BITS_1 = {1: 14, 2: 12, 3: 16}
_SMALLEST_GRANULE_BITS = 12
_BLOCK_LEVELS = {12: frozenset({1, 2}), 14: frozenset({2}), 16: frozenset({2})}
_SMALLEST_SIZE_OFFSET = 16
_LARGEST_SIZE_OFFSET = 39
_LARGEST_SIZE_OFFSET_SMALL_TABLES = {12: 48, 14: 48, 16: 47}


class RegimeUnknownError(MachineError):
    """The registers that would say how addresses are translated cannot be read here."""


@dataclass(frozen=True)
class TranslationControl:
    """One range of input addresses and the tables that translate it: a TTBR and its part of a TCR.

    All widths are in bits. `defect` says why the setting cannot translate anything; every access
    through it is then a translation fault at level 0.
    """

    name: str
    base: int
    asid: int | None
    granule_bits: int
    input_bits: int
    output_bits: int
    upper: bool
    top_byte_ignored: bool = False
    walks_disabled: bool = False
    hierarchical_disabled: bool = False
    hardware_access_flag: bool = False
    defect: str | None = None

    @property
    def stride(self) -> int:
        """Number of input address bits one level of tables resolves."""
        return self.granule_bits - 3

    @property
    def levels(self) -> int:
        """Number of levels of tables, from 1 to 4."""
        return -(-(self.input_bits - self.granule_bits) // self.stride)

    @property
    def start_level(self) -> int:
        """The level of the root table."""
        return 4 - self.levels

    @property
    def block_levels(self) -> frozenset[int]:
        """The levels at which a block descriptor may stand."""
        return _BLOCK_LEVELS[self.granule_bits]

    @property
    def root_address(self) -> int:
        """Physical address of the root table: the TTBR's base, aligned to the table's size (D8.2.5)."""
        return self.base & ~(self.table_bytes(self.start_level) - 1)

    @property
    def first_address(self) -> int:
        """The lowest input address of the range."""
        return (1 << 64) - (1 << self.input_bits) if self.upper else 0

    def shift(self, level: int) -> int:
        """Number of low input address bits below the index of `level`: log2 of what one entry spans."""
        return self.granule_bits + (3 - level) * self.stride

    def table_bytes(self, level: int) -> int:
        """Size of a table of `level`; the root table may be smaller than a granule."""
        if level == self.start_level:
            return 8 << (self.input_bits - self.shift(level))
        return 1 << self.granule_bits

    def output_address(self, descriptor: int, low_bits: int) -> int:
        """The address in a descriptor whose lowest `low_bits` bits are not the descriptor's to give."""
        return descriptor & ADDRESS_BITS & -(1 << low_bits)

    def covers(self, address: int) -> bool:
        """Whether the 64-bit `address` is an input address of this range."""
        top = 55 if self.top_byte_ignored else 63
        if self.input_bits > top:
            return bits(address, 55, 55) == self.upper
        ones = (1 << (top - self.input_bits + 1)) - 1
        return bits(address, top, self.input_bits) == (ones if self.upper else 0)

    def with_table(self, base: int, asid: int | None) -> TranslationControl:
        """The same control over other tables: another task's address space."""
        return replace(self, base=base, asid=asid)


@dataclass(frozen=True)
class TranslationRegime:
    """How addresses are translated at some exception levels: one control per range of addresses.

    `upper` is None in regimes of one range. With `enabled` false the MMU is off and every input
    address is its own output address.
    """

    name: str
    enabled: bool
    lower: TranslationControl
    upper: TranslationControl | None
    has_el0: bool
    write_implies_no_execute: bool
    output_bits: int

    def control(self, address: int) -> TranslationControl:
        """The control whose tables translate `address`, chosen by bit 55 where there are two (D8.2.4)."""
        if self.upper is not None and bits(address, 55, 55):
            return self.upper
        return self.lower


def _size_defect(size_offset: int, granule_bits: int, small_tables: bool, name: str) -> str | None:
    largest = _LARGEST_SIZE_OFFSET_SMALL_TABLES[granule_bits] if small_tables else _LARGEST_SIZE_OFFSET
    if _SMALLEST_SIZE_OFFSET <= size_offset <= largest:
        return None
    return f"{name} is {size_offset}, outside {_SMALLEST_SIZE_OFFSET} to {largest}"


def _half(
    number: int, table: int, tcr: dict[str, int], *, output_bits: int, asid: int | None, small_tables: bool
) -> TranslationControl:
    """The control of TTBR0_EL1 (`number` 0) or TTBR1_EL1 (`number` 1)."""
    upper = number == 1
    encoded = tcr[f"TG{number}"]
    granule_bits = (_GRANULE_BITS_1 if upper else _GRANULE_BITS_0).get(encoded, _SMALLEST_GRANULE_BITS)
    size_offset = tcr[f"T{number}SZ"]
    defect = _size_defect(size_offset, granule_bits, small_tables, f"TCR_EL1.T{number}SZ")
    if defect is not None:
        # The shape must still make sense to whoever asks for it, though nothing is translated by it.
        size_offset = min(max(size_offset, _SMALLEST_SIZE_OFFSET), _LARGEST_SIZE_OFFSET)
    return TranslationControl(
        name=f"TTBR{number}_EL1",
        base=bits(table, 47, 1) << 1,
        asid=asid,
        granule_bits=granule_bits,
        input_bits=64 - size_offset,
        output_bits=output_bits,
        upper=upper,
        top_byte_ignored=bool(tcr[f"TBI{number}"]),
        walks_disabled=bool(tcr[f"EPD{number}"]),
        hierarchical_disabled=bool(tcr[f"HPD{number}"]),
        hardware_access_flag=bool(tcr["HA"]),
        defect=defect,
    )


def _required(machine: Machine, name: str, core: int) -> int:
    value = machine.register(name, core)
    if value is None:
        raise RegimeUnknownError(f"{name} of core {core} cannot be read from this target")
    return value


def el1_regime(machine: Machine, core: int) -> TranslationRegime:
    """The EL1&0 regime, stage 1, as the registers of `core` set it up.

    Raises `RegimeUnknownError` where a register is not to be had. Where ID_AA64MMFR0_EL1 is not to be
    had, TCR_EL1.IPS alone gives the width of output addresses.
    """
    tcr = decode("TCR_EL1", _required(machine, "TCR_EL1", core))
    sctlr = decode("SCTLR_EL1", _required(machine, "SCTLR_EL1", core))
    tables = [_required(machine, name, core) for name in ("TTBR0_EL1", "TTBR1_EL1")]
    output_bits = physical_address_bits(tcr["IPS"])
    features = machine.register("ID_AA64MMFR0_EL1", core)
    implemented = 48
    if features is not None:
        implemented = min(48, physical_address_bits(decode("ID_AA64MMFR0_EL1", features)["PARange"]))
    output_bits = min(output_bits, implemented)
    small = machine.register("ID_AA64MMFR2_EL1", core)
    small_tables = small is not None and bits(small, 31, 28) != 0
    asid_width = asid_bits(machine, core)
    owner = tcr["A1"]
    asid = bits(tables[owner], 48 + asid_width - 1, 48)
    halves = [
        _half(
            number,
            tables[number],
            tcr,
            output_bits=output_bits,
            asid=asid if number == owner else None,
            small_tables=small_tables,
        )
        for number in (0, 1)
    ]
    return TranslationRegime(
        name="EL1&0",
        enabled=bool(sctlr["M"]),
        lower=halves[0],
        upper=halves[1],
        has_el0=True,
        write_implies_no_execute=bool(sctlr["WXN"]),
        output_bits=implemented,
    )
