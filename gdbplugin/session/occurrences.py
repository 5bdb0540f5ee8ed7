"""What a session can wait for: the kernel's probes of it, and the condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gdbplugin.kernel.lazy import PAGE_BYTES
from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.layout.probes import Probe
from gdbplugin.session.errors import SessionError

SWITCH_KIND = "Switch"
"""The kind of the probes that do not belong to an event."""

Words = Mapping[str, object]


@dataclass(frozen=True)
class Occurrence:
    """Something that the kernel does. `kinds` are kinds of events, or `SWITCH_KIND`."""

    text: str
    kinds: tuple[str, ...]
    condition: Callable[[Probe], str]
    """GDB's expression that is true at a probe when this has happened; empty where it always is."""


@dataclass(frozen=True)
class _Kind:
    """Something there is to wait for: the words it takes, and what they make of it."""

    words: tuple[str, ...]
    make: Callable[[Words], Occurrence]


def occurrence(what: str, words: Words) -> Occurrence:
    """What a name and the words given with it mean; raises `SessionError`, which lists the known ones."""
    kind = KINDS.get(what)
    if kind is None:
        raise SessionError(f'there is nothing called "{what}" to wait for; there are: {", ".join(KINDS)}')
    given = {name: value for name, value in words.items() if value is not None}
    for name in given:
        if name not in kind.words:
            raise SessionError(f"{what} takes no {name}; it takes: {', '.join(kind.words)}")
    if len(given) > 1:
        raise SessionError(f"{what} takes one of: {', '.join(kind.words)}; {' and '.join(given)} were given")
    return kind.make(given)


def _of_stack(change: str, kind: str) -> _Kind:
    def make(words: Words) -> Occurrence:
        number = words.get("stack")
        which = "any stack" if number is None else f"stack {number}"
        return Occurrence(f"{which} to {change}", (kind,), _equals("first", number))

    return _Kind(("stack",), make)


def _lazy_fault(words: Words) -> Occurrence:
    kinds = ("LazyZero", "LazyAllocate")
    if not words:
        return Occurrence("a lazy fault", kinds, _equals("first", None))
    if "address" in words:
        start = _integer("address", words["address"]) & -PAGE_BYTES
        end = start + PAGE_BYTES
    else:
        start, end = _bounds(words["range"])
    return Occurrence(
        f"a lazy fault in {start:#x}..{end:#x}",
        kinds,
        lambda probe: f"${probe.first} >= {start:#x} && ${probe.first} < {end:#x}",
    )


def _bounds(value: object) -> tuple[int, int]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise SessionError(f"a range is a start and an exclusive end, but {value!r} was given")
    start, end = (_integer("range", edge) for edge in value)
    if end <= start:
        raise SessionError(f"the range {start:#x}..{end:#x} is one of nothing")
    return start, end


def _pressure(words: Words) -> Occurrence:
    level = words.get("level")
    if level is None:
        return Occurrence("another level of memory pressure", ("PressureChange",), _equals("second", None))
    known = {name.lower(): number for number, name in enumerate(LEVELS)}
    if str(level).lower() not in known:
        raise SessionError(f'there is no level of pressure "{level}"; there are: {", ".join(LEVELS)}')
    number = known[str(level).lower()]
    return Occurrence(
        f"memory pressure to become {LEVELS[number]}", ("PressureChange",), _equals("second", number)
    )


def _switch(words: Words) -> Occurrence:
    asid = words.get("asid")
    if asid is None:
        number = words.get("task")
        which = "another address space" if number is None else f"the address space of task {number}"
        return Occurrence(f"a switch to {which}", (SWITCH_KIND,), _equals("first", number))
    wanted = _integer("asid", asid)
    return Occurrence(
        f"a switch to ASID {wanted}",
        (SWITCH_KIND,),
        lambda probe: f"((${probe.second} >> 48) & 0xffff) == {wanted}",
    )


def _task_ended(words: Words) -> Occurrence:
    number = words.get("task")
    which = "any task" if number is None else f"task {number}"
    return Occurrence(f"{which} to end", ("TaskEnded",), _equals("first", number))


def _equals(figure: str, value: object) -> Callable[[Probe], str]:
    """The condition that a figure has a value; none where any will do."""
    if value is None:
        return lambda _: ""
    number = _integer("the number", value)
    return lambda probe: f"${getattr(probe, figure)} == {number}"


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int):
        raise SessionError(f"{name} is to be an integer, but {value!r} was given")
    return value


KINDS = {
    "stack-growth": _of_stack("grow", "StackGrowth"),
    "stack-shrink": _of_stack("shrink", "StackShrink"),
    "lazy-fault": _Kind(("range", "address"), _lazy_fault),
    "pressure": _Kind(("level",), _pressure),
    "switch": _Kind(("asid", "task"), _switch),
    "task-ended": _Kind(("task",), _task_ended),
}
"""By their names."""
