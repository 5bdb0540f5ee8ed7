"""What lies at an address: by TinyOS's records, by symbols, or nothing."""

import random

import pytest

from gdbplugin.kernel.interface import MEMORY_MAP
from gdbplugin.kernel.memory_objects import MemoryObject, MemoryObjects, describe, lazy_state, read_objects
from gdbplugin.kernel.target import NoSymbols
from tests.kernel.stopped import Names
from tests.kernel.synthetic import LAZY_BASE, STACK_BASE, TASK_PAGE, World

IMAGE = 0xFFFF_8000_0008_0000
SYMBOLS = {
    "__image_start": IMAGE,
    "__text_end": IMAGE + 0x4000,
    "__rodata_start": IMAGE + 0x5000,
    "__rodata_end": IMAGE + 0x6000,
    "__bss_start": IMAGE + 0x7000,
    "__bss_end": IMAGE + 0x9000,
    "__stacks_start": IMAGE + 0x9000,
    "__shell_stack_top": IMAGE + 0xC000,
    "__exception_stack_top": IMAGE + 0xF000,
}

BASE = STACK_BASE + 0x20_0000
"""Of stack 1 of the small TinyOS: three pages mapped of sixteen, its guard below those."""


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (BASE - 64, "stack 1 of task 1, 0x40 below its base"),
        (BASE - 0x3000, "stack 1 of task 1, 0x3000 below its base"),
        (BASE - 0x3001, "reserve of stack 1 of task 1, 0x1 below what is mapped"),
        (BASE - 0x1_0001, "guard of stack 1 of task 1"),
        (BASE - 0x1_1000, "guard of stack 1 of task 1"),
        (BASE - 0x1_1001, "unreserved, among the stacks"),
        (BASE, "unreserved, among the stacks"),
        (LAZY_BASE + 0x10, "lazy range 0 of task 1, page 0 of 5, pending"),
        (LAZY_BASE + 0x2FFF, "lazy range 0 of task 1, page 2 of 5, zero"),
        (LAZY_BASE + 0x3000, "lazy range 0 of task 1, page 3 of 5, allocated"),
        (LAZY_BASE + 0x5000, "unreserved, among the lazy pages"),
        (TASK_PAGE + 8, "task page"),
        (0x40_0000, "programs"),
        (0x10, "null"),
        (0x9999_0000, "nothing that TinyOS has on record"),
        (0xFFFF_0000_1234_5678, "linear map"),
        (0xFFFF_C000_FE20_1000, "devices"),
        (0xFFFF_FFFF_FFFF_F000, "nothing that TinyOS has on record"),
        (IMAGE + 4, "kernel text: __image_start + 4"),
        (IMAGE + 0x9010, "guard of the kernel's shell stack: __stacks_start + 16"),
        (IMAGE + 0xB000, "shell stack"),
        (IMAGE + 0xC800, "guard of the kernel's exception stack: __shell_stack_top + 2048"),
        (IMAGE + 0x10_0000, "kernel image"),
        (0xFFFF_0000_3B40_0000, "nothing that TinyOS has on record"),
        (0xFFFF_0000_4000_0000, "linear map"),
    ],
)
def test_every_kind_of_object_is_told(address, text):
    kernel, names = World().kernel(), Names(SYMBOLS)
    assert describe(address, read_objects(kernel, names), names, kernel).text == text


def test_a_kernel_without_a_memory_map_has_no_invented_ranges():
    world = World()
    del world.types[MEMORY_MAP]
    kernel = world.kernel()
    found = read_objects(kernel, Names(SYMBOLS))
    for address in (TASK_PAGE, 0x40_0000, 0xFFFF_0000_1234_5678, 0xFFFF_C000_FE20_1000, STACK_BASE):
        assert found.at(address) is None
    assert found.at(BASE - 64).name == "stack 1"
    assert found.at(LAZY_BASE).name == "lazy pages, pending"
    assert found.at(IMAGE).name == "kernel text"
    assert lazy_state(kernel, LAZY_BASE) is None
    assert kernel.diagnostics.notes == ["this kernel has no memory map for debuggers (DEBUGGER_MEMORY_MAP)"]


