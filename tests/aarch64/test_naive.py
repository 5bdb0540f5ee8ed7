"""The walker against the naive one: random settings, random tables, every regime and granule."""

from __future__ import annotations

import random

import pytest

from gdbplugin.aarch64.description import REGISTERS
from gdbplugin.aarch64.descriptor import AddressFormat, address_in, address_mask, with_address
from gdbplugin.aarch64.maps import Bounds, MappedRange, leaf_attributes, leaf_runs, leaves, mapped_ranges
from gdbplugin.aarch64.regime import RegimeUnknownError, current_regime, regime_at
from gdbplugin.aarch64.tables import LeafRun, Malformed
from gdbplugin.aarch64.walk import prefetch_walks, translate
from gdbplugin.machine import CachedMachine, MachineError, PhysicalReadError
from tests.aarch64 import naive
from tests.aarch64.machines import SetupMachine
from tests.aarch64.processors import CORTEX_A72, MAX, Processor
from tests.aarch64.setups import STRICT, Generator

PROCESSORS = {
    "A72": CORTEX_A72,
    "max": MAX,
    "LPA without LPA2": Processor(52, (12, 14, 16), large_virtual=True),
    "16 KiB only, long": Processor(52, (14,), (14,), small_tables=True, virtualization_host=True),
    "64 KiB only": Processor(48, (16,), small_tables=True),
    "small": Processor(32, (12,)),
}
BASE, END = 0x4000_0000, 0x4100_0000
SETUPS = 90
MAXIMUM_TABLES = 600


def setups(seed, processor, count):
    makes = Generator(seed, processor, BASE, END, 0x10_0000, STRICT)
    for _ in range(count):
        setup = makes.setup()
        yield setup, SetupMachine(setup, processor, BASE, END)


def answer(machine, address):
    """The walker's outcome in the naive one's words."""
    regime = current_regime(machine, 0)
    found = translate(machine, regime, address)
    if found.fault is not None:
        return naive.Answer(found.fault.kind, found.fault.level)
    if found.attributes is None:
        return naive.Answer("ok", 0, found.output, ("rwx", "rwx", "rwx"))
    allowed = (found.attributes.el0, found.attributes.el1, found.attributes.el1_with_pan)
    return naive.Answer("ok", found.levels[-1].level, found.output, tuple(map(str, allowed)))


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_the_walker_agrees_with_the_naive_one(name):
    processor = PROCESSORS[name]
    kinds = set()
    for number, (setup, machine) in enumerate(setups(11, processor, SETUPS)):
        for address in setup.probes:
            expected = naive.translate(machine.registers, machine.word, setup.level, address)
            assert answer(machine, address) == expected, f"set-up {number}, {address:#x}"
            kinds.add(expected.kind)
    assert kinds == {"ok", "translation", "address size", "access flag", "external abort"}


class RangesMachine:
    """A machine that reads several ranges at once, and keeps which reads came one by one."""

    def __init__(self, machine):
        self._machine = machine
        self.cores, self.register = machine.cores, machine.register
        self.bursts, self.single = 0, []

    def read_physical(self, address, length):
        data = self._machine.read_physical(address, length)
        self.single.append(address)
        return data

    def read_ranges(self, ranges):
        self.bursts += 1
        return [self._read(*one) for one in ranges]

    def _read(self, address, length):
        try:
            return self._machine.read_physical(address, length)
        except PhysicalReadError:
            return None


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_prefetched_walks_read_nothing_more(name):
    bursts = 0
    for number, (setup, machine) in enumerate(setups(17, PROCESSORS[name], 25)):
        regime = current_regime(machine, 0)
        source = RangesMachine(machine)
        cached = CachedMachine(source)
        if not regime.enabled or regime.stage2 is not None:
            continue
        prefetch_walks(cached, [(regime.control(address), address) for address in setup.probes])
        assert source.bursts <= 5
        bursts += source.bursts
        source.single.clear()
        for address in setup.probes:
            assert translate(cached, regime, address) == translate(machine, regime, address), f"{number}"
        assert source.single == [], f"set-up {number}"
    assert bursts > 25


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_a_map_holds_what_single_walks_find(name):
    for number, (setup, machine) in enumerate(setups(12, PROCESSORS[name], 25)):
        regime = current_regime(machine, 0)
        for control in regime.controls:
            bounds = Bounds(MAXIMUM_TABLES)
            entries = list(leaves(machine, control, bounds))
            assert [entry.start for entry in entries] == sorted(entry.start for entry in entries)
            if not regime.enabled:
                continue
            check_entries(machine, setup, regime, entries, f"set-up {number}")
            if bounds.stopped_at is None:
                check_probes(machine, setup, control, entries)


