"""Random set-ups of a processor: registers, tables to match, and addresses to ask about.

Both oracles are asked about these: the naive walker, and QEMU's. The arithmetic here is the generator's
own; where it errs, set-ups are less telling, but no answer is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.aarch64.processors import WIDTHS, Processor

STRICT = "as the manual has it"
QEMU = "only what QEMU decides as the manual does"

GRANULES = {12: (0, 2), 14: (2, 1), 16: (1, 3)}
"""TG0 and TG1 by the granule's width."""


@dataclass
class Range:
    """One range of addresses as it is set up."""

    number: int
    granule: int
    wanted: int
    """The granule asked for; where the processor lacks it, `granule` is another."""
    size_offset: int
    long: bool
    output_bits: int
    wide_format: bool
    """Descriptors hold 52-bit addresses."""
    wide_base: bool
    valid: bool
    indices: dict[int, list[int]] = field(default_factory=dict)

    @property
    def input_bits(self) -> int:
        return 64 - self.size_offset

    def shift(self, level: int) -> int:
        return self.granule + (3 - level) * (self.granule - 3)

    @property
    def start(self) -> int:
        level = 3
        while self.shift(level) + self.granule - 3 < self.input_bits:
            level -= 1
        return level

    def entries(self, level: int) -> int:
        bits = self.input_bits - self.shift(level) if level == self.start else self.granule - 3
        return 1 << bits

    def address(self, chosen: dict[int, int], offset: int) -> int:
        value = sum(index << self.shift(level) for level, index in chosen.items())
        value |= offset & ((1 << self.granule) - 1)
        return value | ((1 << 64) - (1 << self.input_bits) if self.number else 0)


@dataclass
class Setup:
    """Registers, memory words by physical address, addresses to ask about, and where a core would run."""

    level: int
    regime: str
    registers: dict[str, int]
    words: dict[int, int] = field(default_factory=dict)
    probes: list[int] = field(default_factory=list)
    spin: int = 0
    big_endian: bool = False

    def write(self, address: int, descriptor: int) -> None:
        order = "big" if self.big_endian else "little"
        self.words[address] = int.from_bytes(descriptor.to_bytes(8, order), "little")


