"""Kernels of TinyOS's design by other names, made of bytes: their layouts, and machines that hold them.

They run with the MMU off, where virtual addresses are physical ones.
"""

from __future__ import annotations

from gdbplugin.kernel.design import DesignLayout
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.layout.cache import StaticTable
from gdbplugin.layout.types import Array, Field, Option, Static, Struct, payload
from gdbplugin.machine import BytesMachine
from tests.kernel.synthetic import BOOL, LEVEL, POLICY, STATISTICS, U8, U32, U64, encode, enum, record

ADDRESS = 0x9_0000
PATH = "their_kernel::memory::DYNAMIC_MEMORY_MANAGER"

STACK = record(
    "DynamicStack",
    id=U32,
    base_address=U64,
    current_size=U64,
    max_size=U64,
    growth_count=U32,
    shrink_count=U32,
    last_access_time=U64,
    pressure_level=LEVEL,
)
LAZY_PAGE = record(
    "LazyPage",
    virtual_address=U64,
    physical_address=U64,
    is_allocated=BOOL,
    is_zero_page=BOOL,
    access_count=U32,
    allocation_time=U64,
)
STATS = record("DynamicMemoryStats", **dict.fromkeys(STATISTICS, U32))
NOTHING, SOMETHING = 0, 1
_REGISTERS = ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1", "TCR_EL3", "TTBR0_EL3", "MAIR_EL3")


def option(type_):
    """`Option<T>` with a tag of its own before the value."""
    held = record("Some", tag=U64, __0=type_)
    return Option(
        f"Option<{type_.name}>", held.size, Field("", 0, U64), NOTHING, SOMETHING, held.field("__0")
    )


def niche(struct, field, none):
    """`Option<T>` whose None is a value that one of the fields never has."""
    place = Field("", struct.field(field).offset, U8)
    return Option(f"Option<{struct.name}>", struct.size, place, none, None, Field("__0", 0, struct))


def manager(stacks=4, pages=8):
    """The manager as the public kernel of this design has it."""
    return record(
        "DynamicMemoryManager",
        stack_manager=record(
            "DynamicStackManager",
            stacks=Array(niche(STACK, "pressure_level", 4), stacks),
            growth_policy=POLICY,
            pressure_threshold=U64,
            next_stack_id=U32,
        ),
        lazy_allocator=record(
            "LazyPageAllocator",
            lazy_pages=Array(niche(LAZY_PAGE, "is_zero_page", 2), pages),
            zero_page_address=U64,
            allocation_policy=enum("AllocationPolicy", 1, "OnDemand", "Eager"),
            next_page_index=U64,
        ),
        pressure_handler=record(
            "MemoryPressureHandler",
            current_pressure=LEVEL,
            pressure_thresholds=Array(U64, 4),
            last_pressure_check=U64,
            pressure_events=U32,
        ),
        context_switcher=record(
            "HardwareContextSwitcher",
            context_switch_count=U32,
            last_context_switch_time=U64,
            optimization_enabled=BOOL,
        ),
        statistics=STATS,
        enabled=BOOL,
    )


def renamed_manager():
    """The same by other names, in another order, with `Option` around the arrays."""
    return record(
        "Keeper",
        on=BOOL,
        counters=STATS,
        pressure=record("Squeeze", level=LEVEL),
        pages=record("Pages", slots=option(Array(LAZY_PAGE, 3))),
        switcher=record("HardwareContextSwitcher", switch_count=U64),
        stacks=record("Stacks", used=U8, slots=option(Array(niche(STACK, "pressure_level", 4), 2))),
    )


def mutex(inner):
    """The shape of a spin lock: a flag beside a cell."""
    flag = record("AtomicBool", v=record("UnsafeCell<u8>", value=U8))
    return record("Mutex", lock=flag, data=record("UnsafeCell<T>", value=inner))


def spin_mutex(inner):
    """The lock of the crate `spin`, as it is: one in another, beside what has no size."""
    flag = record("AtomicBool", v=record("UnsafeCell<u8>", value=U8))
    cell = record("UnsafeCell<T>", value=inner)
    return record("Mutex", inner=record("SpinMutex", phantom=Struct("()", 0, ()), lock=flag, data=cell))


