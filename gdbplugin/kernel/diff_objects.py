"""Compares the objects of two moments, all but the pages, field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gdbplugin.kernel.diff_rows import COUNTS, Explanation, Row, wanted
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.moment import Moment
from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.kernel.replay import Replay, numbered
from gdbplugin.kernel.spaces import AddressSpace
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.tasks import Task
from gdbplugin.records import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Explain = Callable[[str, Any], Explanation]
    _Values = dict[str, Any]

_PLACE_OF_STACK = ("policy", "owner", "base_address", "max_size", "guard_address")
_STACK_EVENTS = {
    "growth_count": "StackGrowth",
    "high_water_mark": "StackGrowth",
    "last_growth_time": "StackGrowth",
    "last_growth_pages": "StackGrowth",
    "shrink_count": "StackShrink",
    "pages_returned": "StackShrink",
}
Rows = Iterator[tuple[Row, Explanation]]
"""Changes, each with what explains it."""


def _fields(
    kind: str, name: str, number: int | None, before: _Values, after: _Values, explain: _Explain
) -> Rows:
    """A row for each field that differs. `explain` is called with its name and its later value."""
    for field in dict.fromkeys((*before, *after)):
        old, new = before.get(field), after.get(field)
        if old != new:
            yield Row(kind, name, number, None, field, old, new, ()), explain(field, new)


def stack_rows(before: Moment, after: Moment, replay: Replay) -> Rows:
    """The changes of stacks."""
    old = {stack.id: stack for stack in before.stacks.stacks}
    new = {stack.id: stack for stack in after.stacks.stacks}
    for number in _ordered(old, new):
        one, other = old.get(number), new.get(number)
        explain = partial(_explain_stack, replay, number, one, other)
        yield from _fields("stacks", f"stack {number}", number, _plain(one), _plain(other), explain)


def _explain_stack(
    replay: Replay,
    number: int,
    before: DynamicStack | None,
    after: DynamicStack | None,
    field: str,
    now: Any,
) -> Explanation:
    state = replay.stack(number)
    was_active, is_active = bool(before and before.is_active), bool(after and after.is_active)
    if field in _STACK_EVENTS:
        own = [event for event in replay.of_kind[_STACK_EVENTS[field]] if event.first == number]
        return Explanation(numbered(own))
    if not was_active and not is_active:
        return COUNTS
    if field == "is_active":
        return wanted(state.is_active, state.events, is_active)
    if field == "current_size":
        found = state.pages * PAGE_BYTES if state.is_exact else now
        return wanted(found, state.events, now, field)
    if field in _PLACE_OF_STACK:
        starts = [event for event in replay.of_kind["TaskStarted"] if event.second == number]
        explanation = wanted(state.owner if field == "owner" else now, numbered(starts), now)
        # Where the stack began or ended, that is said once, by `is_active`.
        return explanation if was_active and is_active else explanation._replace(needed=False)
    return COUNTS


def task_rows(before: Moment, after: Moment, replay: Replay) -> Rows:
    """The changes of tasks."""
    if before.tasks is None or after.tasks is None:
        return
    old = {task.id: task for task in before.tasks.tasks}
    new = {task.id: task for task in after.tasks.tasks}
    for number in _ordered(old, new):
        one, other = old.get(number), new.get(number)
        known = other or one
        name = f"task {number} ({known.name})" if known else f"task {number}"
        explain = partial(_explain_task, replay, number, one, other)
        yield from _fields("tasks", name, number, _plain(one), _plain(other), explain)


def _explain_task(
    replay: Replay, number: int, before: Task | None, after: Task | None, field: str, now: Any
) -> Explanation:
    own = replay.of_task.get(number, [])
    was_alive, is_alive = bool(before and before.is_alive), bool(after and after.is_alive)
    if field == "state" and (own or before is None or was_alive != is_alive):
        led_to_life = bool(own) and own[-1].kind == "TaskStarted"
        return wanted("alive" if led_to_life else "Ended", numbered(own), "alive" if is_alive else "Ended")
    if field == "end_reason" and own:
        reasons = replay.after.names.get("EndReason", {})
        code = own[-1].second or 0
        reason = reasons.get(code, str(code)) if own[-1].kind == "TaskEnded" else reasons.get(0, "None")
        return wanted(reason, numbered(own), now)
    if field == "end_reason":
        return wanted(None, (), now)
    if field in ("start_time", "stack", "name") and was_alive and is_alive:
        starts = [event for event in own if event.kind == "TaskStarted"]
        return wanted(now, numbered(starts), now)
    return Explanation(numbered(own)) if field in ("end_time", "start_time", "stack", "name") else COUNTS


def space_rows(before: Moment, after: Moment, replay: Replay) -> Rows:
    """The changes of address spaces, and of what switches them."""
    old = {space.number: space for space in before.spaces.active}
    new = {space.number: space for space in after.spaces.active}
    for number in _ordered(old, new):
        one, other = old.get(number), new.get(number)
        explain = partial(_explain_space, replay, number, one)
        yield from _fields("spaces", f"space {number}", number, _plain(one), _plain(other), explain)
    rollovers = numbered(replay.of_kind["AsidRollover"])
    yield from _fields(
        "spaces",
        "context switcher",
        None,
        _switcher(before),
        _switcher(after),
        lambda field, _: Explanation(rollovers) if field.startswith("asids.") else COUNTS,
    )


def _switcher(moment: Moment) -> _Values:
    values = asdict(moment.spaces)
    del values["spaces"]
    return _flat(values)


def _explain_space(
    replay: Replay, number: int, before: AddressSpace | None, field: str, now: Any
) -> Explanation:
    own = replay.of_task.get(number, [])
    if field == "is_active":
        return wanted(bool(own) and own[-1].kind == "TaskStarted", numbered(own), bool(now))
    if field == "table":
        moved, moves = replay.moved(before.table if before else None, replay.before.recorded)
        if own or before is None or now is None:
            # Where the space began or ended, that is said once, by `is_active`.
            return Explanation((*numbered(own), *moves), bool(own))
        return wanted(moved, moves, now, field)
    if field in ("asid", "generation"):
        return Explanation(numbered([*own, *replay.of_kind["AsidRollover"]]))
    return COUNTS


def pressure_rows(before: Moment, after: Moment, replay: Replay) -> Rows:
    """The changes of the pressure handler."""
    explain = partial(_explain_pressure, replay)
    yield from _fields(
        "pressure", "pressure", None, _pressure_values(before), _pressure_values(after), explain
    )


def _explain_pressure(replay: Replay, field: str, now: Any) -> Explanation:
    levels, limits = replay.of_kind["PressureChange"], replay.of_kind["PoolLimit"]
    if field == "level":
        names = replay.after.names.get("PressureLevel", {})
        code = levels[-1].second or 0 if levels else 0
        return wanted(names.get(code, str(code)), numbered(levels), now)
    if field.startswith("thresholds.") or field == "limit_frames":
        return wanted(now, numbered(limits), now)
    if field.startswith("strategies."):
        return Explanation(numbered(_runs(replay, field.split(".")[1])))
    is_of_level = field == "last_change_time" or field.startswith("level_events.")
    return Explanation(numbered(levels)) if is_of_level else COUNTS


def _runs(replay: Replay, strategy: str) -> list[Event]:
    names = replay.after.names.get("Strategy", {})
    return [event for event in replay.of_kind["StrategyRun"] if names.get(event.first or 0) == strategy]


def _pressure_values(moment: Moment) -> _Values:
    values = asdict(moment.pressure)
    strategies = {str(one["strategy"]): one for one in values.pop("strategies") or ()}
    levels = {"level_events": LEVELS, "thresholds": LEVELS[1:]}
    named = {name: dict(zip(order, values[name] or (), strict=False)) for name, order in levels.items()}
    return _flat({**values, **named, "strategies": strategies})


def frame_rows(before: Moment, after: Moment, replay: Replay) -> Rows:
    """The changes of the pool of frames, and how many frames have each use."""
    explain = partial(_explain_frames, replay)
    yield from _fields("frames", "frame pool", None, asdict(before.frames), asdict(after.frames), explain)
    yield from _fields("frames", "frame pool", None, _uses(before), _uses(after), lambda *_: COUNTS)


def _uses(moment: Moment) -> _Values:
    counted = moment.frame_table.count() if moment.frame_table is not None else {}
    return {f"used as {use}": count for use, count in counted.items()}


def _explain_frames(replay: Replay, field: str, now: Any) -> Explanation:
    limits = replay.of_kind["PoolLimit"]
    if field == "limit_frames":
        return wanted(limits[-1].second if limits else None, numbered(limits), now)
    return wanted(None, (), now) if field in ("base", "total_frames") else COUNTS


def counter_rows(before: Moment, after: Moment, replay: Replay) -> Rows:
    """The changes of the counters."""
    del replay
    yield from _fields("counters", "counters", None, before.counters, after.counters, lambda *_: COUNTS)


def _ordered(old: dict[Any, Any], new: dict[Any, Any]) -> Sequence[int]:
    return sorted(number for number in old.keys() | new.keys() if number is not None)


def _plain(record: Any) -> _Values:
    """The fields of a record but its number, which the row has."""
    values = {} if record is None else vars(record)
    return {name: value for name, value in values.items() if name not in ("id", "number")}


def _flat(values: Any, head: str = "") -> _Values:
    """Nested values by dotted paths: `invalidations.by_asid`, `thresholds.0.leave_at`."""
    entries = values.items() if isinstance(values, dict) else enumerate(values)
    found: _Values = {}
    for name, value in entries:
        if isinstance(value, dict | list | tuple):
            found.update(_flat(value, f"{head}{name}."))
        else:
            found[f"{head}{name}"] = value
    return found