class Generator:
    """Makes set-ups of one processor whose tables lie from `base` up to `end`."""

    def __init__(self, seed: int, processor: Processor, base: int, end: int, spin_page: int, kind: str):
        self.random = random.Random(seed)
        self.processor = processor
        self.base, self.end, self.spin_page, self.kind = base, end, spin_page, kind

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def bits(self, count: int) -> int:
        return self.random.getrandbits(count) if count else 0

    def setup(self) -> Setup:
        """One set-up."""
        self._next = self.base
        level = self.random.choice((0, 0, 1, 1, 1, 2, 2, 3))
        control = 1 << 31
        if self.processor.virtualization_host and self.chance(0.5):
            control |= 1 << 34
            if level != 1 and self.chance(0.6):
                control |= 1 << 27
        owner = level or 1
        if level == 0 and control >> 34 & 1 and control >> 27 & 1:
            owner = 2
        two_ranges = owner == 1 or (owner == 2 and bool(control >> 34 & 1))
        registers = {"SCR_EL3": 0x5B1, "HCR_EL2": control}
        # With TGE, the MMU of EL1&0 is off (D24.2.49); QEMU 10 leaves it on.
        if self.kind is STRICT and owner == 1 and level == 0 and control >> 34 & 1 == 0 and self.chance(0.05):
            registers["HCR_EL2"] |= 1 << 27
        if self.processor.virtualization_host and owner == 1 and self.chance(0.12):
            registers["HCR_EL2"] |= self.random.choice((1, 3, 3)) << 42
        regime = "EL1&0" if owner == 1 else f"EL{owner}" + "&0" * two_ranges
        setup = Setup(level, regime, registers)
        sctlr = self.bits(1) << 19 | (not self.chance(0.05))
        if owner == 1 or two_ranges:
            sctlr |= self.chance(0.2) << 57
        setup.big_endian = self.chance(0.15)
        registers[f"SCTLR_EL{owner}"] = sctlr | setup.big_endian << 25 | 0x30C0_0800
        if owner < 3:
            # Device memory, non-cacheable, write-through and write-back, in an order of chance.
            kinds = self.random.sample((0x00, 0x04, 0x08, 0x0C, 0x44, 0xBB, 0xFF, 0x4F), 8)
            registers[f"MAIR_EL{owner}"] = int.from_bytes(bytes(kinds), "little")
        self._tables(setup, owner, two_ranges)
        return setup

    def _tables(self, setup: Setup, owner: int, two_ranges: bool) -> None:
        registers = setup.registers
        physical = self.random.choice((5, 6, 6, 7)) if self.chance(0.7) else self.bits(3)
        wanted_long = self.chance(0.6)
        ranges = [self._range(number, physical, wanted_long) for number in range(1 + two_ranges)]
        tcr = 0
        if two_ranges:
            tcr |= physical << 32 | wanted_long << 59 | self.bits(2) << 37
            tcr |= (
                (self.bits(2) & self.bits(2)) << 41 | (self.bits(2) & self.bits(2)) << 39 | self.bits(1) << 22
            )
            tcr |= self.chance(0.04) << 7 | self.chance(0.04) << 23 | self.bits(1) << 36
            tcr |= self.chance(0.04) << 55 | self.chance(0.04) << 56 | self.bits(2) << 51
        else:
            tcr |= physical << 16 | wanted_long << 32 | self.bits(1) << 20
            tcr |= self.chance(0.25) << 24 | self.chance(0.25) << 21 | self.chance(0.25) << 22
            tcr |= 1 << 31 | 1 << 23
        for one in ranges:
            place = (14, 30)[one.number]
            encoded = GRANULES[one.wanted][one.number] if not self.chance(0.02) else (3, 0)[one.number]
            if encoded not in (GRANULES[one.granule][one.number], GRANULES[one.wanted][one.number]):
                one.valid = False
            tcr |= encoded << place | one.size_offset << (16 * one.number) | self.bits(2) << place - 2
            registers[f"TTBR{one.number}_EL{owner}"] = self._root(setup, one, two_ranges)
            self._probe(setup, one)
        if self.chance(0.03):
            tcr = 0
        registers[f"TCR_EL{owner}"] = tcr

    def _range(self, number: int, physical: int, wanted_long: bool) -> Range:
        processor = self.processor
        wanted = self.random.choice(tuple(GRANULES))
        granule = wanted if wanted in processor.granules else min(processor.granules)
        long = wanted_long and granule in processor.long_granules
        smallest = 12 if long or (granule == 16 and processor.large_virtual) else 16
        largest = (47 if granule == 16 else 48) if processor.small_tables else 39
        size_offset = self.random.randint(smallest, largest)
        if self.chance(0.2):
            size_offset = self.random.choice((smallest, largest, 16, 25))
        if self.chance(0.03):
            size_offset = self.bits(6)
        lpa = granule == 16 and processor.physical_bits == 52
        width = min(WIDTHS[physical], processor.physical_bits, 52 if long or lpa else 48)
        return Range(
            number,
            granule,
            wanted,
            size_offset,
            long,
            width,
            wide_format=long or lpa,
            wide_base=long or (lpa and physical >= 6),
            valid=smallest <= size_offset <= largest,
        )

    def _allocate(self, size: int) -> int:
        self._next = -(-self._next // size) * size
        found = self._next
        self._next += size
        assert self._next <= self.end
        return found

    def _root(self, setup: Setup, one: Range, two_ranges: bool) -> int:
        if not one.valid:
            return self._allocate(1 << 16)
        tables = {}
        for level in range(one.start, 4):
            count = 1 if level == one.start else self.random.randint(1, 3)
            size = 8 * one.entries(level)
            tables[level] = [self._allocate(max(size, 64)) for _ in range(count)]
            last = one.entries(level) - 1
            one.indices[level] = list({0, last, self.random.randint(0, last), self.random.randint(0, last)})
        for level, places in tables.items():
            for table in places:
                for index in one.indices[level]:
                    setup.write(table + 8 * index, self._descriptor(one, level, tables.get(level + 1)))
        if one.number == 0:
            self._spin_path(setup, one, tables[one.start][0])
        return self._table_register(one, tables[one.start][0], two_ranges)

    def _table_register(self, one: Range, root: int, two_ranges: bool) -> int:
        size = 8 * one.entries(one.start)
        value = root | self.bits(1)
        if not one.wide_base:
            value |= self.bits(6) & (size - 1)
        elif self.kind is STRICT and self.chance(0.1):
            value |= self.bits(4) << 2
        if size > 64 and self.chance(0.3):
            value |= self.bits(20) & (size - 1) & ~0x3F
        if self.chance(0.02):
            value |= self.bits(48) & ~0xFFF
        return value | (self.bits(16) << 48 if two_ranges else 0)

    def _spin_path(self, setup: Setup, one: Range, table: int) -> None:
        """Map the spin page read-only and executable for all, by tables of its own."""
        chosen = {}
        for level in range(one.start, 4):
            index = chosen[level] = self.random.choice(one.indices[level])
            if level == 3:
                setup.write(table + 8 * index, self.spin_page | 0x4C3)
            else:
                below = self._allocate(1 << one.granule)
                setup.write(table + 8 * index, below | 3)
                table = below
        setup.spin = one.address(chosen, 0)
        setup.probes.append(setup.spin)

    def _descriptor(self, one: Range, level: int, below: list[int] | None) -> int:
        if below and self.chance(0.75):
            flags = sum(1 << bit for bit in range(59, 64) if self.chance(0.12))
            ignored = self.bits(10) << 2 & (0xCFC if one.long else 0xFFC)
            return self.random.choice(below) | 3 | flags | ignored
        kind = self.random.choices(("leaf", "invalid", "other"), (8, 1, 1))[0]
        if kind == "invalid":
            return self.bits(63) << 1
        low = 3 if (level == 3) == (kind == "leaf") else 1
        return self._leaf(one, level, low)

    def _leaf(self, one: Range, level: int, low: int) -> int:
        shift = one.shift(level)
        width = one.output_bits if not self.chance(0.06) else 52
        address = self.bits(width) >> shift << shift
        value = low | self.bits(8) << 2 | (not self.chance(0.1)) << 10 | self.bits(1) << 11
        value |= self.bits(14) << 50 | address & (1 << 48) - (1 << one.granule)
        if one.wide_format:
            high = address >> 48
            # Where the bits above 48 are not in use, QEMU 10 ignores them, and the manual has them be zero.
            if self.kind is QEMU and one.output_bits <= 48:
                high &= 3 if one.long else 0
            if one.long:
                value = value & ~0x300 | (high & 3) << 48 | (high >> 2) << 8
            else:
                value |= high << 12
        elif self.chance(0.1):
            value |= self.bits(2) << 48
        if self.chance(0.1) and shift > one.granule:
            # Bits below the block's size are no address (D8.3.1); QEMU 10 has them count as one too large.
            ignored = shift if self.kind is STRICT else min(shift, one.output_bits)
            value |= self.bits(ignored) & ~((1 << max(one.granule, 16)) - 1)
        return value

    def _probe(self, setup: Setup, one: Range) -> None:
        for _ in range(14):
            if not one.valid:
                setup.probes.append(self.bits(40))
                continue
            chosen = {level: self.random.choice(places) for level, places in one.indices.items()}
            address = one.address(chosen, self.bits(16))
            if self.chance(0.15):
                address ^= self.bits(8) << 56
            if self.chance(0.1):
                address ^= 1 << self.random.randint(one.input_bits - 1, 63)
            setup.probes.append(address)
        setup.probes.append(self.bits(64))
