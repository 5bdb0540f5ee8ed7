"""How other kernels of the design differ: types of fields, locks, and missing fields."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.layout.decode import value
from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    Option,
    Scalar,
    Static,
    Struct,
    Type,
    payload,
    unwrap,
)
from gdbplugin.records import Protocol, replace

_MAXIMUM_INTEGER_BYTES = 8
# What our fields of these names hold.
_INTEGERS = frozenset(
    {
        *("id", "owner", "base_address", "current_size", "max_size", "growth_count", "shrink_count"),
        *("last_access_time", "stack_pointer", "high_water_mark", "guard_address", "last_growth_time"),
        *("last_growth_pages", "pages_returned", "pressure_threshold", "next_stack_id", "current"),
        *("virtual_address", "physical_address", "access_count", "allocation_time", "zero_frame"),
        *("zero_page_address", "next_page_index", "reserved_pages", "allocated_pages", "zero_pages"),
        *("zero_fault_count", "allocate_fault_count", "upgrade_fault_count", "access_flag_count"),
        *("fold_count", "free_frames", "limit_frames", "last_change_time", "last_pressure_check"),
        *("pressure_events", "switch_count", "fast_switch_count", "context_switch_count"),
        *("last_context_switch_time", "total_dynamic_stacks", "active_dynamic_stacks"),
        *("total_stack_growth_events", "total_stack_shrink_events", "total_lazy_pages"),
        *("allocated_lazy_pages", "total_lazy_page_faults", "memory_pressure_events", "optimization_events"),
    }
)
_FLAGS = frozenset({"is_active", "is_allocated", "is_zero_page", "optimization_enabled", "enabled"})
_CHOICES = frozenset({"policy", "growth_policy", "pressure_level", "level", "allocation_policy"})
_LISTS_OF_INTEGERS = frozenset({"pressure_thresholds", "level_events"})
_LISTS = frozenset({"thresholds", "strategies", "spaces", "ranges", "entries"})
_RECORDS = frozenset({"asids", "invalidations"})


def hide_mismatched_fields(struct: Struct) -> Struct:
    """The struct; a field that has a name of ours but holds something else gets another name."""
    fields = tuple(
        field if _fits(field, struct) else Field(f"{field.name} (of another type)", field.offset, field.type)
        for field in struct.fields
    )
    return Struct(struct.name, struct.size, fields)


def hide_mismatched_in_records(type_: Type, is_record: Callable[[Struct], bool], depth: int) -> Type:
    """The type, with `hide_mismatched_fields` applied to its records, also in arrays and wrappers."""
    if depth == 0:
        return type_
    if isinstance(type_, Array):
        return Array(hide_mismatched_in_records(type_.element, is_record, depth - 1), type_.count)
    if isinstance(type_, Option):
        return with_value(type_, hide_mismatched_in_records(type_.value.type, is_record, depth - 1))
    return _hide_in_struct(type_, is_record, depth) if isinstance(type_, Struct) else type_


def with_value(option: Option, type_: Type) -> Option:
    """The Option with another type for its value."""
    return replace(option, value=Field(option.value.name, option.value.offset, type_))


def _hide_in_struct(struct: Struct, is_record: Callable[[Struct], bool], depth: int) -> Struct:
    if is_record(struct):
        return hide_mismatched_fields(struct)
    fields = tuple(
        Field(field.name, field.offset, hide_mismatched_in_records(field.type, is_record, depth - 1))
        for field in struct.fields
    )
    return Struct(struct.name, struct.size, fields)


def _fits(field: Field, struct: Struct) -> bool:
    """Whether a field holds what ours of that name holds; True if we have none of that name."""
    name, type_ = field.name, innermost_type(field.type)
    if name in _INTEGERS:
        return _is_integer(type_) and field.offset + field.type.size <= struct.size
    if name in _FLAGS:
        return isinstance(type_, Scalar) and type_.kind in ("boolean", "unsigned") and type_.size == 1
    if name in _CHOICES:
        return isinstance(type_, Enumeration)
    if name in _LISTS_OF_INTEGERS:
        return isinstance(type_, Array) and _is_integer(type_.element)
    if name in _LISTS:
        return isinstance(type_, Array) and isinstance(innermost_type(type_.element), Struct)
    return name not in _RECORDS or isinstance(type_, Struct)


def _is_integer(type_: Type) -> bool:
    return (
        isinstance(type_, Scalar)
        and type_.kind in ("unsigned", "signed", "pointer")
        and 0 < type_.size <= _MAXIMUM_INTEGER_BYTES
    )


def innermost_type(type_: Type) -> Type:
    """The type without wrappers and Options around it."""
    type_ = unwrap(type_)
    while isinstance(type_, Option):
        type_ = unwrap(type_.value.type)
    return type_


SPACES = "address spaces"
POOL = "frame pool"

_STACK_GROWTH = "details of stack growth"
_LAZY_COUNTS = "counts in the lazy allocator"
_BY_FRAMES = "pressure levels by free frames"
_INVALIDATIONS = "counts of TLB invalidations"
# Keys are paths within the manager, or a record and its field. A path stands for everything within it, too.
_WORDS = {
    "enabled": "enabled flag",
    "frames": POOL,
    "events": "event ring",
    "stack_manager.stacks": "array of stacks",
    "lazy_allocator.pages": "array of lazy pages",
    "lazy_allocator.zero_frame": "zero_page_address",
    "lazy_allocator.ranges": "ranges of lazy pages",
    "lazy_allocator": _LAZY_COUNTS,
    "context_switcher.spaces": SPACES,
    "context_switcher.current": SPACES,
    "context_switcher.asids": "ASIDs",
    "context_switcher.invalidations": _INVALIDATIONS,
    "context_switcher.fast_switch_count": _INVALIDATIONS,
    "AddressSpaces.spaces": SPACES,
    "AddressSpaces.current": SPACES,
    "AddressSpaces.asids": "ASIDs",
    "AddressSpaces.invalidations": _INVALIDATIONS,
    "AddressSpaces.fast_switch_count": _INVALIDATIONS,
    "Pressure.free_frames": _BY_FRAMES,
    "Pressure.limit_frames": _BY_FRAMES,
    "Pressure.thresholds": _BY_FRAMES,
    "Pressure.level_events": "counts by pressure level",
    "Pressure.strategies": "pressure strategies",
    "Pressure.last_change_time": "time of the last level change",
    "DynamicStack.policy": "policies of single stacks",
    "DynamicStack.owner": "owners of stacks",
    "DynamicStack.stack_pointer": "stack pointers",
    "DynamicStack.guard_address": "guard pages",
    "DynamicStack.high_water_mark": _STACK_GROWTH,
    "DynamicStack.last_growth_time": _STACK_GROWTH,
    "DynamicStack.last_growth_pages": _STACK_GROWTH,
    "DynamicStack.pages_returned": _STACK_GROWTH,
    "DynamicStack.pressure_level": "pressure_level of stacks",
    "LazyPage.owner": "owners of pages",
}


def describe_missing(path: str) -> str:
    """Words for a missing field, by its path or a path around it; if there are none, the field's name."""
    within = path
    while within:
        if within in _WORDS:
            return _WORDS[within]
        within = within.rpartition(".")[0]
    return path.rpartition(".")[2]


