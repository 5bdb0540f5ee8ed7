"""What the commands ask for, from a small kernel: filters, details, times, changes since an earlier stop."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.aarch64.walk import UntranslatedAddressError, VirtualMemory, translate
from gdbplugin.kernel.diagnostics import Diagnostics, History
from gdbplugin.kernel.events import kinds, offered_kinds, read_event_list, read_events
from gdbplugin.kernel.interface import Clock, read_clock
from gdbplugin.kernel.kernel import MANAGER, Kernel, KernelNotReadyError
from gdbplugin.kernel.lazy_list import offered_asids, read_lazy_list
from gdbplugin.kernel.lazy_table import PAGE_BYTES, LazyRun, LazyTable
from gdbplugin.kernel.spaces import read_context, read_spaces
from gdbplugin.kernel.stacks import offered_ids, read_stack_list
from gdbplugin.kernel.statistics import read_counters
from gdbplugin.kernel.target import Target
from gdbplugin.machine import SelectionError
from tests.kernel.synthetic import LAZY_BASE, STACK_BASE, World


def stopped(world, diagnostics=None):
    kernel = world.kernel()
    return Target(kernel.machine, 0, diagnostics or Diagnostics(), lambda: kernel)


# Stacks


def test_one_stack_with_its_events_and_pages():
    world = World()
    world.manager["events"]["entries"] = [
        {"sequence": 1, "kind": "TaskStarted", "first": 1, "second": 1},
        {"sequence": 2, "kind": "StackGrowth", "first": 2, "second": 1},
        {"sequence": 3, "kind": "StackGrowth", "first": 1, "second": 4},
    ]
    world.manager["events"]["recorded"] = 3
    shown = read_stack_list(world.kernel(), 1)
    base = STACK_BASE + 0x20_0000
    assert [stack.id for stack in shown.stacks.stacks] == [1]
    assert [page.virtual_address for page in shown.mapped_pages] == [base - n * 4096 for n in (1, 2, 3)]
    assert {page.el0 for page in shown.mapped_pages} == {"rw-"}
    assert [event.sequence for event in shown.events] == [1, 3]


def test_a_stack_that_is_not_on_record_is_named():
    with pytest.raises(SelectionError, match=r"no stack with ID 9 \(known: 1, 2\)"):
        read_stack_list(World().kernel(), 9)


def test_an_ended_stack_and_one_gone_wild_have_no_pages():
    world = World()
    world.manager["stack_manager"]["stacks"][0]["is_active"] = False
    world.manager["stack_manager"]["stacks"][1]["guard_address"] = 0
    assert read_stack_list(world.kernel(), 1).mapped_pages == ()
    assert read_stack_list(world.kernel(), 2).mapped_pages == ()


# Lazy pages


def test_lazy_pages_of_a_state_and_of_an_address_space():
    kernel = World().kernel()
    assert [page.virtual_address for page in read_lazy_list(kernel, state="allocated")] == [
        LAZY_BASE + 3 * 4096,
        LAZY_BASE + 4 * 4096,
    ]
    assert len(read_lazy_list(kernel, asid=11)) == read_lazy_list(kernel, asid=11).matching == 5
    assert len(read_lazy_list(kernel, asid=12)) == 0
    assert len(read_lazy_list(kernel, asid=11, state="pending")) == 2
    assert len(read_lazy_list(kernel, state="zero").ranges) == 1
    assert read_lazy_list(kernel, asid=12).ranges == ()
    with pytest.raises(SelectionError, match="--state cannot be given with an ADDRESS"):
        read_lazy_list(kernel, address=LAZY_BASE, state="zero")
    with pytest.raises(SelectionError, match=r"no address space with ASID 99 \(known: 11, 12\)"):
        read_lazy_list(kernel, asid=99)


def test_an_asid_of_an_old_generation_is_not_selected_or_offered():
    world = World()
    world.manager["context_switcher"]["spaces"][1].update(generation=2, asid=12)
    kernel = world.kernel()
    assert read_spaces(kernel).by_asid.keys() == {12}
    assert len(read_lazy_list(kernel, asid=12)) == 0
    with pytest.raises(SelectionError, match=r"no address space with ASID 11 \(known: 12\)"):
        read_lazy_list(kernel, asid=11)
    assert offered_asids(stopped(world)) == [12]


@pytest.mark.parametrize(
    ("number", "state", "kind"), [(0, "pending", "invalid"), (2, "zero", "page"), (3, "allocated", "page")]
)
def test_one_lazy_page_and_its_descriptor(number, state, kind):
    shown = read_lazy_list(World().kernel(), address=LAZY_BASE + number * 4096 + 5)
    detail = shown.page
    assert (detail.state, detail.record, detail.range.pages) == (state, number, 5)
    assert detail.translation.levels[-1].kind.value == kind
    assert (detail.translation.output is None) == (state == "pending")
    assert shown.matching == len(shown) == 1


def test_an_address_in_no_lazy_page_is_named():
    with pytest.raises(SelectionError, match="no lazy page is reserved at 0x1234"):
        read_lazy_list(World().kernel(), address=0x1234)


def naive_runs(rows):
    """Page by page: what `runs` must give."""
    found = []
    for row in rows:
        if found and found[-1][1] == row[0] and found[-1][2:4] == [row[2:4], row[4]]:
            found[-1][1] += PAGE_BYTES
            found[-1][4] += row[5]
        else:
            found.append([row[0], row[0] + PAGE_BYTES, row[2:4], row[4], row[5]])
    states = {(0, 0): "pending", (0, 1): "zero", (1, 0): "allocated"}
    return [LazyRun(start, end, states.get(flags, "corrupt"), *rest) for start, end, flags, *rest in found]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.integers(0, 2), st.integers(0, 1), st.integers(1, 2), st.integers(0, 9)
        )
    )
)
def test_runs_are_what_a_page_by_page_sum_gives(entries):
    rows, address = [], LAZY_BASE
    for gap, allocated, zero, owner, count in entries:
        address += gap * PAGE_BYTES
        rows.append((address, 0, allocated, zero, owner, count, 0))
    assert list(LazyTable(rows, list(range(len(rows)))).runs()) == naive_runs(rows)


# Events


def ring_of(recorded, capacity=4):
    world = World()
    entries = [{}] * capacity
    for number in range(max(1, recorded - capacity + 1), recorded + 1):
        entries[(number - 1) % capacity] = {"sequence": number, "kind": 1 + number % 3, "core": number % 2}
    world.manager["events"] = {"recorded": recorded, "entries": entries}
    return world.kernel()


@pytest.mark.parametrize("recorded", [0, 1, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("newest", [0, 1, 2, 3, 4, 9])
def test_the_newest_events_of_a_ring_that_wraps(recorded, newest):
    kernel = ring_of(recorded)
    whole = [event.sequence for event in read_events(kernel).events]
    assert whole == list(range(max(1, recorded - 3), recorded + 1))
    assert [event.sequence for event in read_events(kernel, newest).events][-newest or 9 :] == (
        whole[-newest:] if newest else []
    )


def test_events_filtered_by_core_kind_and_number():
    kernel = ring_of(4)
    assert [event.sequence for event in read_event_list(kernel, core=1).events] == [1, 3]
    assert [event.sequence for event in read_event_list(kernel, kind="TaskEnded").events] == [1, 4]
    shown = read_event_list(kernel, n=1, core=0)
    assert (shown.matching, [event.sequence for event in shown.events]) == (2, [4])
    assert read_event_list(kernel, n=0).events == ()
    with pytest.raises(SelectionError, match=r"no kind of event Nothing \(known: TaskStarted"):
        read_event_list(kernel, kind="Nothing")


def test_events_since_an_earlier_stop():
    history, world = History(), World()
    first = world.kernel()
    first.history = history
    shown = read_event_list(first, since_stop=True)
    assert (shown.since_stop, len(shown.events)) == (None, 2)
    assert "all events are shown" in first.diagnostics.notes[0]
    history.ran()
    world.manager["events"] = {"recorded": 3, "entries": [{"sequence": n, "kind": 1} for n in (1, 2, 3)]}
    second = world.kernel()
    second.history = history
    shown = read_event_list(second, since_stop=True)
    assert (shown.since_stop, [event.sequence for event in shown.events]) == (2, [3])
    # Asked again at the same stop, the answer is the same.
    assert read_event_list(second, since_stop=True).events == shown.events


# Time, and changes over it


@pytest.mark.parametrize(
    ("registers", "now"),
    [
        ({"CNTVCT_EL0": 777, "CNTFRQ_EL0": 1000}, 777),
        ({"CNTV_CVAL_EL0": 5000, "CNTFRQ_EL0": 1000}, 4996),
        ({"CNTV_CVAL_EL0": 50, "CNTFRQ_EL0": 1000}, 60),
        ({}, 60),
    ],
)
def test_the_time_now_by_what_there_is(registers, now):
    world = World()
    world.manager["events"] = {"recorded": 1, "entries": [{"sequence": 1, "timestamp": 60}]}
    world.registers.update(registers)
    clock = read_clock(world.kernel())
    assert clock == Clock(registers.get("CNTFRQ_EL0"), now)


def test_how_long_ago():
    clock = Clock(1000, 5000)
    assert (clock.ago(4000), clock.ago(6000), clock.ago(0), clock.ago(None)) == (1.0, 0.0, None, None)
    assert Clock(None, 5000).ago(4000) is None


def test_counters_change_over_the_kernels_own_time():
    history = History()

    def read(switches, time):
        world = World()
        world.manager["stats"]["context_switch_count"] = switches
        world.registers.update(CNTVCT_EL0=time, CNTFRQ_EL0=1000)
        kernel = world.kernel()
        kernel.history = history
        return read_counters(kernel).since

    assert read(100, 5000) is None
    assert read(100, 5000) is None, "the same stop is no earlier one"
    history.ran()
    since = read(150, 7000)
    assert since.seconds == 2.0
    assert since.changes["context_switch_count"] == 50
    assert since.per_second["context_switch_count"] == 25.0
    assert read(150, 7000) == since
    history.ran()
    history.ran()
    assert read(150, 8000).changes["context_switch_count"] == 0
    history.ran()
    assert read(1, 10) is None, "time went back: another run of the machine"
    history.clear()
    assert read(1, 20) is None


# What is decoded once, and what works without TinyOS


def test_what_was_decoded_at_a_stop_is_not_decoded_again():
    decoded, calls = {}, []

    def read():
        calls.append(1)
        kernel.diagnostics.add_finding("a", "b", "c")
        kernel.diagnostics.add_note("d")
        return 5

    for _ in range(2):
        diagnostics, source = Diagnostics(), World().kernel()
        kernel = Kernel(source.machine, source.layout, diagnostics, decoded=decoded)
        assert kernel.cached("number", read) == 5
        assert (len(diagnostics.findings), diagnostics.finding_count, diagnostics.notes) == (1, 1, ["d"])
    assert calls == [1]


def test_a_machine_that_runs_something_else_has_no_kernel():
    world = World()
    world.registers["SCTLR_EL1"] = 0
    nothing = stopped(world)
    assert nothing.kernel is None
    for _ in range(2):
        with pytest.raises(KernelNotReadyError, match="MMU is off"):
            nothing.required_kernel()
    assert (offered_ids(nothing), offered_asids(nothing), offered_kinds(nothing)) == ([], [], [])


def test_what_completion_offers():
    there = stopped(World())
    assert offered_ids(there) == [1, 2]
    assert offered_asids(there) == [11, 12]
    assert offered_kinds(there) == kinds(World().kernel()) == ["TaskStarted", "TaskEnded", "StackGrowth"]


def test_the_space_that_a_core_holds():
    context = read_context(World().kernel())
    assert context.space_on(context.cores[0]).number == 1


def test_a_long_read_equals_single_walks_and_reads_tables_once():
    world = World()
    for number in (5, 6, 7, 9, 10):
        world.lazy(number, 2)
    kernel = world.kernel()
    regime = kernel.regime
    machine, reads = kernel.machine, []
    machine.read_physical = lambda address, length, plain=machine.read_physical: (
        reads.append(length) or plain(address, length)
    )
    regime = regime.with_lower_table(world.tables[1], 11)
    memory = VirtualMemory(machine, regime)
    start, end = LAZY_BASE + 3 * 4096, LAZY_BASE + 8 * 4096
    found = memory.physical_ranges(start, end - start)
    assert len(reads) == 5, "four descriptors of a walk, and the rest of the last table"
    outputs = [translate(machine, regime, address).output for address in range(start, end, 4096)]
    flat = [address for output, size in found for address in range(output, output + size, 4096)]
    assert flat == outputs
    assert sum(size for _, size in found) == end - start
    with pytest.raises(UntranslatedAddressError, match=f"{LAZY_BASE + 8 * 4096:#x} is not mapped"):
        memory.physical_ranges(start, end - start + 4096)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda entry: entry | 1 << 46, "address size"),
        (lambda entry: entry & ~(1 << 10), "access flag"),
        (lambda entry: entry & ~2, "translation"),
        (lambda entry: entry & ~1, "translation"),
    ],
)
def test_a_long_read_stops_where_a_single_walk_does(change, kind):
    world = World()
    for number in range(5, 9):
        world.lazy(number, 2)
    broken = LAZY_BASE + 6 * 4096
    world.mappings[1][broken] = change(world.mappings[1][broken])
    kernel = world.kernel()
    memory = VirtualMemory(kernel.machine, kernel.regime.with_lower_table(world.tables[1], 11))
    with pytest.raises(UntranslatedAddressError, match=f"{broken:#x} is not mapped: {kind} fault"):
        memory.physical_ranges(LAZY_BASE + 3 * 4096, 6 * 4096)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0x1FFF), st.integers(0, 255)), min_size=1, max_size=40))
def test_no_corruption_of_the_manager_breaks_a_command(corruptions):
    from tests.kernel.synthetic import PLACES, STATIC_PHYSICAL
    from tests.schemas.test_schemas import READERS, shown
    from tests.schemas.validation import validate

    for word, (_, choices) in READERS.items():
        for options in choices:
            kernel = World().kernel()
            image = kernel.machine._memory[STATIC_PHYSICAL]
            for offset, byte in corruptions:
                image[PLACES[MANAGER] + offset] = byte
            try:
                content = shown(word, kernel, **options)
            except SelectionError:
                continue  # The stack or page that was asked for is on record no more.
            validate(content)
