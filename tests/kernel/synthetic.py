"""A small TinyOS made of bytes: a layout, values encoded by it, and tables that agree with them.

`World` holds the kernel's records as plain dicts and the page mappings of each space; `build` lays them
out in physical memory. A test changes a record or a mapping and sees what the check finds.
"""

from __future__ import annotations

import copy

from gdbplugin.kernel.interface import INTERFACE, MEMORY_MAP, STRATEGY_UNITS
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.layout.cache import StaticTable
from gdbplugin.layout.types import Array, Enumeration, Field, Option, Scalar, Static, Struct
from gdbplugin.machine import BytesMachine
from tests.aarch64.machines import BLOCK, TABLE, el1_registers

U8, U16, U32, U64 = (Scalar(f"u{8 * size}", size, "unsigned") for size in (1, 2, 4, 8))
BOOL = Scalar("bool", 1, "boolean")


def enum(name, size, *names):
    return Enumeration(name, size, False, tuple(enumerate(names)))


def alignment(type_):
    if isinstance(type_, Array):
        return alignment(type_.element)
    if isinstance(type_, Struct):
        return max((alignment(field.type) for field in type_.fields), default=1)
    if isinstance(type_, Option):
        return alignment(type_.value.type)
    return type_.size


def record(name, /, **types):
    """A struct laid out as C does."""
    offset, fields = 0, []
    for field, type_ in types.items():
        offset = -(-offset // alignment(type_)) * alignment(type_)
        fields.append(Field(field, offset, type_))
        offset += type_.size
    size = -(-offset // max(map(alignment, types.values()))) * max(map(alignment, types.values()))
    return Struct(name, size, tuple(fields))


def lock(value):
    """The shape of the kernel's sequence lock: an atomic counter beside an `UnsafeCell`."""
    atomic = record("AtomicU64", v=record("UnsafeCell<u64>", value=U64))
    return record(f"SequenceLock<{value.name}>", sequence=atomic, value=record("UnsafeCell<T>", value=value))


POOL_BASE, POOL_FRAMES = 0x0800_0000, 96
ZERO_FRAME = POOL_BASE
TASK_PAGE, LAZY_BASE, STACK_BASE = 0x80_0000, 0x2000_0000_0000, 0x7000_0020_0000
POLICY = enum("GrowthPolicy", 1, "Conservative", "Aggressive", "Predictive")
LEVEL = enum("PressureLevel", 1, "Low", "Medium", "High", "Critical")
STRATEGY = enum("Strategy", 1, "CacheOptimization", "PressureRelief", "PageMigration", "Defragmentation")
USE = enum("FrameUse", 1, "Free", "Cached", "Table", "LazyPage", "Stack", "ZeroPage", "Retired", "TaskPage")
KIND = enum("EventKind", 2, "None", "TaskStarted", "TaskEnded", "StackGrowth")
STATE = enum("TaskState", 1, "Unused", "Ready", "Sleeping", "Target", "Ended")
REASON = enum("EndReason", 1, "None", "Exited", "StackOverflow")

STATISTICS = (
    "total_dynamic_stacks",
    "active_dynamic_stacks",
    "total_stack_growth_events",
    "total_stack_shrink_events",
    "total_lazy_pages",
    "allocated_lazy_pages",
    "total_lazy_page_faults",
    "memory_pressure_events",
    "optimization_events",
    "context_switch_count",
)
"""The fields of DynamicMemoryStats, to the letter and in their order."""
STATS = record("DynamicMemoryStats", **dict.fromkeys(STATISTICS, U32))
STACK = record(
    "DynamicStack",
    id=U32,
    is_active=BOOL,
    policy=POLICY,
    owner=U16,
    base_address=U64,
    current_size=U64,
    max_size=U64,
    growth_count=U32,
    shrink_count=U32,
    last_access_time=U64,
    stack_pointer=U64,
    high_water_mark=U64,
    guard_address=U64,
    last_growth_time=U64,
    last_growth_pages=U32,
    pages_returned=U32,
)
LAZY_PAGE = record(
    "LazyPage",
    virtual_address=U64,
    physical_address=U64,
    is_allocated=BOOL,
    is_zero_page=BOOL,
    owner=U16,
    access_count=U32,
    allocation_time=U64,
)
MANAGER_TYPE = record(
    "DynamicMemoryManager",
    stats=STATS,
    pressure_handler=record(
        "MemoryPressureHandler",
        level=LEVEL,
        free_frames=U32,
        limit_frames=U32,
        thresholds=Array(record("Threshold", enter_below=U32, leave_at=U32), 3),
        level_events=Array(U32, 4),
        strategies=Array(
            record(
                "StrategyRecord",
                strategy=STRATEGY,
                skip_count=U32,
                run_count=U32,
                last_won=U32,
                total_won=U64,
                last_run_time=U64,
                backoff=U8,
                backoff_left=U8,
            ),
            4,
        ),
        last_change_time=U64,
    ),
    stack_manager=record("DynamicStackManager", stacks=Array(STACK, 4)),
    context_switcher=record(
        "HardwareContextSwitcher",
        current=U16,
        switch_count=U64,
        fast_switch_count=U64,
        invalidations=record("Invalidations", by_address=U64, by_asid=U64, everything=U64),
        spaces=Array(
            record("AddressSpace", table=U64, asid=U16, is_active=BOOL, generation=U64, switch_count=U64),
            4,
        ),
        asids=record("AsidAllocator", bits=U32, generation=U64, rollover_count=U64, allocation_count=U64),
    ),
    events=record(
        "EventRing",
        recorded=U64,
        entries=Array(
            record(
                "Event", sequence=U64, timestamp=U64, core=U16, asid=U16, kind=KIND, first=U64, second=U64
            ),
            4,
        ),
    ),
    frames=record(
        "FrameAllocator",
        base=U64,
        **dict.fromkeys(
            ("total_frames", "limit_frames", "free_frames", "cached_frames", "retired_frames"), U32
        ),
        allocation_count=U64,
        release_count=U64,
        failure_count=U32,
        info=Array(record("FrameInfo", usage=USE, reserved=U8, owner=U16, index=U32), POOL_FRAMES),
    ),
    lazy_allocator=record(
        "LazyPageAllocator",
        zero_frame=U64,
        **dict.fromkeys(("reserved_pages", "allocated_pages", "zero_pages"), U32),
        **dict.fromkeys(
            (
                "zero_fault_count",
                "allocate_fault_count",
                "upgrade_fault_count",
                "access_flag_count",
                "fold_count",
            ),
            U64,
        ),
        ranges=Array(record("LazyRange", first=U32, pages=U32, owner=U16), 4),
        pages=Array(LAZY_PAGE, 16),
    ),
)
SCHEDULER_TYPE = record(
    "Scheduler",
    current=U16,
    is_held=BOOL,
    tick_count=U64,
    tasks=Array(
        record(
            "Task",
            context=record("Context", x=Array(U64, 31), sp=U64, pc=U64, pstate=U64, thread_pointer=U64),
            id=U16,
            state=STATE,
            end_reason=REASON,
            stack=U32,
            name=Array(U8, 16),
            wake_time=U64,
            switch_count=U64,
            start_time=U64,
            end_time=U64,
            end_syndrome=U64,
            end_address=U64,
        ),
        4,
    ),
)
INTERFACE_TYPE = record("DebuggerInterface", magic=Array(U8, 8), version=U32, ticks_per_second=U32)
RANGE_KIND = enum(
    "RangeKind", 1, "Programs", "TaskPage", "LazyPages", "Stacks", "LinearMap", "Image", "Devices", "Unused"
)
TYPES = {
    MANAGER: lock(MANAGER_TYPE),
    SCHEDULER: lock(SCHEDULER_TYPE),
    INTERFACE: INTERFACE_TYPE,
    MEMORY_MAP: Array(record("MemoryRange", start=U64, end=U64, physical=U64, kind=RANGE_KIND), 9),
    STRATEGY_UNITS: Array(record("StrategyUnit", strategy=STRATEGY, unit=Array(U8, 39)), 4),
}
RANGES = (
    (0x40_0000, 0x41_0000, 0, "Programs"),
    (TASK_PAGE, TASK_PAGE + 0x1000, 0, "TaskPage"),
    (LAZY_BASE, LAZY_BASE + 0x0A00_0000, 0, "LazyPages"),
    (0x7000_0000_0000, 0x7000_0C00_0000, 0, "Stacks"),
    (0xFFFF_0000_0000_0000, 0xFFFF_0000_3B40_0000, 0, "LinearMap"),
    (0xFFFF_0000_4000_0000, 0xFFFF_0000_8000_0000, 0x4000_0000, "LinearMap"),
    (0xFFFF_8000_0000_0000, 0xFFFF_8000_0800_0000, 0, "Image"),
    (0xFFFF_C000_FE00_0000, 0xFFFF_C001_0000_0000, 0xFE00_0000, "Devices"),
    (0, 0, 0, "Unused"),
)
"""The memory map: start, end, physical address of the start, kind."""
UNITS = {
    "CacheOptimization": "frames",
    "PressureRelief": "frames",
    "PageMigration": "frames in one run",
    "Defragmentation": "frames in one run",
}
STATIC_VIRTUAL, STATIC_PHYSICAL = 0xFFFF_8000_0020_0000, 0x0020_0000
PLACES = {
    MANAGER: 0x100,
    SCHEDULER: 0x8_0000,
    INTERFACE: 0x10_0000,
    MEMORY_MAP: 0x10_1000,
    STRATEGY_UNITS: 0x10_2000,
}

KERNEL_TABLES = 0x1_0000
READ_WRITE = 0x0060_0000_0000_0F43
READ_ONLY = READ_WRITE | 0x80


def encode(type_, value, into, offset):
    """Write a value into a bytearray; what a dict does not name is 0."""
    if isinstance(type_, Struct):
        for field in type_.fields:
            if isinstance(value, dict):
                if field.name in value:
                    encode(field.type, value[field.name], into, offset + field.offset)
            else:
                encode(field.type, value, into, offset + field.offset)
    elif isinstance(type_, Array):
        for index, entry in enumerate(value):
            encode(type_.element, entry, into, offset + index * type_.element.size)
    else:
        if isinstance(type_, Enumeration) and isinstance(value, str):
            value = next(number for number, name in type_.values if name == value)
        into[offset : offset + type_.size] = int(value).to_bytes(type_.size, "little")


class World:
    """A consistent TinyOS: two tasks, one stack each, five lazy pages of task 1."""

    def __init__(self):
        self.frames = {ZERO_FRAME: ("ZeroPage", 0, 0)}
        self.mappings = {1: {}, 2: {}}
        for task, pages in self.mappings.items():
            pages[TASK_PAGE] = self.frame("TaskPage", task, 0) | READ_WRITE
        self.tables = {}
        self.extra = {}
        self.registers = {}
        self.types = dict(TYPES)
        self.interface = {"magic": b"TinyOSdb", "version": 4, "ticks_per_second": 250}
        names = ("start", "end", "physical", "kind")
        self.memory_map = [dict(zip(names, one, strict=True)) for one in RANGES]
        self.units = [{"strategy": name, "unit": unit.encode()} for name, unit in UNITS.items()]
        stacks = [self.stack(1, 1, 3, "Conservative"), self.stack(2, 2, 2, "Predictive")]
        pages = [self.lazy(0, 0), self.lazy(1, 0), self.lazy(2, 1), self.lazy(3, 2), self.lazy(4, 2)]
        self.manager = {
            "stats": {
                "total_dynamic_stacks": 3,
                "active_dynamic_stacks": 2,
                "total_lazy_pages": 5,
                "allocated_lazy_pages": 2,
                "total_lazy_page_faults": 12,
                "context_switch_count": 1234,
            },
            "pressure_handler": {
                "level": "Medium",
                "free_frames": 50,
                "limit_frames": POOL_FRAMES,
                "thresholds": [{"enter_below": 48, "leave_at": 52}] * 3,
                "level_events": [1, 2, 3, 4],
                "strategies": [{"strategy": number, "run_count": number} for number in range(4)],
            },
            "stack_manager": {"stacks": stacks},
            "context_switcher": {
                "current": 1,
                "switch_count": 1234,
                "spaces": [{}, self.space(1), self.space(2), {}],
                "asids": {"bits": 16, "generation": 3, "allocation_count": 4},
            },
            "events": {"recorded": 2, "entries": [{"sequence": 1, "kind": 1}, {"sequence": 2, "kind": 3}]},
            "frames": {"base": POOL_BASE, "total_frames": POOL_FRAMES, "limit_frames": POOL_FRAMES},
            "lazy_allocator": {
                "zero_frame": ZERO_FRAME,
                "reserved_pages": 5,
                "allocated_pages": 2,
                "zero_pages": 1,
                "ranges": [{"first": 0, "pages": 5, "owner": 1}],
                "pages": pages,
            },
        }
        self.sequence = 8
        name = list(b"worker".ljust(16, b"\0"))
        self.scheduler = {
            "current": 1,
            "tasks": [{}, {"id": 1, "state": "Ready", "stack": 1, "name": name}, {"id": 2, "state": "Ready"}],
        }

    def frame(self, use, owner, index):
        address = POOL_BASE + 4096 * len(self.frames)
        self.frames[address] = (use, owner, index)
        return address

    def stack(self, number, owner, pages, policy):
        base = STACK_BASE + number * 0x20_0000
        for page in range(pages):
            frame = self.frame("Stack", owner, (number - 1) << 16 | page)
            self.mappings[owner][base - 4096 * (page + 1)] = frame | READ_WRITE
        return {
            "id": number,
            "is_active": True,
            "policy": policy,
            "owner": owner,
            "base_address": base,
            "current_size": pages * 4096,
            "max_size": 0x1_0000,
            "growth_count": pages,
            "stack_pointer": base - 64,
            "high_water_mark": pages * 4096,
            "guard_address": base - 0x1_1000,
        }

    def lazy(self, number, state):
        address = LAZY_BASE + number * 4096
        physical = 0
        if state == 1:
            physical = ZERO_FRAME
            self.mappings[1][address] = ZERO_FRAME | READ_ONLY
        elif state == 2:
            physical = self.frame("LazyPage", 1, number)
            self.mappings[1][address] = physical | READ_WRITE
        return {
            "virtual_address": address,
            "physical_address": physical,
            "is_allocated": state == 2,
            "is_zero_page": state == 1,
            "owner": 1,
            "access_count": number,
        }

    def space(self, number):
        self.tables[number] = self.frame("Table", number, 0)
        return {"table": self.tables[number], "asid": number + 10, "is_active": True, "generation": 3}

    def build(self):
        """The machine, its tables made of the mappings, and the counters that nobody set made to fit."""
        memory = {}
        for number, pages in self.mappings.items():
            self._map(memory, number, pages)
        frames = self.manager["frames"]
        infos = [{"usage": 0}] * POOL_FRAMES
        for address, (use, owner, index) in self.frames.items():
            infos[(address - POOL_BASE) // 4096] = {"usage": use, "owner": owner, "index": index}
        frames.setdefault("info", infos)
        frames.setdefault("free_frames", POOL_FRAMES - len(self.frames))
        image = bytearray(0x20_0000)
        values = {
            MANAGER: {"sequence": self.sequence, "value": {"value": self.manager}},
            SCHEDULER: {"sequence": self.sequence, "value": {"value": self.scheduler}},
            INTERFACE: self.interface,
            MEMORY_MAP: self.memory_map,
            STRATEGY_UNITS: self.units,
        }
        for name, value in values.items():
            if name in self.types:
                encode(self.types[name], value, image, PLACES[name])
        words = {
            KERNEL_TABLES: bytearray(4096),
            KERNEL_TABLES + 4096: bytearray(4096),
            KERNEL_TABLES + 8192: bytearray(4096),
        }
        write(words, KERNEL_TABLES + 8 * 256, KERNEL_TABLES + 4096 | TABLE)
        write(words, KERNEL_TABLES + 4096, KERNEL_TABLES + 8192 | TABLE)
        write(words, KERNEL_TABLES + 8192 + 8, STATIC_PHYSICAL | BLOCK)
        memory.update(words)
        memory[STATIC_PHYSICAL] = image
        for address, word in self.extra.items():
            write(memory, address, word)
        registers = el1_registers(ttbr0=self.tables[1] | 11 << 48, ttbr1=KERNEL_TABLES, CPSR=0x3C5)
        registers.update(self.registers)
        return BytesMachine(memory, {0: registers})

    def _map(self, memory, number, pages):
        root = self.tables[number]
        memory.setdefault(root, bytearray(4096))
        for address, descriptor in pages.items():
            table = root
            for level in range(3):
                where = table + 8 * (address >> (39 - 9 * level) & 511)
                found = read(memory, where)
                if not found & 1:
                    found = self.frame("Table", number, level + 1) | TABLE
                    write(memory, where, found)
                table = found & 0x0000_FFFF_FFFF_F000
                memory.setdefault(table, bytearray(4096))
            write(memory, table + 8 * (address >> 12 & 511), descriptor)

    def kernel(self):
        statics = {
            name: Static(name, STATIC_VIRTUAL + PLACES[name], type_) for name, type_ in self.types.items()
        }
        return Kernel(self.build(), StaticTable(statics))

    def copy(self):
        return copy.deepcopy(self)


def read(memory, address):
    page = address & ~0xFFF
    return int.from_bytes(memory[page][address - page : address - page + 8], "little")


def write(memory, address, word):
    page = address & ~0xFFF
    memory[page][address - page : address - page + 8] = word.to_bytes(8, "little")
