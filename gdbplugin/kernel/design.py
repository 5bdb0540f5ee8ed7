"""Kernels of TinyOS's design under other names: finds their manager by its type.

The design (phase 4.4.4) defines the records and their managers, but no paths. A static is the manager if it
holds, inside any locks and Options, a struct with an array of stacks and an array of lazy pages. This module
rewrites its layout: every field stays where it is, and gets the name that `gdbplugin.kernel` asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gdbplugin.kernel.variations import (
    hide_mismatched_fields,
    hide_mismatched_in_records,
    innermost_type,
    with_value,
)
from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    Layout,
    Option,
    Scalar,
    Static,
    Struct,
    Type,
    locate,
    locate_path,
    unwrap,
)
from gdbplugin.machine import MachineError

MANAGER = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER"
SCHEDULER = "kernel::scheduler::SCHEDULER"
LEVELS = ("Low", "Medium", "High", "Critical")

_STATS = frozenset(
    {
        *("total_dynamic_stacks", "active_dynamic_stacks"),
        *("total_stack_growth_events", "total_stack_shrink_events"),
        *("total_lazy_pages", "allocated_lazy_pages", "total_lazy_page_faults"),
        *("memory_pressure_events", "optimization_events", "context_switch_count"),
    }
)
# Some of them may have other names.
_LEAST_STATS = 6
_STACK = frozenset({"id", "base_address", "current_size", "max_size"})
_LAZY_PAGE = frozenset({"virtual_address", "physical_address", "is_allocated", "is_zero_page"})
_SWITCHES = frozenset({"switch_count", "context_switch_count"})
# Paths in the manager of a kernel with our names.
_OWN = (
    *("stats", "stack_manager.stacks", "lazy_allocator.pages"),
    *("pressure_handler.level", "context_switcher.switch_count"),
)
# TinyOS's other statics: a static of the same last name is one if it has these fields.
_SHAPES = {
    "SCHEDULER": ("tasks", "current"),
    "DEBUGGER_INTERFACE": ("magic", "request", "active"),
    "FAILURE_RECORD": ("magic", "kind", "syndrome"),
    "DEBUGGER_MEMORY_MAP": (),
    "DEBUGGER_STRATEGY_UNITS": (),
}
_LAST = MANAGER.rpartition("::")[2]
NAMES = frozenset({_LAST, *_SHAPES})
"""The last names of the statics to search a program for."""

# Names in the design, and ours for the same thing.
_SYNONYMS = {"zero_page_address": "zero_frame", "context_switch_count": "switch_count"}
# The events that a pressure handler counts are changes of its level.
_EVENTS = {"events": "pressure_events"}
_HOW = "choose one with `set tinyos manager PATH`, --manager PATH or, in Python, manager=PATH"
# More wrappers than any kernel has around a struct.
_DEEPEST = 12

_Change = Callable[[Struct], Struct | None]


class ManagerUnclearError(MachineError):
    """Several statics may be TinyOS's manager, or the named one cannot be."""


def recognised(static: Static) -> Static | None:
    """The static, with the layout that `gdbplugin.kernel` asks for; None if it is not a manager."""
    if static.name == MANAGER and all(locate_path(static.type, path) is not None for path in _OWN):
        return static
    found = _within(static.type, _manager, _DEEPEST)
    return None if found is None else Static(static.name, static.address, found)


def candidates(statics: Iterable[Static]) -> list[Static]:
    """The managers of the design among the statics, as from `recognised`."""
    return [found for static in statics if (found := recognised(static)) is not None]


class DesignLayout:
    """The layout of a kernel whose statics may have other paths; satisfies `gdbplugin.layout.types.Layout`.

    `inner` is asked first, by our own paths. `search` is called only if that has no manager, or another
    kernel's: given last names, it returns all statics that have one of them. `chosen` is the manager's path,
    or the end of it, if the user has chosen one.
    """

    def __init__(
        self, inner: Layout, search: Callable[[frozenset[str]], Mapping[str, Static]], chosen: str = ""
    ) -> None:
        self._inner = inner
        self._search = search
        self._chosen = chosen
        self._known: dict[str, Static | None] = {}

    @property
    def problems(self) -> Sequence[str]:
        """See `Layout`."""
        return self._inner.problems

    def static(self, name: str) -> Static | None:
        """See `Layout`. Raises `ManagerUnclearError` if the user must choose the manager."""
        if name not in self._known:
            self._known[name] = self._manager() if name == MANAGER else self._other(name)
        return self._known[name]

    def _manager(self) -> Static | None:
        if self._chosen:
            return self._named(self._chosen)
        found = self._inner.static(MANAGER)
        if found is not None:
            manager = recognised(found)
            if manager is not None or found.name == MANAGER:
                return manager or found
        return self._only(candidates(_with_last(self._search(NAMES), _LAST)))

    def _only(self, managers: Sequence[Static]) -> Static | None:
        if len(managers) > 1:
            raise ManagerUnclearError(
                f"{len(managers)} statics look like TinyOS's memory manager ({_listed(managers)}): {_HOW}"
            )
        return managers[0] if managers else None

    def _named(self, chosen: str) -> Static | None:
        last = chosen.rpartition("::")[2]
        statics = dict(self._search(NAMES if last in NAMES else NAMES | {last}))
        own = self._inner.static(MANAGER)
        if own is not None:
            statics.setdefault(own.name, own)
        managers = candidates(
            static for static in statics.values() if static.name.rpartition("::")[2] in (last, _LAST)
        )
        named = [static for static in managers if f"::{static.name}".endswith(f"::{chosen}")]
        exact = [static for static in named if static.name == chosen]
        if not named:
            raise ManagerUnclearError(
                f'"{chosen}" does not look like TinyOS\'s memory manager '
                f"(known: {_listed(managers) or 'none'}): {_HOW}"
            )
        return self._only(exact or named)

    def _other(self, name: str) -> Static | None:
        manager = self.static(MANAGER)
        found = self._inner.static(name)
        if manager is None or manager.name == MANAGER or (found is not None and _has_shape(found)):
            return found
        last = name.rpartition("::")[2]
        similar = [static for static in _with_last(self._search(NAMES), last) if _has_shape(static)]
        return similar[0] if len(similar) == 1 else None


