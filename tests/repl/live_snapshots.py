"""Made-up snapshots with any figures; each figure may be missing."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import strategies as st

from gdbplugin.kernel.events import Event, Events
from gdbplugin.kernel.interface import Clock
from gdbplugin.kernel.lazy import LazyPages, LazyRange
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.pressure import (
    LEVELS,
    Frames,
    FrameTable,
    Pressure,
    PressureState,
    StrategyRecord,
    Threshold,
)
from gdbplugin.kernel.snapshot import Snapshot
from gdbplugin.kernel.spaces import AddressSpaces, AsidAllocator, Invalidations
from gdbplugin.kernel.stacks import DynamicStack, Stacks
from gdbplugin.kernel.statistics import Counters, DynamicMemoryStats
from gdbplugin.kernel.tasks import Task, Tasks
from tests.kernel.synthetic import UNITS

FREQUENCY = 62_500_000
USES = ("Free", "Cached", "Table", "LazyPage", "Stack", "ZeroPage", "Retired", "TaskPage", "Novel", None)
COUNTERS = (
    "lazy_zero_faults",
    "lazy_allocate_faults",
    "lazy_upgrade_faults",
    "lazy_access_flag_hits",
    "lazy_pages_folded",
    "frame_allocations",
    "events_recorded",
    "invalidations_of_everything",
)
NAMES = {
    "EndReason": {0: "None", 1: "Exited"},
    "PressureLevel": dict(enumerate(LEVELS)),
    "Strategy": dict(enumerate(UNITS)),
}
PAGE = 4096
LAZY_BASE = 0x2000_0000_0000


def figure(most: int = 1 << 32) -> st.SearchStrategy[int | None]:
    """A figure or None."""
    return st.one_of(st.none(), st.integers(0, 300), st.integers(0, most))


def record(kind: type, /, **given: st.SearchStrategy) -> st.SearchStrategy:
    """A dataclass whose fields are figures, except the given ones."""
    return st.builds(kind, **{field.name: given.get(field.name, figure()) for field in fields(kind)})


def tables() -> st.SearchStrategy[FrameTable | None]:
    """Frame tables of any reasonable size, made of runs of frames with the same use."""
    runs = st.lists(
        st.tuples(st.sampled_from(USES), st.integers(1, 900), st.integers(0, 99), st.integers(0, 500)),
        max_size=12,
    )
    return st.one_of(st.none(), runs.map(_table))


def _table(runs: list[tuple[str | None, int, int, int]]) -> FrameTable:
    uses: list[str | None] = []
    owners: list[int | None] = []
    indexes: list[int | None] = []
    for use, count, owner, first in runs:
        uses += [use] * count
        owners += [owner if use else None] * count
        indexes += range(first, first + count)
    return FrameTable(tuple(uses), tuple(owners), tuple(indexes))


def snapshots() -> st.SearchStrategy[Snapshot]:
    """Whole snapshots with any figures."""
    text = st.one_of(st.none(), st.sampled_from(["Conservative", "Aggressive", "x" * 40]))
    clock = st.builds(Clock, st.sampled_from([None, FREQUENCY]), figure(1 << 50))
    stack = record(DynamicStack, is_active=st.sampled_from([True, True, False, None]), policy=text)
    task = record(Task, name=st.text("workr lazy", max_size=16), state=text, end_reason=text)
    frames = record(Frames)
    return st.builds(
        _snapshot,
        stats=record(DynamicMemoryStats),
        counters=st.fixed_dictionaries({name: figure() for name in COUNTERS}),
        clock=clock,
        stacks=st.lists(stack, max_size=40).map(lambda found: Stacks(tuple(found))),
        tasks=st.one_of(
            st.none(),
            st.lists(task, max_size=12).map(lambda found: Tasks(0, False, 0, tuple(found))),
        ),
        pressure=record(
            Pressure,
            level=st.sampled_from([None, *LEVELS]),
            thresholds=st.lists(record(Threshold), max_size=3).map(tuple),
            level_events=st.one_of(st.none(), st.just((1, 2, 3, 4))),
            strategies=st.lists(
                record(StrategyRecord, strategy=st.sampled_from([None, "Other", *UNITS])), max_size=4
            ).map(tuple),
        ),
        frames=frames,
        events=st.lists(
            record(Event, kind=st.sampled_from([None, "StackGrowth", "LazyZero", "PressureChange", "New"])),
            max_size=60,
        ),
        frame_table=tables(),
        lazy=lazy_pages(),
    )


def lazy_pages() -> st.SearchStrategy[LazyPages]:
    """Lazy page allocators whose records were not read."""
    ranges = st.lists(record(LazyRange, pages=figure(500), first=figure(40_000)), max_size=30)
    return record(LazyPages, ranges=ranges.map(tuple), pages=st.just(LazyTable([], [])))


def _snapshot(stats, counters, clock, stacks, tasks, pressure, frames, events, frame_table, lazy) -> Snapshot:
    numbered = tuple(
        replace(event, sequence=number) if event.sequence is not None else event
        for number, event in enumerate(events, 1)
    )
    return _of(
        counters=Counters(stats, counters, clock, None, False),
        stacks=stacks,
        tasks=tasks,
        pressure=PressureState(pressure, frames, clock, UNITS),
        spaces=AddressSpaces(0, 0, 0, Invalidations(0, 0, 0), (), AsidAllocator(16, 1, 0, 1)),
        events=Events(len(events), numbered),
        frame_table=frame_table,
        lazy=lazy,
        sequence=2,
        torn=0,
        findings=(),
        notes=(),
    )


def _of(**known: object) -> Snapshot:
    """A snapshot with these fields; all others are None."""
    return Snapshot(**{field.name: known.get(field.name) for field in fields(Snapshot)})  # type: ignore[arg-type]


def workload(step: int = 0) -> Snapshot:
    """A kernel much like ours `step` tenths of a second after its boot, with all figures known."""
    now = (20 + step) * FREQUENCY // 10
    clock = Clock(FREQUENCY, now)
    free = max(2_000, 32_570 - 3_000 * step)
    level = (
        "Low" if free >= 16_384 else "Medium" if free >= 8_192 else "High" if free >= 3_276 else "Critical"
    )
    uses = (
        ["Table"] * 55 + ["LazyPage"] * 56 + ["Stack"] * 74 + ["TaskPage"] * 6 + ["ZeroPage"] + ["Cached"] * 6
    )
    uses += ["LazyPage"] * (32_570 - free) + ["Free"] * free
    owners = [place % 6 + 1 for place in range(198)] + [6] * (32_570 - free) + [0] * free
    indexes = [place - 55 for place in range(len(uses))]
    stacks = tuple(
        DynamicStack(
            id=number,
            is_active=number != 5,
            policy=("Conservative", "Aggressive", "Predictive")[number % 3],
            owner=number,
            base_address=0x7000_0000_0000 + number * 0x20_0000,
            current_size=PAGE * (number * 6 + step),
            max_size=PAGE * 64,
            growth_count=number * 10 + step,
            shrink_count=number,
            last_access_time=now - FREQUENCY // 100,
            stack_pointer=0,
            high_water_mark=PAGE * (number * 7 + step),
            guard_address=0,
            last_growth_time=now,
            last_growth_pages=1,
            pages_returned=3,
        )
        for number in range(1, 7)
    )
    tasks = tuple(
        Task(
            *(number, name, "Sleeping", "None", number, 10 + step * number, 0, 0, 0, 0),
            wake_time=now + FREQUENCY if number else (1 << 64) - 1,
            # Each task has a hundredth more of the CPU than the one before.
            run_time=FREQUENCY // 1000 * step * number,
        )
        for number, name in enumerate(["shell", *["worker"] * 4, "lazy", "lazy"])
    )
    rows = [
        (
            LAZY_BASE + record * PAGE,
            0,
            int(record % 6 == 2),
            int(record % 2 == 1),
            5 + (record >= 96),
            record,
            0,
        )
        for record in range(336)
    ]
    counters = dict.fromkeys(COUNTERS, 100 + 37 * step)
    events = tuple(
        Event(number, now - (1100 - number) * 9_000, 0, number % 7, "StackGrowth", number % 6 + 1, 1)
        for number in range(1000 + step, 1100 + step)
    )
    return _of(
        counters=Counters(
            DynamicMemoryStats(11, 6, 88 + step, 4, 336, 56, 800 + 50 * step, 8, 9, 359 + 25 * step),
            {**counters, "events_recorded": 1099 + step},
            clock,
            None,
            False,
        ),
        stacks=Stacks(stacks),
        tasks=Tasks(0, False, 0, tasks),
        pressure=PressureState(
            Pressure(
                level,
                free,
                32_768,
                (Threshold(16_384, 18_022), Threshold(8_192, 9_830), Threshold(3_276, 4_915)),
                (2, 3, 2, 1),
                tuple(StrategyRecord(name, 1, 2, 3, 4_000, now // 2, 0, 0) for name in UNITS),
                now - FREQUENCY // 3,
            ),
            Frames(0x800_0000, 32_768, 32_768, free, 6, 0, 10_000, 9_000, 0),
            clock,
            UNITS,
        ),
        spaces=AddressSpaces(0, 0, 0, Invalidations(0, 0, 0), (), AsidAllocator(16, 1, 0, 1)),
        events=Events(1099 + step, events),
        frame_table=FrameTable(tuple(uses), tuple(owners), tuple(indexes)),
        lazy=LazyPages(
            0x800_0000,
            336,
            56,
            168,
            112,
            688,
            0,
            160,
            56,
            (LazyRange(0, 0, 96, 5), LazyRange(1, 96, 240, 6)),
            LazyTable(rows, list(range(336))),
        ),
        sequence=2 * step,
        torn=0,
        findings=(),
        notes=(),
    )
