"""Random set-ups of a guest: those of `setups` at EL1 and EL0, with a stage 2 beneath them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.aarch64.processors import WIDTHS
from tests.aarch64.setups import GRANULES, QEMU, Generator, Setup

_ROOTS = {12: {2: 0, 1: 1, 0: 2, 3: 3, -1: 0}, 14: {3: 0, 2: 1, 1: 2, 0: 3}, 16: {3: 0, 2: 1, 1: 2}}
"""VTCR_EL2.SL0 by granule and level of the root."""
_LEAST = {(12, 0): 44, (14, 1): 42, (16, 1): 44}


@dataclass
class Shape:
    """How stage 2 is set up."""

    granule: int
    root: int
    input_bits: int
    long: bool
    wide: bool
    wide_base: bool
    output_bits: int
    physical: int

    def shift(self, level: int) -> int:
        return self.granule + (3 - level) * (self.granule - 3)

    def index(self, address: int, level: int) -> int:
        bits = self.input_bits - self.shift(level) if level == self.root else self.granule - 3
        return address >> self.shift(level) & ((1 << bits) - 1)

    @property
    def root_bytes(self) -> int:
        return 8 << self.input_bits - self.shift(self.root)

    @property
    def blocks(self) -> tuple[int, ...]:
        if self.granule == 12:
            return (0, 1, 2) if self.long else (1, 2)
        return (1, 2) if self.wide else (2,)


class GuestGenerator:
    """Makes set-ups whose tables of both stages lie from `base` up to `end`, stage 1's in the first half.

    A guest sees them `delta` above, and everything else where chance has it.
    """

    def __init__(self, seed, processor, base, end, spin_page, kind):
        self.base, self.middle, self.end, self.spin_page = base, (base + end) // 2, end, spin_page
        self.processor, self.kind = processor, kind
        self.arguments = seed, processor, kind
        self.makes = Generator(seed, processor, base, self.middle, spin_page, kind)

    def setup(self) -> tuple[Setup, Shape]:
        makes = self.makes
        shape = self._shape()
        # As high as the tables fit below the end of the intermediate addresses, in steps of any granule.
        room = (1 << shape.input_bits) - self.middle
        delta = makes.random.randrange(max(1, room >> 16)) << 16 if makes.chance(0.8) and room > 0 else 0
        delta &= (1 << 36) - 1  # Within what the narrowest of stage 1's outputs may reach, mostly.
        makes.base, makes.end = self.base + delta, self.middle + delta
        makes.spin_page = self.spin_page + delta
        setup = makes.setup()
        while setup.regime != "EL1&0":
            setup = makes.setup()
        for name in ("TTBR0_EL2", "TTBR1_EL2", "TCR_EL2", "MAIR_EL2"):
            setup.registers.pop(name, None)
        self._next, self._tables = self.middle, {}
        self.big = makes.chance(0.15)
        setup.registers["SCTLR_EL2"] = 0x30C5_0830 | self.big << 25
        setup.registers["HCR_EL2"] |= 1 | makes.chance(0.3) << 2 | self._may_force() << 46
        words = {address - delta: word for address, word in setup.words.items()}
        setup.words.clear()
        setup.words.update(words)
        root = self._allocate(max(shape.root_bytes, 64))
        self._tables[shape.root, 0] = root
        pages = {address >> shape.granule << shape.granule for address in [*words, self.spin_page]}
        if makes.chance(0.7):  # All of each table of a guest's, not only where there is an entry.
            pages |= {page >> 16 << 16 | offset for page in pages for offset in range(0, 1 << 16, 4096)}
            pages = {page >> shape.granule << shape.granule for page in pages}
        for page in sorted(pages):
            # Mostly as a guest's own tables are: in memory that it may read and write.
            usual = 0x4FC if makes.chance(0.95) else makes.bits(10) << 2
            if shape.long and self.kind is QEMU:
                usual &= ~0x300  # Bits of an address, which QEMU 10 ignores where they are not in use.
            self._map(setup, shape, page + delta, 3, page | usual | makes.bits(2) << 53)
        self._scatter(setup, shape)
        value = root if shape.wide_base else root | makes.bits(6) & (max(shape.root_bytes, 64) - 1) & 0x3E
        setup.registers["VTTBR_EL2"] = value | makes.bits(16) << 48 | makes.bits(1)
        setup.registers["VTCR_EL2"] = self._vtcr(shape)
        return setup, shape

    def _may_force(self) -> bool:
        return self.processor.virtualization_host and self.makes.chance(0.3)

    def _shape(self) -> Shape:
        makes, processor = self.makes, self.processor
        while True:
            granule = makes.random.choice(processor.granules)
            long = granule in processor.long_granules and makes.chance(0.6)
            lpa = granule == 16 and processor.physical_bits == 52
            physical = makes.random.choice((5, 6, 6, 7)) if makes.chance(0.7) else makes.bits(3)
            widest = min(processor.physical_bits, 52 if long or lpa else 48)
            if granule == 16 and not processor.large_virtual:
                widest = min(widest, 48)
            narrowest = (17 if granule == 16 else 16) if processor.small_tables else 25
            input_bits = makes.random.randint(narrowest, widest)
            level = makes.random.choice(tuple(_ROOTS[granule]))
            shape = Shape(
                granule,
                level,
                input_bits,
                long,
                long or lpa,
                long or (lpa and physical >= 6),
                min(WIDTHS[physical], processor.physical_bits, 52 if long or lpa else 48),
                physical,
            )
            fits = 1 <= input_bits - shape.shift(level) <= granule - 3 + 4
            there = processor.physical_bits >= _LEAST.get((granule, level), 0)
            there = there and (level != -1 or long) and not (granule == 14 and level == 0 and not long)
            there = there and not (granule == 12 and level == 3 and not processor.small_tables)
            if fits and there and self.middle.bit_length() <= min(input_bits, shape.output_bits):
                return shape

    def _vtcr(self, shape: Shape) -> int:
        makes = self.makes
        start = _ROOTS[shape.granule][shape.root]
        if self.kind is not QEMU and makes.chance(0.04):
            start = makes.bits(2)
        size = 64 - shape.input_bits
        if self.kind is not QEMU and makes.chance(0.04):
            size = makes.bits(6)
        value = 1 << 31 | size | start << 6 | makes.bits(6) << 8 | GRANULES[shape.granule][0] << 14
        value |= shape.physical << 16 | makes.bits(1) << 19 | makes.bits(1) << 21 | makes.bits(1) << 22
        return value | shape.long << 32 | (shape.root == -1) << 33

    def _allocate(self, size: int) -> int:
        self._next = -(-self._next // size) * size
        found = self._next
        self._next += size
        assert self._next <= self.end
        return found

    def _write(self, setup: Setup, address: int, descriptor: int) -> None:
        order = "big" if self.big else "little"
        setup.words[address] = int.from_bytes(descriptor.to_bytes(8, order), "little")

    def _map(self, setup: Setup, shape: Shape, address: int, level: int, descriptor: int) -> None:
        """A leaf for an address at a level, by tables that are made as they are needed."""
        if address >> shape.input_bits:
            return
        for above in range(shape.root, level):
            table = self._tables[above, address >> shape.shift(above - 1) if above > shape.root else 0]
            if table is None:
                return  # There is a block already.
            key = above + 1, address >> shape.shift(above)
            if key not in self._tables:
                self._tables[key] = self._allocate(1 << shape.granule)
                ignored = self.makes.bits(5) << 59 | self.makes.bits(10) << 2 & (
                    0xCFC if shape.wide else 0xFFC
                )
                where = table + 8 * shape.index(address, above)
                self._write(setup, where, self._tables[key] | 3 | ignored)
        key = level, address >> shape.shift(level - 1) if level > shape.root else 0
        if self._tables[key] is None:
            return
        beneath = level + 1, address >> shape.shift(level)
        if beneath in self._tables:
            return
        self._tables[beneath] = None
        where = self._tables[key] + 8 * shape.index(address, level)
        self._write(setup, where, descriptor | (3 if level == 3 else 1))

    def _scatter(self, setup: Setup, shape: Shape) -> None:
        """Leaves anywhere, and for what stage 1 may come to."""
        makes = self.makes
        outputs = [makes.bits(makes.random.choice((shape.input_bits, 36, 32))) for _ in range(4)]
        order = "big" if setup.big_endian else "little"
        for word in list(setup.words.values())[:400]:
            descriptor = int.from_bytes(word.to_bytes(8, "little"), order)
            if descriptor & 1 and makes.chance(0.5):
                outputs.append(descriptor & ((1 << min(48, shape.input_bits)) - 1) & ~0xFFF)
        outputs += [address & ((1 << shape.input_bits) - 1) for address in setup.probes if makes.chance(0.3)]
        levels = [level for level in (*shape.blocks, 3) if level >= shape.root]
        for address in outputs:
            if self._next + (5 << shape.granule) > self.end:
                return
            level = makes.random.choice((3, 3, *levels))
            self._map(setup, shape, address, level, self._leaf(shape, level))

    def _leaf(self, shape: Shape, level: int) -> int:
        makes, shift = self.makes, shape.shift(level)
        width = shape.output_bits if not makes.chance(0.06) else 52
        address = makes.bits(width) >> shift << shift
        value = (
            makes.bits(4) << 2 | makes.bits(2) << 6 | makes.chance(0.8) << 6 | (not makes.chance(0.1)) << 10
        )
        value |= makes.bits(2) << 8 | makes.bits(14) << 50 | address & (1 << 48) - (1 << shape.granule)
        high = address >> 48
        if self.kind is QEMU and shape.output_bits <= 48:
            high &= 3 if shape.long else 0
        if shape.long:
            value = value & ~0x300 | (high & 3) << 48 | (high >> 2) << 8
        elif shape.wide:
            value |= high << 12
        return value
