"""The walker against QEMU's own, on machines and settings that TinyOS does not have.

Not one answer may differ. Where QEMU 10 is known not to do as the manual has it, `setups` says so, and
makes no such case here; the naive walker's tests have them.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gdbplugin.aarch64.access import Access, access_fault
from gdbplugin.aarch64.maps import leaf_runs
from gdbplugin.aarch64.regime import current_regime
from gdbplugin.aarch64.registers import bits, exception_level
from gdbplugin.aarch64.tables import LeafRun
from gdbplugin.aarch64.walk import translate
from tests.aarch64 import qemu
from tests.aarch64.images import REGIMES, Setting, probes, random_image
from tests.aarch64.processors import CORTEX_A72, MAX
from tests.aarch64.setups import QEMU, Generator

SETUPS = 80
PAN = 1 << 22


def regime_of(machine):
    """The current regime, blind to the access flag as QEMU's walk on a debugger's behalf is."""
    regime = current_regime(machine, 0)
    lower = replace(regime.lower, hardware_access_flag=True)
    return replace(
        regime, lower=lower, upper=regime.upper and replace(regime.upper, hardware_access_flag=True)
    )


def read(machine, regime, address):
    """Where a read by the core as it stands goes (None for a fault), and the walk."""
    found = translate(machine, regime, address)
    pan = bool(bits(machine.register("CPSR", 0), 22, 22))
    fault = access_fault(regime, found, Access.READ, exception_level(machine, 0), pan=pan)
    return None if fault else found.output, found


class Seen:
    """What the cases have been, so that a generator gone dull is noticed."""

    def __init__(self):
        self.mapped, self.unmapped, self.kinds = 0, 0, set()

    def add(self, regime, address, output, found):
        self.mapped += output is not None
        self.unmapped += output is None
        if output is None:
            self.kinds.add(found.fault.kind if found.fault else "permission")
        elif not regime.enabled:
            self.kinds.add("MMU off")
        else:
            control = regime.control(address)
            granule = f"{1 << control.granule_bits - 10} KiB"
            self.kinds |= {
                regime.name,
                f"{granule}, {control.address_format.name}",
                f"{granule}, {found.levels[-1].kind.value} at level {found.levels[-1].level}",
                f"root at level {control.start_level}",
                "big-endian" if control.big_endian else "little-endian",
                "nested" if control.rules.nested else "not nested",
                "tagged" if address >> 56 not in (0, 0xFF) else "plain",
            }


EXPECTED = {
    "EL1&0",
    "EL2",
    "EL3",
    "MMU off",
    "translation",
    "address size",
    "permission",
    "tagged",
    "big-endian",
}
EXPECTED |= {f"{granule}, page at level 3" for granule in ("4 KiB", "64 KiB")}
EXPECTED |= {"4 KiB, block at level 1", "4 KiB, block at level 2", "64 KiB, block at level 2"}
EXPECTED_OF_MAX = EXPECTED | {"EL2&0", "4 KiB, LPA2", "16 KiB, LPA2", "64 KiB, LPA", "16 KiB, BITS_48"}
EXPECTED_OF_MAX |= {"4 KiB, block at level 0", "16 KiB, block at level 1", "16 KiB, block at level 2"}
EXPECTED_OF_MAX |= {"64 KiB, block at level 1", "root at level -1", "root at level 3", "nested"}


@pytest.mark.parametrize(
    ("board", "processor", "expected"),
    [(qemu.RASPI4B, CORTEX_A72, EXPECTED), (qemu.VIRT, MAX, EXPECTED_OF_MAX)],
    ids=["raspi4b", "virt"],
)
def test_random_settings_and_tables(board, processor, expected):
    base, seen, permissions = board.memory_base, Seen(), qemu.Permissions()
    makes = Generator(4, processor, base + qemu.TABLES, base + qemu.TABLES_END, base + qemu.SPIN, QEMU)
    with qemu.running(board) as target:
        for number in range(SETUPS):
            setup = makes.setup()
            state = 0x3C0 | setup.level << 2 | (setup.level > 0) | makes.bits(1) * PAN
            target.start(setup.registers, setup.words, state=state, at=setup.spin)
            regime = regime_of(target)
            for address in setup.probes:
                output, found = read(target, regime, address)
                asked = target.gva2gpa(address)
                agrees = permissions.agree(asked, found.output, output is not None)
                assert agrees, f"set-up {number}, {address:#x}: {asked}, {regime}, {found}"
                seen.add(regime, address, output, found)
    assert expected <= seen.kinds
    assert min(seen.mapped, seen.unmapped) > 5 * SETUPS


PLANNED = (12, False), (14, False), (12, True), (14, True), (16, False)
"""Granule and TCR_ELx.DS; with 52-bit physical addresses 64 KiB has a format of its own."""


@pytest.mark.parametrize("regime", REGIMES)
def test_qemu_finds_what_images_have_planned(board, regime):
    """The plans that the walker's tests go by, by an oracle that knows none of them."""
    window = board.base + qemu.TABLES, board.base + qemu.TABLES_END
    permissions, mapped, missed = qemu.Permissions(), 0, 0
    for number, (granule, ds) in enumerate(PLANNED * 3):
        chosen = random.Random(number)
        widest = 52 if ds or granule == 16 else 48
        setting = Setting(regime, chosen.choice((5, 6)), ds, big_endian=chosen.random() < 0.3, tbi=True)
        shapes = tuple((granule, chosen.randint(20, widest)) for _ in range(1 + setting.two))
        image = random_image(setting, shapes, number, window)
        written = {*qemu.stub.WRITTEN, "SCTLR_EL3"}
        registers = {name: value for name, value in image.registers().items() if name in written}
        board.start(registers, image.words(), state=0x3C1 | setting.level << 2, at=board.base + qemu.SPIN)
        for address in probes(image):
            expected = image.expected(address)
            if expected.kind == "access flag":
                continue  # QEMU's walk on a debugger's behalf is blind to it.
            asked = board.gva2gpa(address)
            assert permissions.agree(asked, expected.output, expected.kind == "ok"), (
                f"{address:#x}, {setting}"
            )
            mapped += expected.kind == "ok"
            missed += expected.kind == "translation"
    assert min(mapped, missed) > 50