def ticketed(inner):
    """The shape of a ticket lock."""
    return record("TicketMutex", next_ticket=U64, next_serving=U64, inside=record("Cell", value=inner))


class OtherWorld:
    """A kernel with one static; `content` is encoded into it, and `words` are written over that."""

    def __init__(self, type_=None, address=ADDRESS):
        self.type = mutex(option(manager())) if type_ is None else type_
        self.address = address
        self.registers = dict.fromkeys(_REGISTERS, 0)
        self.registers |= {"CPSR": 0x3CD, "SCTLR_EL3": 0xC50838, "ID_AA64MMFR0_EL1": 0x1124}
        self.bytes = bytearray(0x4000)
        self.chosen = ""
        self.statics = {PATH: Static(PATH, address, self.type)}

    def kernel(self):
        """The kernel, all of whose cores have the same registers."""
        empty = StaticTable({})
        layout = DesignLayout(empty, lambda _names: self.statics, self.chosen)
        machine = BytesMachine({self.address: bytes(self.bytes)}, dict.fromkeys((0, 1), self.registers))
        return Kernel(machine, layout)


def small_world():
    """A kernel as the public one, with two stacks and four lazy pages; a second stack's slot comes first."""
    world = OtherWorld()
    content = {
        "stack_manager": {
            "stacks": [
                {"pressure_level": 4},
                stack(7, 0x2000, 3),
                {"pressure_level": 4},
                stack(2, 0x1000, 0),
            ],
            "growth_policy": 2,
            "pressure_threshold": 75,
            "next_stack_id": 8,
        },
        "lazy_allocator": {
            "lazy_pages": [page(5, 0, 0, 1), page(1, 0x7000, 1, 0), page(2, 0x3000, 0, 1), page(3, 0, 0, 0)]
            + [{"is_zero_page": 2}] * 4,
            "zero_page_address": 0x3000,
            "next_page_index": 4,
        },
        "pressure_handler": {
            "current_pressure": 2,
            "pressure_thresholds": [9, 8, 7, 6],
            "pressure_events": 3,
        },
        "context_switcher": {"context_switch_count": 12, "optimization_enabled": 1},
        "statistics": {
            "total_dynamic_stacks": 3,
            "active_dynamic_stacks": 2,
            "total_lazy_pages": 4,
            "allocated_lazy_pages": 1,
        },
        "enabled": 1,
    }
    put(world, content)
    return world


def put(world, content):
    """Write the manager of a world: it is there, and nobody holds its lock."""
    write(world.type, content, world.bytes, 0)


def write(type_, value, into, offset):
    """As `encode`, but through locks, and into enums that then hold something."""
    if isinstance(type_, Option):
        if type_.some is not None:
            encode(type_.discriminant.type, type_.some, into, offset)
        write(type_.value.type, value, into, offset + type_.value.offset)
    elif isinstance(type_, Struct) and isinstance(value, dict) and not type_.field(next(iter(value), "")):
        inner = payload(type_)
        if inner is not None and value:
            write(inner.type, value, into, offset + inner.offset)
    elif isinstance(type_, Struct) and isinstance(value, dict):
        for name, part in value.items():
            field = type_.field(name)
            write(field.type, part, into, offset + field.offset)
    elif isinstance(type_, Array):
        for index, entry in enumerate(value):
            write(type_.element, entry, into, offset + index * type_.element.size)
    else:
        encode(type_, value, into, offset)


def stack(number, size, level):
    """A stack's record."""
    return {
        "id": number,
        "base_address": 0x20_0000 + number * 0x1_0000,
        "current_size": size,
        "max_size": 0x8000,
        "growth_count": number,
        "pressure_level": level,
    }


def page(number, physical, allocated, zero):
    """A lazy page's record."""
    return {
        "virtual_address": 0x40_0000 + number * 0x1000,
        "physical_address": physical,
        "is_allocated": allocated,
        "is_zero_page": zero,
        "access_count": number,
    }