def check_entries(machine, setup, regime, entries, label):
    for entry in random.Random(1).sample(entries, min(40, len(entries))):
        found = naive.translate(machine.registers, machine.word, setup.level, entry.start)
        if isinstance(entry, Malformed):
            assert found.kind != "ok", label
        elif found.kind != "access flag":
            assert found.output == entry.physical, label
            allowed = leaf_attributes(regime, entry.start, entry.descriptor, entry.inherited)
            assert found.rights == (str(allowed.el0), str(allowed.el1), str(allowed.el1_with_pan)), label
            last = naive.translate(machine.registers, machine.word, setup.level, entry.start + entry.size - 1)
            assert last.output == entry.physical + entry.size - 1, label


def check_probes(machine, setup, control, entries):
    """What single walks find is in the map."""
    for address in setup.probes:
        plain = address | 0xFF << 56 if control.upper else address & ~(0xFF << 56)
        found = naive.translate(machine.registers, machine.word, setup.level, plain)
        if found.kind == "ok" and control.upper == bool(address >> 55 & 1):
            assert any(
                entry.start <= plain < entry.start + entry.size
                and entry.physical + plain - entry.start == found.output
                for entry in entries
                if not isinstance(entry, Malformed)
            )


@pytest.mark.parametrize("name", ["A72", "max"])
def test_a_part_of_a_map_is_what_the_whole_has_there(name):
    chosen = random.Random(16)
    for setup, machine in setups(17, PROCESSORS[name], 25):
        regime = current_regime(machine, 0)
        for control in regime.controls:
            whole = list(leaves(machine, control, Bounds(MAXIMUM_TABLES)))
            if whole and isinstance(whole[0], Malformed) and whole[0].size == 1 << control.input_bits:
                continue  # The root itself cannot be followed, which is said for any part.
            start = chosen.choice([*setup.probes, control.first_address])
            end = start + (1 << chosen.randint(0, control.input_bits))
            visited = []
            part = list(leaves(machine, control, Bounds(MAXIMUM_TABLES), visited, (start, end)))
            assert part == [
                entry for entry in whole if entry.start < end and entry.start + entry.size > start
            ]
            assert len(visited) <= MAXIMUM_TABLES


@pytest.mark.parametrize("address_format", AddressFormat)
def test_a_descriptor_is_made_of_its_address_and_its_other_bits(address_format):
    chosen = random.Random(18)
    for _ in range(200):
        descriptor, low_bits = chosen.getrandbits(64), chosen.choice((12, 14, 16, 21, 25, 30))
        address = address_in(descriptor, low_bits, address_format)
        bits = descriptor & ~address_mask(low_bits, address_format)
        assert with_address(bits, address, address_format) == descriptor
        assert address_in(bits, low_bits, address_format) == 0


@pytest.mark.parametrize("name", ["A72", "max"])
def test_leaves_and_ranges_tell_the_same_as_runs(name):
    for _, machine in setups(13, PROCESSORS[name], 25):
        regime = current_regime(machine, 0)
        for control in regime.controls:
            single = list(leaves(machine, control, Bounds(MAXIMUM_TABLES)))
            found = list(leaf_runs(machine, control, Bounds(MAXIMUM_TABLES)))
            joined = list(mapped_ranges(regime, found))
            assert all(
                entry.piece_count == len(list(entry.pieces()))
                for entry in found
                if isinstance(entry, LeafRun)
            )
            assert [entry for entry in single if isinstance(entry, Malformed)] == [
                entry for entry in joined if isinstance(entry, Malformed)
            ]
            pages = [
                (leaf.start, leaf.physical, leaf.size) for leaf in single if not isinstance(leaf, Malformed)
            ]
            ranges = [entry for entry in joined if isinstance(entry, MappedRange)]
            assert sum(size for _, _, size in pages) == sum(entry.end - entry.start for entry in ranges)
            parts = [piece for entry in ranges for piece in entry.pieces()]
            assert len(parts) == sum(entry.piece_count for entry in ranges)
            assert sum(size for _, _, size in pages) == sum(piece.end - piece.start for piece in parts)
            assert len(pages) == sum(sum(piece.sizes.values()) for piece in parts)


def test_random_corruption_raises_only_the_modules_own_errors():
    """Registers of noise, tables of noise: an answer or a `MachineError`, and always an end."""
    noise = random.Random(14)
    answers = refusals = 0
    for setup, machine in setups(15, MAX, 150):
        for name in REGISTERS:
            if noise.random() < 0.3:
                machine.registers[name] = noise.getrandbits(64)
            elif noise.random() < 0.03:
                machine.registers.pop(name, None)
        for address in list(machine.words):
            if noise.random() < 0.2:
                machine.words[address] = noise.getrandbits(64)
        try:
            regime = (
                current_regime(machine, 0) if noise.random() < 0.5 else regime_at(machine, 0, setup.level)
            )
        except RegimeUnknownError:
            refusals += 1
            continue
        for address in (*setup.probes[:8], noise.getrandbits(64)):
            found = translate(machine, regime, address)
            assert (found.output is None) == (found.fault is not None)
            assert len(found.levels) <= 5
            answers += 1
        for control in regime.controls:
            assert sum(1 for _ in leaves(machine, control, Bounds(10))) < 11 * 8192
    assert issubclass(RegimeUnknownError, MachineError)
    assert answers > 800
    assert refusals > 5