def one_page(target, **registers):
    """A 48-bit space of one page, the spin page at 0, under the registers given."""
    root = target.base + qemu.TABLES
    words = {root + 0x1000 * level: root + 0x1000 * (level + 1) | 3 for level in range(3)}
    words[root + 0x3000] = target.base + qemu.SPIN | 0x4C3
    common = {"SCR_EL3": 0x5B1, "HCR_EL2": 1 << 31, "TTBR0_EL1": root, "TTBR1_EL1": root}
    return {**common, **registers}, words


@pytest.fixture(scope="module")
def board():
    with qemu.running(qemu.VIRT) as target:
        yield target


@pytest.mark.parametrize("level", [1, 2, 3])
def test_an_mmu_half_set_up_is_answered(board, level):
    """On, with a TCR of zero: nothing translates, on this walker as on QEMU's."""
    registers, words = one_page(board, **{f"SCTLR_EL{level}": 0x30C0_0801, f"TCR_EL{level}": 0})
    board.start(registers, words, state=0x3C0 | level << 2 | 1, at=0)
    regime = regime_of(board)
    assert regime.enabled
    assert "T0SZ is 0" in regime.lower.defect
    for address in (0, 0x1000, board.base, (1 << 64) - 8):
        assert read(board, regime, address)[0] is None
        assert board.gva2gpa(address) is None


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_with_the_mmu_off(board, level):
    registers, words = one_page(board)
    board.start(registers, words, state=0x3C0 | level << 2 | (level > 0), at=board.base + qemu.SPIN)
    regime = regime_of(board)
    assert not regime.enabled
    for address in (0, board.base, (1 << 52) - 1, 1 << 52, (1 << 64) - 8):
        assert read(board, regime, address)[0] == board.gva2gpa(address)


def test_a_map_of_the_whole_space_holds_what_qemu_finds(board):
    """Every run of the map, at its first and its last byte, and the bytes beside it."""
    base = board.base
    makes = Generator(9, MAX, base + qemu.TABLES, base + qemu.TABLES_END, base + qemu.SPIN, QEMU)
    probed = 0
    while probed < 200:
        setup = makes.setup()
        board.start(setup.registers, setup.words, state=0x3CD, at=setup.spin)
        if setup.level != 3 or not (regime := regime_of(board)).enabled:
            continue
        for entry in leaf_runs(board, regime.lower):
            for start, physical, count in entry.pieces() if isinstance(entry, LeafRun) else ():
                size = count * entry.leaf_size
                assert board.gva2gpa(start) == physical
                assert board.gva2gpa(start + size - 1) == physical + size - 1
                probed += 1
