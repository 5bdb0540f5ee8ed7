"""The constants that the kernel exports to debuggers, compared with what the running kernel does."""

from __future__ import annotations

import itertools

import pytest

from gdbplugin.kernel.interface import (
    DEVICES,
    IMAGE,
    INTERFACE,
    LINEAR_MAP,
    read_memory_map,
    read_strategy_units,
    ticks_per_second,
)
from gdbplugin.kernel.kernel import SCHEDULER, Kernel
from gdbplugin.layout import cache
from gdbplugin.layout.elf import read_image
from gdbplugin.machine import BytesMachine
from gdbplugin.session import TinyOS

UPPER_HALF = 1 << 63


class ElfMemory:
    """The kernel's memory as its ELF file has it."""

    def __init__(self, elf):
        self._data = elf.read_bytes()
        self._segments = read_image(elf).segments

    def read(self, address, size):
        for segment in self._segments:
            start = address - segment.virtual
            if start >= 0 and start + size <= segment.file_size:
                return self._data[segment.offset + start : segment.offset + start + size]
        raise AssertionError(f"{address:#x} is not in the file")


@pytest.fixture(scope="module")
def exported(kernel_elf):
    """The kernel as its ELF file has it."""
    return Kernel(BytesMachine({}), cache.load(kernel_elf), memory=ElfMemory(kernel_elf))


@pytest.fixture(scope="module")
def mapped(kernel_elf):
    """Every mapping of the running kernel's half, and of the spaces of its tasks."""
    with TinyOS.boot(kernel_elf) as machine, machine.stopped():
        upper = machine.maps(range=(UPPER_HALF, (1 << 64) - 1)).mappings
        tasks = [space.asid for space in machine.context().spaces.active if space.asid]
        lower = [entry for asid in tasks for entry in machine.maps(asid=asid).mappings]
        return upper, [entry for entry in lower if entry.start < UPPER_HALF]


def covering(ranges, entry):
    return [one for one in ranges if one.start <= entry.start and entry.end <= one.end]


def test_ranges_do_not_overlap(exported):
    ranges = sorted(read_memory_map(exported), key=lambda one: one.start)
    assert [one.kind for one in ranges].count(LINEAR_MAP) == 1
    assert len(ranges) == 7
    assert all(before.end <= after.start for before, after in itertools.pairwise(ranges))


def test_the_kernels_half_is_mapped_as_exported(exported, mapped):
    ranges = read_memory_map(exported)
    for entry in mapped[0]:
        (one,) = covering(ranges, entry)
        assert one.kind in (LINEAR_MAP, IMAGE, DEVICES)
        assert entry.physical - one.physical == entry.start - one.start


def test_linear_map_and_devices_are_mapped_completely(exported, mapped):
    for one in read_memory_map(exported):
        if one.kind in (LINEAR_MAP, DEVICES):
            sizes = [entry.end - entry.start for entry in mapped[0] if covering([one], entry)]
            assert sum(sizes) == one.end - one.start


def test_tasks_have_pages_only_in_the_exported_ranges(exported, mapped):
    ranges = read_memory_map(exported)
    kinds = {one.kind for entry in mapped[1] for one in covering(ranges, entry)}
    assert kinds == {"Programs", "TaskPage", "LazyPages", "Stacks"}
    assert all(len(covering(ranges, entry)) == 1 for entry in mapped[1])


def test_the_timer_is_set_for_the_exported_tick_rate(exported, shared_machine):
    intervals = []
    for _ in range(5):
        with shared_machine.stopped_target() as target:
            kernel = target.required_kernel()
            deadline = target.machine.register("CNTV_CVAL_EL0", 0)
            intervals.append(deadline - kernel.read_integer(SCHEDULER, "tick_time"))
            frequency = kernel.read_integer(INTERFACE, "timer_frequency")
    # The kernel sets the timer a moment before it notes the time.
    wanted = frequency // ticks_per_second(exported)
    assert wanted * 9 // 10 < max(intervals) <= wanted


def test_the_units_are_those_that_the_shell_prints(exported, shared_machine):
    lines = shared_machine.shell("*p").splitlines()
    units = read_strategy_units(exported)
    assert len(units) == 4
    for strategy, unit in units.items():
        (row,) = [line for line in lines if line[:19].replace(" ", "") == strategy]
        assert row.endswith(f" {unit}")
