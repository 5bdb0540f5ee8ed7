"""Translation tables as bytes, made from a plan of what is mapped: the plan is what a walk must find.

A plan says of each block and page where it is, where it leads and who may do what. The tables are laid out by
arithmetic of this module's own, at addresses of chance, for every regime, granule, width and byte order.
`expected` answers for any address from the plan alone, without reading a table.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gdbplugin.machine import BytesMachine
from tests.aarch64.naive import Answer
from tests.aarch64.processors import WIDTHS, Processor
from tests.aarch64.setups import GRANULES

REGIMES = {"EL1&0": 1, "EL2": 2, "EL2&0": 2, "EL3": 3}
"""The level whose registers set each up."""
MEMORY = {
    0x00: "Device-nGnRnE",
    0x04: "Device-nGnRE",
    0x08: "Device-nGRE",
    0x0C: "Device-GRE",
    0x44: "Normal non-cacheable",
    0xBB: "Normal write-through",
    0xFF: "Normal write-back",
    0x4F: "Normal, outer non-cacheable, inner write-back",
}
SHAREABILITY = ("non-shareable", "reserved", "outer shareable", "inner shareable")
LIMITS = {59: "PXN", 60: "UXN", 61: "no EL0", 62: "no write"}
"""The bits of a table descriptor that limit what is below it."""


class Page(NamedTuple):
    """The fields of a leaf's descriptor. AP, SH and the index of MAIR as in the manual."""

    ap: int = 0
    uxn: int = 1
    pxn: int = 1
    index: int = 0
    share: int = 3
    accessed: int = 1
    not_global: int = 0


class Leaf(NamedTuple):
    """A block or page of the plan."""

    start: int
    size: int
    output: int
    level: int
    page: Page

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass
class Setting:
    """What a whole regime is set up like; `ds` is TCR_ELx.DS, `physical` the encoding of the output width."""

    regime: str
    physical: int
    ds: bool = False
    big_endian: bool = False
    wxn: bool = False
    hpd: bool = False
    tbi: bool = False
    mair: tuple[int, ...] = tuple(MEMORY)
    processor_bits: int = 52

    @property
    def level(self) -> int:
        return REGIMES[self.regime]

    @property
    def two(self) -> bool:
        return self.regime.endswith("&0")

    def wide(self, granule: int) -> bool:
        """Whether descriptors hold addresses of 52 bits."""
        return self.processor_bits == 52 if granule == 16 else self.ds

    def output_bits(self, granule: int) -> int:
        return min(WIDTHS[self.physical], self.processor_bits, 52 if self.wide(granule) else 48)


class Table:
    """A table: its address, and its descriptors by index."""

    def __init__(self, address: int, count: int, limits: int) -> None:
        self.address, self.count, self.limits = address, count, limits
        self.descriptors: dict[int, int] = {}


