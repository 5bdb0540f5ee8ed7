"""What the fields of the design's records hold, so that another kernel's field of the same name may be told.

A kernel of the design may have a field by a name that we know, and something else in it: an owner that is a
text, say. Such a field is not ours: it gets another name, and counts as one that the kernel does not have.
"""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    Option,
    Scalar,
    Struct,
    Type,
    unwrap,
)
from gdbplugin.records import replace

_WIDEST = 8
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


def fitting(struct: Struct) -> Struct:
    """The struct with other names for fields that are called like ours and hold something else."""
    fields = tuple(
        field if _fits(field, struct) else Field(f"{field.name} (of another type)", field.offset, field.type)
        for field in struct.fields
    )
    return Struct(struct.name, struct.size, fields)


def with_fitting_records(type_: Type, is_record: Callable[[Struct], bool], depth: int) -> Type:
    """A type whose records, in arrays and wrappers, are as from `fitting`."""
    if depth == 0:
        return type_
    if isinstance(type_, Array):
        return Array(with_fitting_records(type_.element, is_record, depth - 1), type_.count)
    if isinstance(type_, Option):
        return with_value(type_, with_fitting_records(type_.value.type, is_record, depth - 1))
    return _struct(type_, is_record, depth) if isinstance(type_, Struct) else type_


def with_value(option: Option, type_: Type) -> Option:
    """The Option with another type for its value."""
    return replace(option, value=Field(option.value.name, option.value.offset, type_))


def _struct(struct: Struct, is_record: Callable[[Struct], bool], depth: int) -> Struct:
    if is_record(struct):
        return fitting(struct)
    fields = tuple(
        Field(field.name, field.offset, with_fitting_records(field.type, is_record, depth - 1))
        for field in struct.fields
    )
    return Struct(struct.name, struct.size, fields)


def _fits(field: Field, struct: Struct) -> bool:
    name, type_ = field.name, content(field.type)
    if name in _INTEGERS:
        return _is_integer(type_) and field.offset + field.type.size <= struct.size
    if name in _FLAGS:
        return isinstance(type_, Scalar) and type_.kind in ("boolean", "unsigned") and type_.size == 1
    if name in _CHOICES:
        return isinstance(type_, Enumeration)
    if name in _LISTS_OF_INTEGERS:
        return isinstance(type_, Array) and _is_integer(type_.element)
    if name in _LISTS:
        return isinstance(type_, Array) and isinstance(content(type_.element), Struct)
    return name not in _RECORDS or isinstance(type_, Struct)


def _is_integer(type_: Type) -> bool:
    return (
        isinstance(type_, Scalar)
        and type_.kind in ("unsigned", "signed", "pointer")
        and 0 < type_.size <= _WIDEST
    )


def content(type_: Type) -> Type:
    """What a type is without wrappers and Options around it."""
    type_ = unwrap(type_)
    while isinstance(type_, Option):
        type_ = unwrap(type_.value.type)
    return type_