def _listed(statics: Iterable[Static]) -> str:
    return ", ".join(static.name for static in statics)


def _with_last(statics: Mapping[str, Static], last: str) -> list[Static]:
    return [static for name, static in statics.items() if name.rpartition("::")[2] == last]


def _has_shape(static: Static) -> bool:
    """Whether a static with the last name of one of ours has its fields, too."""
    wanted = _SHAPES.get(static.name.rpartition("::")[2], ())
    return all(locate_path(static.type, name) is not None for name in wanted)


def _within(type_: Type, change: _Change, depth: int) -> Type | None:
    """The type, with the first struct within it that `change` accepts replaced; None if it accepts none.

    The structs around it keep only the field that leads there and their scalars, such as a lock's state. So
    `payload` finds what they wrap.
    """
    if depth == 0:
        return None
    if isinstance(type_, Option):
        inner = _within(type_.value.type, change, depth - 1)
        return None if inner is None else with_value(type_, inner)
    if not isinstance(type_, Struct):
        return None
    made = change(type_)
    if made is not None:
        return made
    for field in type_.fields:
        inner = _within(field.type, change, depth - 1) if field.type.size else None
        if inner is not None:
            scalars = [other for other in type_.fields if isinstance(unwrap(other.type), Scalar)]
            return Struct(type_.name, type_.size, (*scalars, Field(field.name, field.offset, inner)))
    return None


def _manager(struct: Struct) -> Struct | None:
    """The manager with our names; None for any other struct."""
    fields: list[Field] = []
    taken: set[str] = set()
    for field in struct.fields:
        name, type_ = _part(field.type)
        if name in taken:
            name = ""
        taken.add(name)
        if not name:
            # A part we do not know may have fields with our names.
            type_ = hide_mismatched_in_records(type_, lambda one: unwrap(one) is one, _DEEPEST)
        fields.append(Field(name or field.name, field.offset, type_))
    if not {"stack_manager", "lazy_allocator"} <= taken:
        return None
    return Struct(struct.name, struct.size, tuple(fields))


def _part(type_: Type) -> tuple[str, Type]:
    """Our name for a field of the manager, and its type with our names; an empty name if we have none."""
    for name, change in _PARTS.items():
        made = _within(type_, change, _DEEPEST)
        if made is not None:
            return name, made
    return "", type_


def _stats(struct: Struct) -> Struct | None:
    return hide_mismatched_fields(struct) if len(_names(struct) & _STATS) >= _LEAST_STATS else None


def _stack_manager(struct: Struct) -> Struct | None:
    return _with_array(struct, _STACK, "stacks")


def _lazy_allocator(struct: Struct) -> Struct | None:
    return _with_array(struct, _LAZY_PAGE, "pages")


def _pressure_handler(struct: Struct) -> Struct | None:
    """A struct with the level of pressure, unless that is the level of a single stack."""
    if _names(struct) & _STACK:
        return None
    for field in struct.fields:
        type_ = unwrap(field.type)
        if isinstance(type_, Enumeration) and {name for _, name in type_.values} >= set(LEVELS):
            return _renamed(struct, {field.name: "level", **_EVENTS})
    return None


def _context_switcher(struct: Struct) -> Struct | None:
    named = struct.name.partition("<")[0].rpartition("::")[2] == "HardwareContextSwitcher"
    return _renamed(struct, {}) if named or _names(struct) & _SWITCHES else None


# The statistics come first: they, too, count switches.
_PARTS: dict[str, _Change] = {
    "stats": _stats,
    "stack_manager": _stack_manager,
    "lazy_allocator": _lazy_allocator,
    "pressure_handler": _pressure_handler,
    "context_switcher": _context_switcher,
}


def _names(struct: Struct) -> set[str]:
    return {field.name for field in struct.fields}


def _with_array(struct: Struct, element: frozenset[str], name: str) -> Struct | None:
    """The struct with its array of such records renamed to `name`; None if it has no such array."""
    for field in struct.fields:
        if _is_array_of(field.type, element):
            records = hide_mismatched_in_records(field.type, lambda one: element <= _names(one), _DEEPEST)
            fields = [
                Field(one.name, one.offset, records if one is field else one.type) for one in struct.fields
            ]
            return _renamed(Struct(struct.name, struct.size, tuple(fields)), {field.name: name})
    return None


def _is_array_of(type_: Type, names: frozenset[str]) -> bool:
    type_ = innermost_type(type_)
    if not isinstance(type_, Array):
        return False
    record = innermost_type(type_.element)
    return isinstance(record, Struct) and all(locate(record, name) is not None for name in names)


def _renamed(struct: Struct, names: Mapping[str, str]) -> Struct:
    """The struct with its fields renamed to ours, except where it has a field of the new name already."""
    struct = hide_mismatched_fields(struct)
    wanted = {**_SYNONYMS, **names}
    own = _names(struct)
    fields = [
        Field(
            name if (name := wanted.get(field.name, field.name)) not in own else field.name,
            field.offset,
            field.type,
        )
        for field in struct.fields
    ]
    # Renamed fields may have got a name of ours, too.
    return hide_mismatched_fields(Struct(struct.name, struct.size, tuple(fields)))