@dataclass
class Range:
    """One range of input addresses: its plan and its tables."""

    setting: Setting
    granule: int
    input_bits: int
    upper: bool
    allocate: Callable[[int, int], int]
    leaves: list[Leaf] = field(default_factory=list)
    tables: dict[tuple[int, int], Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        levels = 0
        while self.granule + levels * (self.granule - 3) < self.input_bits:
            levels += 1
        self.start_level = 4 - levels
        self.first = 2**64 - 2**self.input_bits if self.upper else 0
        count = 2 ** (self.input_bits - self.shift(self.start_level))
        base = 52 if self._wide_base else 48
        address = self.allocate(max(8 * count, 64), min(self.setting.output_bits(self.granule), base))
        self.root = self.tables[self.start_level, 0] = Table(address, count, 0)

    @property
    def _wide_base(self) -> bool:
        if self.granule == 16:
            return self.setting.wide(16) and self.setting.physical >= 6
        return self.setting.ds

    def shift(self, level: int) -> int:
        return self.granule + (3 - level) * (self.granule - 3)

    @property
    def block_levels(self) -> list[int]:
        wide = self.setting.wide(self.granule)
        known = [2, 1, 0] if self.granule == 12 else [2, 1]
        return [level for level in (known if wide else known[:-1]) if level >= self.start_level]

    def is_free(self, start: int, size: int) -> bool:
        return all(leaf.end <= start or start + size <= leaf.start for leaf in self.leaves)

    def add(self, start: int, output: int, page: Page = Page(), level: int = 3, limits: int = 0) -> Leaf:  # noqa: B008
        """Map a block or page; tables that are made for it have the `limits`."""
        leaf = Leaf(start, 1 << self.shift(level), output, level, page)
        assert self.is_free(leaf.start, leaf.size)
        offset = start - self.first
        for above in range(self.start_level, level):
            key = (above + 1, offset >> self.shift(above))
            if key not in self.tables:
                address = self.allocate(1 << self.granule, self.setting.output_bits(self.granule))
                self.tables[key] = Table(address, 2 ** (self.granule - 3), limits)
                self._holder(above, offset, self._address_bits(address) | 3 | limits)
        self._holder(level, offset, self._descriptor(leaf))
        self.leaves.append(leaf)
        return leaf

    def _holder(self, level: int, offset: int, descriptor: int) -> None:
        """Write a descriptor into the table of a level that holds it."""
        above = 0 if level == self.start_level else offset >> self.shift(level - 1)
        table = self.tables[level, above]
        table.descriptors[(offset >> self.shift(level)) % table.count] = descriptor

    def _address_bits(self, address: int) -> int:
        if not self.setting.wide(self.granule):
            assert address < 2**48
            return address
        low, high = address % 2**48, address // 2**48
        if self.granule == 16:
            return low + high * 2**12
        return address % 2**50 + address // 2**50 * 2**8

    def _descriptor(self, leaf: Leaf) -> int:
        page = leaf.page
        value = 3 if leaf.level == 3 else 1
        value += page.index * 4 + page.ap * 2**6 + page.accessed * 2**10 + page.not_global * 2**11
        value += page.pxn * 2**53 + page.uxn * 2**54
        if not (self.setting.ds and self.granule != 16):
            value += page.share * 2**8
        return value + self._address_bits(leaf.output)

    @property
    def table_register(self) -> int:
        address = self.root.address
        return address % 2**48 + address // 2**48 * 4 if self._wide_base else address

    def memory(self) -> dict[int, bytes]:
        order = "big" if self.setting.big_endian else "little"
        found: dict[int, bytes] = {}
        for table in self.tables.values():
            data = bytearray(8 * table.count)
            for index, descriptor in table.descriptors.items():
                data[8 * index : 8 * index + 8] = descriptor.to_bytes(8, order)
            found[table.address] = bytes(data)
        return found

    def limits_above(self, leaf: Leaf) -> int:
        """The limits of all tables on the way to a leaf."""
        found = 0
        for level in range(self.start_level + 1, leaf.level + 1):
            found |= self.tables[level, leaf.start - self.first >> self.shift(level - 1)].limits
        return found

    def expected(self, address: int) -> Answer:
        """What a walk of an address of this range finds, by the plan."""
        for leaf in self.leaves:
            if leaf.start <= address < leaf.end:
                if not leaf.page.accessed:
                    return Answer("access flag", leaf.level)
                output = leaf.output + address - leaf.start
                return Answer("ok", leaf.level, output, self.rights(leaf))
        for level in range(self.start_level, 4):
            low = address >> self.shift(level) << self.shift(level)
            if self.is_free(low, 1 << self.shift(level)):
                return Answer("translation", level)
        raise AssertionError("every level has a leaf near it")

    def rights(self, leaf: Leaf) -> tuple[str, str, str]:
        """What EL0 may do, the privileged level, and that level with PAN (DDI 0487, D8.4.1)."""
        setting, page = self.setting, leaf.page
        limits = 0 if setting.hpd else self.limits_above(leaf)
        limited = {name for bit, name in LIMITS.items() if limits >> bit & 1}
        write = page.ap < 2 and "no write" not in limited
        el0_reads = setting.two and page.ap % 2 == 1 and "no EL0" not in limited
        el0_writes = el0_reads and write
        no_user = page.uxn or "UXN" in limited
        no_privileged = page.pxn or "PXN" in limited if setting.two else no_user
        el0 = _letters(
            el0_reads, el0_writes, setting.two and not no_user and not (setting.wxn and el0_writes)
        )
        executes = not (no_privileged or el0_writes or (setting.wxn and write))
        return (
            el0,
            _letters(True, write, executes),
            _letters(not el0_reads, write and not el0_reads, executes),
        )


def _letters(*allowed: bool) -> str:
    return "".join(letter if one else "-" for letter, one in zip("rwx", allowed, strict=True))


class Image:
    """The memory and registers of a regime, made from the plans of its ranges."""

    def __init__(
        self,
        setting: Setting,
        *shapes: tuple[int, int],
        seed: int = 0,
        window: tuple[int, int] = (0x10000, 1 << 52),
    ) -> None:
        """`shapes` are granule width and input width of the lower range and, of two, of the upper.

        Tables lie in the `window` of physical addresses.
        """
        self.setting, self.window = setting, window
        self.random = random.Random(seed)
        self._taken: list[tuple[int, int]] = []
        self.ranges = [
            Range(setting, granule, bits, upper=bool(number), allocate=self._allocate)
            for number, (granule, bits) in enumerate(shapes)
        ]

    def _allocate(self, size: int, bits: int) -> int:
        """An address of chance for a table, below 2**bits and aligned to its size."""
        while True:
            low, high = self.window[0], min(self.window[1], 2**bits)
            start = self.random.randrange(-(-low // size), high // size) * size
            if all(end <= start or start + size <= low for low, end in self._taken):
                self._taken.append((start, start + size))
                return start

    def registers(self) -> dict[str, int]:
        setting = self.setting
        level = setting.level
        hypervisor = 1 << 31 | (setting.regime == "EL2&0") * (1 << 34 | 1 << 27)
        two = setting.two
        tcr = setting.physical << (32 if two else 16) | setting.ds << (59 if two else 32)
        tcr |= (0 if two else 1 << 31 | 1 << 23) | setting.tbi * (3 << 37 if two else 1 << 20)
        tcr |= setting.hpd * (3 << 41 if two else 1 << 24)
        found = {
            "CPSR": level << 2 | 1,
            "SCR_EL3": 0x5B1,
            "HCR_EL2": hypervisor,
            f"SCTLR_EL{level}": 0x30C5_0801 | setting.wxn << 19 | setting.big_endian << 25,
            f"MAIR_EL{level}": sum(byte << 8 * index for index, byte in enumerate(setting.mair)),
        }
        for number, one in enumerate(self.ranges):
            tcr |= 64 - one.input_bits << 16 * number | 3 << (12, 28)[number]
            tcr |= GRANULES[one.granule][number] << (14, 30)[number]
            found[f"TTBR{number}_EL{level}"] = one.table_register
        if two and len(self.ranges) == 1:
            tcr |= 1 << 23 | 25 << 16 | 2 << 30  # EPD1: the upper range is not used.
            found[f"TTBR1_EL{level}"] = 0
        processor = Processor(setting.processor_bits, (12, 14, 16), (12, 14), True, True, True)
        return {**found, f"TCR_EL{level}": tcr, **processor.id_registers}

    def memory(self) -> dict[int, bytes]:
        """The tables of all ranges, by physical address."""
        return {address: data for one in self.ranges for address, data in one.memory().items()}

    def words(self) -> dict[int, int]:
        """The tables as little-endian words that are not zero, by physical address."""
        return {
            address + offset: word
            for address, data in self.memory().items()
            for offset in range(0, len(data), 8)
            if (word := int.from_bytes(data[offset : offset + 8], "little"))
        }

    def machine(self, **registers: int) -> BytesMachine:
        return BytesMachine(self.memory(), {0: {**self.registers(), **registers}})

    def expected(self, address: int) -> Answer:
        """What a walk finds, by the plan."""
        upper = len(self.ranges) > 1 and address >> 55 & 1
        if self.setting.two and len(self.ranges) == 1 and address >> 55 & 1:
            return Answer("translation")
        one = self.ranges[upper]
        top = 56 if self.setting.tbi else 64
        plain = address % 2**top
        first = one.first % 2**top
        if not first <= plain < first + 2**one.input_bits:
            return Answer("translation")
        return one.expected(one.first + plain - first)


def random_image(
    setting: Setting,
    shapes: tuple[tuple[int, int], ...],
    seed: int,
    window: tuple[int, int] = (0x10000, 1 << 52),
) -> Image:
    """An image with a plan of chance: runs of leaves of every size, some of which go on where others end."""
    image = Image(setting, *shapes, seed=seed, window=window)
    chosen = image.random
    for one in image.ranges:
        for _ in range(7):
            _add_run(one, chosen)
    return image


def _add_run(one: Range, chosen: random.Random) -> None:
    setting = one.setting
    level = chosen.choice([3, 3, *one.block_levels])
    size, width = 1 << one.shift(level), setting.output_bits(one.granule)
    if size > 2**width:
        return
    if one.leaves and chosen.random() < 0.4:
        start = chosen.choice(one.leaves).end
        start += -start % size
    else:
        start = one.first + chosen.randrange(2**one.input_bits // size) * size
    bits = [chosen.getrandbits(count) for count in (2, 1, 1, 3)]
    page = Page(*bits, share=chosen.choice((0, 2, 3)), not_global=chosen.getrandbits(1))
    if not setting.two:
        page = page._replace(ap=page.ap | 1, not_global=0)
    output = chosen.randrange(2**width // size) * size
    for _ in range(chosen.choice((1, 1, 2, 5, 17))):
        if not (one.first <= start <= one.first + 2**one.input_bits - size and one.is_free(start, size)):
            return
        if output + size > 2**width or chosen.random() < 0.15:
            output = chosen.randrange(2**width // size) * size
        limits = sum(1 << bit for bit in LIMITS if setting.two and chosen.random() < 0.08)
        leaf = page._replace(accessed=int(chosen.random() > 0.08))
        one.add(start, output, leaf, level, limits)
        start, output = start + size, output + size


def probes(image: Image) -> list[int]:
    """Addresses to ask about: in each leaf, at its borders, beside it, anywhere, and beyond the range."""
    chosen, found = image.random, []
    for one in image.ranges:
        for leaf in one.leaves:
            inside = leaf.start + chosen.randrange(leaf.size)
            found += [leaf.start, inside, leaf.end - 1, leaf.start - 1, leaf.end]
        found += [one.first + chosen.randrange(2**one.input_bits) for _ in range(3)]
        found.append(one.first - 1 if one.upper else one.first + 2**one.input_bits)
        found += [address ^ chosen.getrandbits(8) << 56 for address in found[-5:]]
    return [address % 2**64 for address in chosen.sample(found, min(_MOST_PROBES, len(found)))]


_MOST_PROBES = 60
