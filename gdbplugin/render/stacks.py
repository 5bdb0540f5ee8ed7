"""The view of `tinyos stacks`."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.kernel.clock import Clock
from gdbplugin.kernel.stacks import DynamicStack, RunningStack, Stacks
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.records import asdict
from gdbplugin.render.events import event_objects, event_table
from gdbplugin.render.parts import clock_content, tasks_content
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.stack_list import MappedPage, StackList

_PAGES_SHOWN = 40
_GAUGE_WIDTHS = 8, 30
_BESIDE = 32  # What stands before such a gauge takes no more than that.
_DIGITS = 6  # Of an address behind another one, at least: those of 16 MiB.


def content(shown: StackList) -> dict[str, Any]:
    """The stacks' part of their JSON object."""
    pages = shown.mapped_pages
    return {
        "stacks": [asdict(stack) for stack in shown.stacks.stacks],
        "stack_manager": manager_content(shown.stacks),
        "running": [asdict(running) for running in shown.running],
        "events": None if shown.events is None else event_objects(shown.events.events),
        "mapped_pages": None if pages is None else [asdict(page) for page in pages],
        **tasks_content(shown.tasks),
        "time": clock_content(shown.clock),
    }


def manager_content(stacks: Stacks) -> dict[str, Any]:
    """What a kernel keeps of all stacks together, for JSON; null where each stack has its own."""
    return {
        "growth_policy": stacks.growth_policy,
        "pressure_threshold": stacks.pressure_threshold,
        "next_stack_id": stacks.next_stack_id,
    }


def text(shown: StackList, style: Style) -> str:
    """A table of the stacks; of one stack everything."""
    names = task_names(shown.tasks)
    stack = shown.chosen
    if stack is None:
        return style.sections([section(shown.stacks, shown.running, names, shown.clock, style)], shown)
    parts = [_details(stack, shown.running, names, shown.clock, style)]
    if shown.mapped_pages is not None:
        parts.append(_mapped(shown.mapped_pages, style))
    if shown.events is not None:
        title = style.title(f"Events ({len(shown.events.events)} of {shown.events.matching} on record)")
        parts.append(title + "\n" + event_table(shown.events, style))
    return style.sections(parts, shown)


def section(stacks: Stacks, running: Sequence[RunningStack], names: Names, clock: Clock, style: Style) -> str:
    """The active stacks as a table; the others counted."""
    live = {entry.stack: entry for entry in running}
    rows = [_row(stack, live.get(stack.id or 0), names, clock, style) for stack in stacks.active]
    title = style.title(f"Stacks ({len(rows)} active, {len(stacks.stacks) - len(rows)} ended on record)")
    if not rows:
        return title
    lines = [title, *_manager_lines(stacks, style)]
    if all(stack.guard_address is None and stack.owner is None for stack in stacks.active):
        lines.append(_by_design(stacks, clock, style))
    else:
        headers = ("id", "task", "policy", "range", "mapped/max", "", "SP", "most", "+/-", "seen")
        right = ("id", "mapped/max", "most", "+/-", "seen")
        least = ("seen", "policy", "most", "+/-")
        lines.append(style.table(headers, rows, right, dispensable=least))
    lines += [
        line
        for entry in running
        for stack in stacks.active
        if stack.id == entry.stack
        for line in style.wrapped(
            f"  * as core {entry.core} has it, which runs task {style.owner(stack.owner, names)}"
        )
    ]
    return "\n".join(lines)


def _manager_lines(stacks: Stacks, style: Style) -> list[str]:
    """What is one for all stacks, where a kernel has such things."""
    if (stacks.growth_policy, stacks.pressure_threshold, stacks.next_stack_id) == (None, None, None):
        return []
    found = (
        ("policy", stacks.growth_policy),
        ("pressure threshold", stacks.pressure_threshold),
        ("next ID", stacks.next_stack_id),
    )
    return style.wrapped("  " + ", ".join(f"{name} {entry}" for name, entry in found if entry is not None))


def _by_design(stacks: Stacks, clock: Clock, style: Style) -> str:
    """The stacks of a kernel that has no more of them on record than the design."""
    rows: list[tuple[str, ...]] = [
        (
            style.text(stack.id),
            style.address(stack.base_address),
            f"{_size(stack.current_size, style)}/{_size(stack.max_size, style)}",
            style.gauge(stack.current_size, stack.max_size, 4),
            f"{style.text(stack.growth_count)}/{style.text(stack.shrink_count)}",
            style.text(stack.pressure_level),
            _seen(stack, clock, style),
        )
        for stack in stacks.active
    ]
    headers: tuple[str, ...] = ("id", "base", "size/max", "", "+/-", "pressure", "last seen")
    if not _have_levels(stacks.active):
        place = headers.index("pressure")
        headers = headers[:place] + headers[place + 1 :]
        rows = [row[:place] + row[place + 1 :] for row in rows]
    right = ("id", "size/max", "+/-", "last seen")
    return style.table(headers, rows, right, dispensable=("last seen", "pressure"))


def _have_levels(stacks: Sequence[DynamicStack]) -> bool:
    """Whether the stacks of a kernel have a level of pressure each."""
    return any(stack.pressure_level is not None for stack in stacks)


def _seen(stack: DynamicStack, clock: Clock, style: Style) -> str:
    """How long ago a stack was last used; as the timer's count where the time now is not known."""
    time = stack.last_access_time
    return f"at {time:,}" if clock.now is None and time else style.duration(clock.ago(time))