def group_missing(missing: list[str], names: tuple[str, ...], whole: str) -> list[str]:
    """The missing ones of the names; only `whole` if all of them are missing."""
    return [whole] if len(missing) == len(names) else missing


# Fields of the known kinds of lock: a flag, or the next ticket and the one being served.
_LOCKS = (("lock",), ("locked",), ("next_ticket", "next_serving"))


class Memory(Protocol):
    """Where the kernel's statics are read from."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from virtual `address`, or a `MachineError`."""


def is_locked(static: Static, memory: Memory) -> bool:
    """Whether a static's lock is held: its flag is set, or its tickets differ. False for unknown locks."""
    fields = {field.name: field for field in _scalars_around(static.type)}
    for names in _LOCKS:
        if all(name in fields for name in names):
            found = [_number(static, fields[name], memory) for name in names]
            return bool(found[0]) if len(found) == 1 else found[0] != found[1]
    return False


def _number(static: Static, field: Field, memory: Memory) -> object:
    return value(field.type, memory.read(static.address + field.offset, field.type.size))


def _scalars_around(type_: Type) -> list[Field]:
    """The numbers in the wrappers around the manager, such as a lock's state, with their offsets."""
    found: list[Field] = []
    offset = 0
    while isinstance(type_, Struct) and type_.field("stack_manager") is None:
        inner = payload(type_)
        if inner is None:
            break
        found += [
            Field(field.name, offset + field.offset, unwrap(field.type))
            for field in type_.fields
            if isinstance(unwrap(field.type), Scalar)
        ]
        offset, type_ = offset + inner.offset, inner.type
    return found
