"""The objects, decoded from a small kernel."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.events import read_events
from gdbplugin.kernel.kernel import MANAGER, KernelNotReadyError, NotTinyOSError
from gdbplugin.kernel.lazy import read_lazy_pages
from gdbplugin.kernel.lazy_table import LazyRun
from gdbplugin.kernel.snapshot import read_report
from gdbplugin.layout.types import Struct
from tests.kernel.synthetic import LAZY_BASE, STACK, STATIC_PHYSICAL, STATIC_VIRTUAL, ZERO_FRAME, World


def test_report_of_a_small_kernel():
    kernel = World().kernel()
    report = read_report(kernel)
    assert report.counters.stats.context_switch_count == 1234
    assert [(stack.id, stack.policy, stack.current_size) for stack in report.stacks.active] == [
        (1, "Conservative", 0x3000),
        (2, "Predictive", 0x2000),
    ]
    assert report.pressure.pressure.level == "Medium"
    assert report.pressure.pressure.level_events == (1, 2, 3, 4)
    assert [entry.strategy for entry in report.pressure.pressure.strategies][1] == "PressureRelief"
    assert report.pressure.frames.total_frames == 96
    assert report.pressure.frames.used_frames == 27
    assert [space.number for space in report.context.spaces.spaces] == [1, 2]
    assert report.context.spaces.asids.generation == 3
    task = report.context.tasks[0]
    assert (task.id, task.name, task.state) == (1, "worker", "Ready")
    (core,) = report.context.cores
    assert (core.exception_level, core.mmu_enabled) == (1, True)
    assert core.ttbr0.asid == 11
    assert core.ttbr0.base == core.ttbr0.value & 0xFFFF_FFFF_FFFF
    assert (kernel.diagnostics.findings, kernel.diagnostics.notes) == ([], [])


def test_lazy_pages_by_state_and_run():
    lazy = read_report(World().kernel()).lazy
    assert dict(lazy.pages.count_states()) == {"pending": 2, "zero": 1, "allocated": 2}
    assert list(lazy.pages.runs()) == [
        LazyRun(LAZY_BASE, LAZY_BASE + 0x2000, "pending", 1, 1),
        LazyRun(LAZY_BASE + 0x2000, LAZY_BASE + 0x3000, "zero", 1, 2),
        LazyRun(LAZY_BASE + 0x3000, LAZY_BASE + 0x5000, "allocated", 1, 7),
    ]
    assert lazy.pages[2].physical_address == ZERO_FRAME
    assert lazy.pages[2].is_zero_page is True


def test_only_the_records_that_the_ranges_name_are_read():
    kernel = World().kernel()
    table = kernel.locate_field(MANAGER, "lazy_allocator.pages").address - STATIC_VIRTUAL + STATIC_PHYSICAL
    reads = []
    plain = kernel.machine.read_physical
    kernel.machine.read_physical = lambda address, length: (
        reads.append((address, length)) or plain(address, length)
    )
    assert len(read_lazy_pages(kernel).pages) == 5
    assert (table, 5 * 32) in reads
    assert len(read_lazy_pages(kernel, whole=True).pages) == 5
    assert (table, 16 * 32) in reads


def test_incomplete_ranges_have_all_records_read():
    world = World()
    world.manager["lazy_allocator"]["ranges"] = [{"first": 0, "pages": 2, "owner": 1}]
    assert len(read_lazy_pages(world.kernel()).pages) == 5
    world.manager["lazy_allocator"].update(ranges=[{"first": 12, "pages": 1 << 31}], reserved_pages=1 << 31)
    assert len(read_lazy_pages(world.kernel()).pages) == 0


def test_events_come_oldest_first():
    world = World()
    world.manager["events"]["entries"] = [
        {"sequence": 5, "kind": 3},
        {"sequence": 2, "kind": 1},
        {"sequence": 3, "kind": 200},
    ]
    kernel = world.kernel()
    events = read_events(kernel)
    assert [(event.sequence, event.kind) for event in events.events] == [
        (2, "TaskStarted"),
        (3, None),
        (5, "StackGrowth"),
    ]
    assert "event in slot 2: kind" in str(kernel.diagnostics.findings[0])


def test_a_field_the_kernel_has_not_is_none_and_noted_once():
    world = World()
    smaller = Struct(STACK.name, STACK.size, tuple(f for f in STACK.fields if f.name != "policy"))
    world.types[MANAGER] = _replaced(world.types[MANAGER], STACK, smaller)
    kernel = world.kernel()
    report = read_report(kernel)
    assert [stack.policy for stack in report.stacks.stacks] == [None, None]
    assert kernel.diagnostics.notes == ["this kernel's DynamicStack has no field policy"]


def _replaced(type_, old, new):
    if type_ == old:
        return new
    if isinstance(type_, Struct):
        fields = tuple(replace(field, type=_replaced(field.type, old, new)) for field in type_.fields)
        return replace(type_, fields=fields)
    if hasattr(type_, "element"):
        return replace(type_, element=_replaced(type_.element, old, new))
    return type_


def test_a_change_under_way_is_said():
    world = World()
    world.sequence = 3
    kernel = world.kernel()
    assert read_report(kernel).changing
    assert "odd sequence counter" in kernel.diagnostics.notes[0]


def test_mmu_off_is_one_sentence():
    world = World()
    world.registers["SCTLR_EL1"] = 0
    with pytest.raises(KernelNotReadyError, match="MMU is off"):
        read_report(world.kernel())


def test_tables_that_do_not_map_the_kernel_are_one_sentence():
    world = World()
    world.registers["TTBR1_EL1"] = STATIC_PHYSICAL
    with pytest.raises(KernelNotReadyError, match="no core's tables map"):
        read_report(world.kernel())


def test_symbols_of_something_else_are_one_sentence():
    world = World()
    del world.types[MANAGER]
    world.types["other::STATE"] = STACK
    kernel = World().kernel()
    kernel.layout.statics.clear()
    with pytest.raises(NotTinyOSError, match="DYNAMIC_MEMORY_MANAGER"):
        read_report(kernel)


def test_statics_are_read_where_the_tables_say():
    kernel = World().kernel()
    assert kernel.memory.physical_ranges(STATIC_VIRTUAL, 16) == [(STATIC_PHYSICAL, 16)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0x1FFF), st.integers(0, 255)), min_size=1, max_size=40))
def test_no_corruption_of_the_manager_is_more_than_a_finding(corruptions):
    world = World()
    kernel = world.kernel()
    image = kernel.machine._memory[STATIC_PHYSICAL]
    for offset, byte in corruptions:
        image[0x100 + offset] = byte
    read_report(kernel)
    read_check(kernel)
    read_events(kernel)