def _row(
    stack: DynamicStack, live: RunningStack | None, names: Names, clock: Clock, style: Style
) -> tuple[str, ...]:
    return (
        style.text(stack.id),
        style.owner(stack.owner, names),
        style.text(stack.policy),
        _range(stack, style),
        f"{_size(stack.current_size, style)}/{_size(stack.max_size, style)}",
        style.gauge(stack.current_size, stack.max_size, 4),
        _pointer_in(stack, live, style),
        _size(stack.high_water_mark, style),
        f"{style.text(stack.growth_count)}/{style.text(stack.shrink_count)}",
        style.duration(clock.ago(stack.last_access_time)),
    )


def _size(size: int | None, style: Style) -> str:
    return style.short_size(size).replace(" ", "")


def _range(stack: DynamicStack, style: Style) -> str:
    """What is mapped, to the base: `0x7000001ff000..200000`."""
    base, size = stack.base_address, stack.current_size
    if base is None or size is None or size > base:
        return style.address(base)
    return f"{base - size:#x}..{_differing(base, base - size)}"


def _pointer_in(stack: DynamicStack, live: RunningStack | None, style: Style) -> str:
    """The stack pointer, whole where it is nowhere in the stack."""
    pointer = stack.stack_pointer if live is None else live.stack_pointer
    mark = "" if live is None else "*"
    if pointer is None or stack.base_address is None or _depth(stack, pointer) is None:
        return style.address(pointer) + mark
    return _differing(pointer, stack.base_address - (stack.current_size or 0)) + mark


def _differing(address: int, other: int) -> str:
    """An address behind another one: its digits from the first on that is not the same."""
    whole, known = f"{address:x}", f"{other:x}"
    if len(whole) != len(known):
        return f"{address:#x}"
    digits = len(f"{address ^ other:x}")
    return whole[-max(digits, _DIGITS) :]


def _depth(stack: DynamicStack, pointer: int | None) -> int | None:
    """How far below its base a stack pointer is, in bytes; None for one that is nowhere in the stack."""
    if stack.base_address is None or pointer is None:
        return None
    depth = stack.base_address - pointer
    return depth if 0 <= depth <= max(stack.max_size or 0, stack.current_size or 0) else None


def _details(
    stack: DynamicStack, running: Sequence[RunningStack], names: Names, clock: Clock, style: Style
) -> str:
    if stack.guard_address is None and stack.owner is None:
        return _details_by_design(stack, clock, style)
    base, size = stack.base_address, stack.current_size
    lowest = None if base is None or size is None else base - size
    gauge = style.gauge(size, stack.max_size, style.left(_BESIDE, *_GAUGE_WIDTHS))
    growth = "none so far"
    if stack.growth_count != 0:
        last = (
            f"{style.count(stack.last_growth_pages)}, {style.duration(clock.ago(stack.last_growth_time))} ago"
        )
        growth = f"{style.count(stack.growth_count)}; pages added by the last: {last}"
    lines = [
        ("owner", f"task {style.owner(stack.owner, names)}"),
        ("policy", style.text(stack.policy)),
        ("mapped", f"{style.address(lowest)} to {style.address(base)}, {style.size(size)}"),
        ("may grow to", f"{style.size(stack.max_size)}  {gauge}"),
        ("guard page", style.address(stack.guard_address)),
        *(
            ("stack pointer", f"{_pointer(stack, live.stack_pointer, style)}, as core {live.core} has it now")
            for live in running
        ),
        ("last noted" if running else "stack pointer", _pointer(stack, stack.stack_pointer, style)),
        ("highest", f"{style.size(stack.high_water_mark)} were mapped at once"),
        ("growths", growth),
        (
            "shrinks",
            f"{style.count(stack.shrink_count)}; pages given back: {style.count(stack.pages_returned)}",
        ),
        ("last access", f"{style.duration(clock.ago(stack.last_access_time))} ago"),
    ]
    state = "active" if stack.is_active else "ended"
    body = [line for name, value in lines for line in style.entry(name, value, 14)]
    return "\n".join([style.title(f"Stack {style.text(stack.id)} ({state})"), *body])


def _details_by_design(stack: DynamicStack, clock: Clock, style: Style) -> str:
    """All that the design has on record of a stack."""
    gauge = style.gauge(stack.current_size, stack.max_size, style.left(_BESIDE, *_GAUGE_WIDTHS))
    lines = [
        ("base", style.address(stack.base_address)),
        ("size", style.size(stack.current_size)),
        ("may grow to", f"{style.size(stack.max_size)}  {gauge}"),
        ("growths", style.count(stack.growth_count)),
        ("shrinks", style.count(stack.shrink_count)),
        *([("pressure", stack.pressure_level)] if stack.pressure_level is not None else []),
        ("last access", _seen(stack, clock, style)),
    ]
    body = [line for name, value in lines for line in style.entry(name, value, 14)]
    return "\n".join([style.title(f"Stack {style.text(stack.id)}"), *body])


def _pointer(stack: DynamicStack, pointer: int | None, style: Style) -> str:
    return f"{style.address(pointer)}, {style.size(_depth(stack, pointer))} below the base"


def _mapped(pages: tuple[MappedPage, ...], style: Style) -> str:
    title = style.title(f"Mapped pages ({len(pages)}, as the hardware's tables have them)")
    rows = [
        (style.address(page.virtual_address), style.address(page.physical_address), page.el0)
        for page in pages[:_PAGES_SHOWN]
    ]
    if not rows:
        return title
    more = f"\n  and {len(pages) - _PAGES_SHOWN} more" if len(pages) > _PAGES_SHOWN else ""
    return title + "\n" + style.table(("page", "physical", "EL0"), rows) + more