def test_a_corrupt_range_of_the_memory_map_is_a_finding():
    world = World()
    world.memory_map[0]["kind"] = 9
    world.memory_map[1]["end"] = 0
    kernel = world.kernel()
    found = read_objects(kernel, NoSymbols())
    assert found.at(0x40_0000) is None
    assert found.at(TASK_PAGE) is None
    assert found.at(LAZY_BASE).name == "lazy range 0"
    objects = [finding.object for finding in kernel.diagnostics.findings]
    assert objects == ["memory map, range 0: kind", "memory map, range 1"]


def test_a_stack_that_ended_keeps_its_name():
    world = World()
    world.manager["stack_manager"]["stacks"][0]["is_active"] = False
    kernel = world.kernel()
    found = read_objects(kernel, NoSymbols())
    assert found.at(BASE - 0x1_1000).name == "guard of ended stack 1"
    assert found.at(BASE - 64).name == "ended stack 1"


def test_the_state_of_a_lazy_page_is_its_records():
    world = World()
    world.manager["lazy_allocator"]["pages"][0]["is_allocated"] = 7
    kernel = world.kernel()
    assert [lazy_state(kernel, LAZY_BASE + page * 4096) for page in range(6)] == [
        "corrupt",
        "pending",
        "zero",
        "allocated",
        "allocated",
        None,
    ]
    assert lazy_state(kernel, 0) is None
    assert lazy_state(kernel, LAZY_BASE + 4096 * 16) is None


@pytest.mark.parametrize("field", ["base_address", "current_size", "guard_address"])
@pytest.mark.parametrize("value", [0, 1, 1 << 40, (1 << 64) - 1])
def test_a_corrupt_stack_takes_no_addresses_of_others(field, value):
    world = World()
    world.manager["stack_manager"]["stacks"][0][field] = value
    found = read_objects(world.kernel(), NoSymbols())
    assert found.at(LAZY_BASE).name == "lazy range 0"
    assert found.at(0xFFFF_0000_1234_5678).name == "linear map"
    assert all(entry.start < entry.end for entry in found.objects)


def test_a_corrupt_lazy_range_is_a_finding():
    world = World()
    world.manager["lazy_allocator"]["ranges"] = [{"first": 0xFFFF_0000, "pages": 99, "owner": 1}]
    kernel = world.kernel()
    found = read_objects(kernel, NoSymbols())
    assert found.at(LAZY_BASE).kind == "unreserved"
    assert [finding.object for finding in kernel.diagnostics.findings] == ["lazy range 0"]


def naive(given, address):
    """The smallest object at an address, by looking at all."""
    over = [entry for entry in given if entry.start <= address < entry.end]
    return min(over, key=lambda entry: entry.end - entry.start, default=None)


def test_of_overlapping_objects_the_smaller_one_counts():
    random.seed(5)
    for _ in range(200):
        given = []
        for number in range(random.randrange(1, 12)):
            start = random.randrange(100)
            # Sizes that differ, so that the smallest is always one.
            given.append(
                MemoryObject(start, start + 12 * random.randrange(1, 6) + number, "kind", f"object {number}")
            )
        sizes = {entry.end - entry.start for entry in given}
        if len(sizes) < len(given):
            continue
        found = MemoryObjects(given)
        for address in range(200):
            expected, here = naive(given, address), found.at(address)
            assert (here and here.name) == (expected and expected.name), address
        starts = [entry.start for entry in found.objects]
        assert starts == sorted(starts)


def test_a_range_is_split_where_objects_begin_and_end():
    found = MemoryObjects(
        [
            MemoryObject(10, 20, "kind", "one"),
            MemoryObject(20, 25, "kind", "two"),
            MemoryObject(40, 50, "kind", "three"),
        ]
    )
    parts = [(start, end, here and here.name) for start, end, here in found.split(5, 45)]
    assert parts == [(5, 10, None), (10, 20, "one"), (20, 25, "two"), (25, 40, None), (40, 45, "three")]
    assert list(found.split(60, 70)) == [(60, 70, None)]
    assert [part[:2] for part in found.split(12, 14)] == [(12, 14)]
    assert list(MemoryObjects([]).split(1, 2)) == [(1, 2, None)]
