"""Kernels of TinyOS's design by other names: which are recognised, and what is read of them."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.design import MANAGER, SCHEDULER, DesignLayout, ManagerUnclearError, recognised
from gdbplugin.kernel.events import read_event_list
from gdbplugin.kernel.interface import read_interface
from gdbplugin.kernel.kernel import Kernel, KernelNotReadyError, NotTinyOSError
from gdbplugin.kernel.lazy_list import read_lazy_list
from gdbplugin.kernel.pressure import read_pressure_state
from gdbplugin.kernel.snapshot import read_report
from gdbplugin.kernel.spaces import read_context
from gdbplugin.kernel.stacks import read_stack_list
from gdbplugin.kernel.statistics import read_counters
from gdbplugin.kernel.target import Target
from gdbplugin.layout.cache import StaticTable, dumps, loads
from gdbplugin.layout.types import Array, Option, Scalar, Static, Struct, locate_held
from gdbplugin.machine import BytesMachine, SelectionError
from gdbplugin.render import Style
from tests.commands.forms import text_of, words
from tests.kernel.other_designs import (
    LAZY_PAGE,
    PATH,
    STACK,
    STATS,
    OtherWorld,
    manager,
    mutex,
    niche,
    option,
    put,
    renamed_manager,
    small_world,
    spin_mutex,
    stack,
    ticketed,
)
from tests.kernel.synthetic import LEVEL, MANAGER_TYPE, STATIC_VIRTUAL, U8, U32, U64, World, lock, record
from tests.schemas.test_schemas import READERS, shown
from tests.schemas.validation import validate

WORDS = words("events", "fault", "lint", "maps", "registers", "tasks")


@pytest.mark.parametrize(
    "type_",
    [
        manager(),
        option(manager()),
        mutex(manager()),
        mutex(option(manager())),
        mutex(niche(manager(), "enabled", 2)),
        spin_mutex(option(manager())),
        ticketed(option(manager())),
        ticketed(mutex(option(manager(stacks=1, pages=1000)))),
        mutex(option(renamed_manager())),
        record("Kernel", other=record("Pair", left=U32, right=U8), memory=mutex(option(manager()))),
    ],
    ids=lambda type_: type_.name,
)
def test_a_manager_is_found_in_whatever_is_around_it(type_):
    found = recognised(Static("a::b::ANY", 0x1000, type_))
    for path in (
        *("stats.total_lazy_pages", "stack_manager.stacks", "lazy_allocator.pages"),
        *("pressure_handler.level", "context_switcher.switch_count"),
    ):
        field, _ = locate_held(found.type, path)
        assert field is not None, path
        assert 0 <= field.offset < type_.size


@pytest.mark.parametrize(
    "type_",
    [
        U32,
        Array(U32, 4),
        STATS,
        record("SCHEDULER", current=U32, tasks=Array(record("Task", id=U32), 3)),
        record("NoPages", stack_manager=record("A", stacks=Array(STACK, 2)), statistics=STATS),
        record("NoStacks", lazy_allocator=record("B", lazy_pages=Array(LAZY_PAGE, 2)), statistics=STATS),
        record("Numbers", stack_manager=record("A", stacks=U32), lazy_allocator=record("B", pages=U32)),
    ],
    ids=lambda type_: type_.name,
)
def test_what_lacks_the_designs_records_is_no_manager(type_):
    assert recognised(Static("a::b::DYNAMIC_MEMORY_MANAGER", 0, mutex(type_))) is None


def test_every_field_stays_where_it_is():
    type_ = mutex(option(manager()))
    found = recognised(Static("x::M", 0, type_))
    outer = type_.field("data").offset
    inner = type_.field("data").type.fields[0].type.value
    for name, ours in (("statistics", "stats"), ("enabled", "enabled"), ("lazy_allocator", "lazy_allocator")):
        field, doors = locate_held(found.type, ours)
        assert field.offset == outer + inner.offset + inner.type.field(name).offset
        assert [door.offset for door in doors] == [outer]


def test_our_own_manager_is_as_it_was():
    static = Static(MANAGER, STATIC_VIRTUAL, lock(MANAGER_TYPE))
    assert recognised(static) is static

    def search(_names):
        raise AssertionError("looked beyond our own paths")

    assert DesignLayout(StaticTable({MANAGER: static}), search).static(MANAGER) is static
    assert DesignLayout(StaticTable({MANAGER: static}), search).static(SCHEDULER) is None


def test_a_manager_with_our_path_and_their_shape_is_renamed():
    static = Static(MANAGER, 0x1000, mutex(option(manager())))
    found = DesignLayout(StaticTable({MANAGER: static}), lambda _names: {}).static(MANAGER)
    assert locate_held(found.type, "stats")[0] is not None


def two_managers(chosen=""):
    names = ("one::heart::DYNAMIC_MEMORY_MANAGER", "one::spare::DYNAMIC_MEMORY_MANAGER", "one::OTHER")
    statics = {name: Static(name, 0x1000 * place, mutex(manager())) for place, name in enumerate(names)}
    statics["one::SCHEDULER"] = Static("one::SCHEDULER", 0, mutex(Array(U32, 3)))
    return DesignLayout(StaticTable({}), lambda _names: statics, chosen)


def test_of_two_managers_the_user_chooses():
    with pytest.raises(ManagerUnclearError) as error:
        two_managers().static(MANAGER)
    said = str(error.value)
    assert said.startswith("2 statics look like TinyOS's memory manager (one::heart::DYNAMIC")
    assert "one::spare::DYNAMIC_MEMORY_MANAGER): choose one with" in said
    assert "set tinyos manager PATH" in said
    assert "\n" not in said
    for chosen in ("one::spare::DYNAMIC_MEMORY_MANAGER", "spare::DYNAMIC_MEMORY_MANAGER"):
        assert two_managers(chosen).static(MANAGER).address == 0x1000
    assert two_managers("one::OTHER").static(MANAGER).address == 0x2000
    with pytest.raises(ManagerUnclearError, match=r'^"pare::DYNAMIC_MEMORY_MANAGER" does not look like'):
        two_managers("pare::DYNAMIC_MEMORY_MANAGER").static(MANAGER)


def test_a_static_with_our_name_and_another_shape_is_not_used():
    assert two_managers("one::OTHER").static(SCHEDULER) is None


def test_a_layout_that_was_kept_is_recognised_as_well():
    static = Static(PATH, 0x1000, mutex(option(renamed_manager())))
    (again,) = loads(dumps({PATH: static})).values()
    assert recognised(again) == recognised(static)


def test_the_records_are_read_with_the_mmu_off():
    kernel = small_world().kernel()
    counters, stacks = read_counters(kernel), read_stack_list(kernel)
    assert (counters.stats.total_dynamic_stacks, counters.stats.total_lazy_pages, counters.enabled) == (
        3,
        4,
        True,
    )
    assert [(entry.id, entry.current_size, entry.pressure_level) for entry in stacks] == [
        (7, 0x2000, "Critical"),
        (2, 0x1000, "Low"),
    ]
    assert {(entry.policy, entry.owner, entry.guard_address) for entry in stacks} == {(None, None, None)}
    assert len(stacks.stacks.active) == 2
    manager = stacks.stacks.stack_manager
    assert (manager.growth_policy, manager.next_stack_id) == ("Predictive", 8)
    lazy = read_lazy_list(kernel)
    assert [entry.virtual_address for entry in lazy] == [0x401000, 0x402000, 0x403000, 0x405000]
    assert [lazy.selected.state(row) for row in lazy.selected.rows] == [
        "allocated",
        "zero",
        "pending",
        "pending",
    ]
    assert (lazy.lazy.zero_frame, lazy.lazy.allocation_policy, lazy.lazy.ranges) == (0x3000, "OnDemand", None)
    assert len(read_lazy_list(kernel, state="pending")) == 2
    pressure = read_pressure_state(kernel).pressure
    assert (pressure.level, pressure.pressure_thresholds, pressure.thresholds) == ("High", (9, 8, 7, 6), None)
    spaces = read_context(kernel).spaces
    assert (spaces.switch_count, spaces.optimization_enabled, spaces.spaces) == (12, True, None)
    assert kernel.diagnostics.findings == []


def test_the_renamed_one_is_read_too():
    world = OtherWorld(ticketed(renamed_manager()))
    content = {
        "on": 1,
        "counters": {"context_switch_count": 5, "total_lazy_pages": 1},
        "pressure": {"level": 3},
        "stacks": {"used": 1, "slots": [stack(4, 0x1000, 1), {"pressure_level": 4}]},
        "pages": {"slots": [{"virtual_address": 0x5000, "is_allocated": 1, "physical_address": 0x5000}]},
        "switcher": {"switch_count": 6},
    }
    put(world, content)
    kernel = world.kernel()
    assert read_counters(kernel).stats.context_switch_count == 5
    assert [entry.id for entry in read_stack_list(kernel)] == [4]
    assert [entry.virtual_address for entry in read_lazy_list(kernel)] == [0x5000]
    assert read_pressure_state(kernel).pressure.level == "Critical"
    assert read_context(kernel).spaces.switch_count == 6
    assert kernel.diagnostics.findings == []


def test_arrays_that_are_not_there_yet_are_noted():
    world = OtherWorld(ticketed(renamed_manager()))
    put(world, {"counters": {"total_lazy_pages": 1}})
    kernel = world.kernel()
    assert (len(read_stack_list(kernel)), len(read_lazy_list(kernel))) == (0, 0)
    assert "(which is None now)" in kernel.diagnostics.notes[0]


def test_what_is_missing_is_named_in_one_note():
    kernel = small_world().kernel()
    read_report(kernel)
    (note,) = kernel.diagnostics.notes
    for said in (
        "no policies of single stacks, no owners of stacks, no stack pointers",
        "no frame pool",
        "no event ring",
        "SCHEDULER",
        "no owners of pages",
    ):
        assert said in note
    assert note.count("no counts of TLB invalidations") == 1
    assert "thresholds" not in note
    words = note.removeprefix("this kernel has no ").split(", no ")
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("word", WORDS)
def test_every_command_is_shown_and_by_its_schema(word):
    kernel = small_world().kernel()
    validate(shown(word, kernel))
    for width in (80, 100):
        found = READERS[word][0](kernel)
        lines = text_of(word, found, Style(width=width)).splitlines()
        assert max(map(len, lines)) <= width


def test_what_it_does_not_have_is_null():
    content = shown("report", small_world().kernel())
    assert (content["events"], content["recorded"], content["tasks"]) == (None, None, None)
    assert (content["context"]["spaces"], content["context"]["asids"]) == (None, None)
    assert (content["lazy"]["ranges"], content["pressure"]["strategies"]) == (None, None)
    assert content["frames"] is None
    assert content["stack_manager"]["growth_policy"] == "Predictive"
    assert {entry["owner"] for entry in content["pages"]} == {None}


def test_one_stack_and_one_page():
    kernel = small_world().kernel()
    detail = shown("stacks", kernel, id=7)
    assert (detail["events"], detail["mapped_pages"], len(detail["stacks"])) == (None, None, 1)
    found = read_lazy_list(kernel, address=0x401FFF)
    assert (found.page.state, found.page.translation, found.page.range) == ("allocated", None, None)
    with pytest.raises(SelectionError, match=r"no stack with ID 1 \(known: 7, 2\)"):
        read_stack_list(kernel, id=1)


def test_events_and_tests_are_not_there_in_one_line():
    kernel = small_world().kernel()
    with pytest.raises(NotTinyOSError, match=r"^this kernel has no event ring"):
        read_event_list(kernel)
    with pytest.raises(NotTinyOSError, match=r"^this kernel has no interface for debuggers"):
        read_interface(kernel)


def test_a_manager_that_is_none_yet_is_told():
    world = small_world()
    world.bytes[8:16] = bytes(8)
    for read in (read_counters, read_check, read_report):
        with pytest.raises(
            KernelNotReadyError, match=f"has not set up its memory manager yet .{PATH} is None"
        ):
            read(world.kernel())
    kernel = world.kernel()
    assert Target(kernel.machine, 0, kernel.diagnostics, lambda: kernel).kernel is None


def test_a_tag_that_is_neither_is_told():
    world = small_world()
    world.bytes[8] = 7
    kernel = world.kernel()
    with pytest.raises(KernelNotReadyError, match=f"{PATH} should be one of None, Some, but holds 0x7"):
        read_counters(kernel)


def test_ours_before_its_mmu_is_on_still_says_so():
    layout = World().kernel().layout
    registers = {"SCTLR_EL1": 0, "TCR_EL1": 0, "TTBR0_EL1": 0, "TTBR1_EL1": 0, "CPSR": 0x3CD}
    machine = BytesMachine({}, {0: {**registers, "ID_AA64MMFR0_EL1": 0x1124, "SCTLR_EL3": 0}})
    with pytest.raises(KernelNotReadyError, match="the MMU is off on every core"):
        read_counters(Kernel(machine, layout))


def test_a_lock_that_is_held_is_a_change():
    world = small_world()
    world.bytes[0] = 1
    kernel = world.kernel()
    assert read_counters(kernel).changing
    assert "was locked when the machine stopped" in kernel.diagnostics.notes[0]
    world = OtherWorld(spin_mutex(renamed_manager()))
    put(world, {"on": 1})
    assert not read_counters(world.kernel()).changing
    world.bytes[world.type.field("inner").type.field("lock").offset] = 1
    assert read_counters(world.kernel()).changing
    world = OtherWorld(ticketed(renamed_manager()))
    put(world, {"on": 1})
    assert not read_counters(world.kernel()).changing
    world.bytes[0] = 3
    assert read_counters(world.kernel()).changing


def findings(world):
    kernel = world.kernel()
    check = read_check(kernel)
    return [str(finding) for finding in kernel.diagnostics.findings], check


def test_with_the_mmu_off_no_record_may_claim_a_mapping():
    found, check = findings(small_world())
    assert found == [
        f"lazy page {page}: expected no mapping, as the MMU is off; found a record of one to {claim}"
        for page, claim in (("0x401000", "0x7000 (allocated)"), ("0x402000", "0x3000 (zero)"))
    ]
    assert (check.checked.stacks, check.checked.lazy_pages, check.checked.frames) == (2, 4, None)


def test_pending_pages_are_held_against_tables_of_pages():
    world = small_world()
    attributes = 0x703  # A table, or a page with its access flag and inner shareable.
    blocks, pages = [0] * 512, [0] * 512
    blocks[0], blocks[2] = 0x701, 0x15_0000 | 3
    pages[1], pages[2], pages[3] = (frame | attributes for frame in (0x7000, 0x3000, 0x8000))
    tables = {0x14_0000: [0x14_1000 | 3], 0x14_1000: blocks, 0x15_0000: pages}
    memory = {at: struct.pack(f"<{len(table)}Q", *table) for at, table in tables.items()}
    registers = {**world.registers, "SCTLR_EL3": 0xC50839, "TCR_EL3": 1 << 31 | 1 << 23 | 25}
    machine = BytesMachine(
        {world.address: bytes(world.bytes), **memory}, {0: {**registers, "TTBR0_EL3": 0x14_0000}}
    )
    kernel = Kernel(machine, world.kernel().layout)
    assert read_check(kernel).checked.mapped_pages == 2
    assert [str(finding) for finding in kernel.diagnostics.findings] == [
        "lazy page 0x403000: expected not mapped while pending; found mapped to 0x8000"
    ]
    assert not any("pending" in note for note in kernel.diagnostics.notes)


def test_records_that_disagree_are_found():
    world = small_world()
    inside = {
        "stack_manager": {"stacks": [stack(2, 0x9000, 0), stack(9, 0x1000, 0)]},
        "statistics": {"total_dynamic_stacks": 1, "allocated_lazy_pages": 5},
    }
    put(world, inside)
    found, _ = findings(world)
    for said in (
        "stack 2: expected current_size of at most 0x8000; found 0x9000",
        "stack 2: expected an ID of its own; found 2 stacks of that ID",
        "stack 9: expected an ID below next_stack_id, 8; found 9",
        "active_dynamic_stacks: expected 3, as counted; found 2",
        "total_dynamic_stacks: expected at least 3, as counted; found 1",
        "allocated_lazy_pages: expected 1, as counted; found 5",
    ):
        assert said in found


def test_disagreements_while_it_is_locked_are_transient():
    world = small_world()
    world.bytes[0] = 1
    kernel = world.kernel()
    check = read_check(kernel)
    assert (check.changing, check.transient_count, kernel.diagnostics.finding_count) == (True, 2, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0x3FF), st.integers(0, 255)), min_size=1, max_size=40))
def test_no_corruption_breaks_a_command(corruptions):
    for word in WORDS:
        world = small_world()
        for offset, byte in corruptions:
            world.bytes[offset] = byte
        with contextlib.suppress(KernelNotReadyError):
            validate(shown(word, world.kernel()))


def test_a_struct_without_fields_is_no_manager():
    assert recognised(Static("a::M", 0, Struct("Empty", 0, ()))) is None


TEXT = record("&str", data_ptr=U64, length=U64)
_ADDED = {"owner": "DynamicStack", "ranges": "LazyPageAllocator", "level_events": "MemoryPressureHandler"}
_ADDED |= {"strategies": "MemoryPressureHandler", "spaces": "HardwareContextSwitcher"}
_ADDED |= {"asids": "HardwareContextSwitcher", "invalidations": "HardwareContextSwitcher"}


def with_field(type_, name, other):
    """A type with another type for every field of that name, and with one more field where it has none."""
    if isinstance(type_, Array):
        return Array(with_field(type_.element, name, other), type_.count)
    if isinstance(type_, Option):
        return option(with_field(type_.value.type, name, other))
    if not isinstance(type_, Struct):
        return type_
    fields = {field.name: with_field(field.type, name, other) for field in type_.fields}
    if name in fields or _ADDED.get(name) == type_.name:
        fields[name] = other
    return record(type_.name, **fields)


@pytest.mark.parametrize("other", [TEXT, Scalar("f64", 8, "float"), Array(U32, 4), LEVEL, Array(TEXT, 2)])
@pytest.mark.parametrize(
    "name",
    [
        *("growth_policy", "current_size", "last_access_time", "pressure_level", "zero_page_address"),
        *("virtual_address", "is_allocated", "access_count", "allocation_policy", "pressure_thresholds"),
        *("pressure_events", "current_pressure", "context_switch_count", "optimization_enabled"),
        *("total_lazy_pages", "enabled", *_ADDED),
    ],
)
def test_a_field_of_a_known_name_and_another_type_is_ignored(name, other):
    world = OtherWorld(mutex(with_field(manager(), name, other)))
    world.bytes[:] = b"\1" * len(world.bytes)
    for word in WORDS:
        validate(shown(word, world.kernel()))


def test_a_stack_of_id_0_is_one():
    """Only in our own kernel's slots 0 stands for none."""
    world = OtherWorld()
    put(world, {"stack_manager": {"stacks": [stack(0, 0x1000, 1)] + [{"pressure_level": 4}] * 3}})
    assert [one.id for one in read_stack_list(world.kernel())] == [0]
