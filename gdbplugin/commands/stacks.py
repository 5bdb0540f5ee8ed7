"""`tinyos stacks`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.kernel.interface import Clock
    from gdbplugin.kernel.stacks import DynamicStack, MappedPage, RunningStack, StackList, Stacks
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.tasks import Names
    from gdbplugin.render import Style

_PAGES_SHOWN = 40
_GAUGE_WIDTHS = 8, 30
_BESIDE = 32  # The text before such a gauge takes no more than that.
_DIGITS = 6  # The least digits of an address that follows another one: those of 16 MiB.


def read(target: Target, id: int | None = None) -> StackList:  # noqa: A002 (the command's word)
    """Every dynamic stack, those of ended tasks too; or one, with its events and mapped pages."""
    from gdbplugin.kernel.stacks import read_stack_list

    return read_stack_list(target.required_kernel(), id)


def show(shown: StackList, style: Style) -> str:
    """A table of the stacks; of one stack everything."""
    from gdbplugin.commands.events import event_table
    from gdbplugin.kernel.tasks import task_names

    names = task_names(shown.scheduler)
    stack = shown.chosen
    if stack is None:
        return style.sections([section(shown.stacks, shown.running, names, shown.clock, style)], shown)
    parts = [_details(stack, shown.running, names, shown.clock, style)]
    if shown.mapped_pages is not None:
        parts.append(_mapped(shown.mapped_pages, style))
    recent = shown.recent
    if recent is not None:
        title = style.title(f"Events ({len(recent.events)} of {recent.matching} on record)")
        parts.append(title + "\n" + event_table(recent, style))
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
    """What the kernel keeps for all stacks together, if it does."""
    manager = stacks.stack_manager
    settings = (
        ("policy", manager.growth_policy),
        ("pressure threshold", manager.pressure_threshold),
        ("next ID", manager.next_stack_id),
    )
    found = [f"{name} {entry}" for name, entry in settings if entry is not None]
    return style.wrapped("  " + ", ".join(found)) if found else []


def _by_design(stacks: Stacks, clock: Clock, style: Style) -> str:
    """The stacks of a kernel whose records have only what the design asks for."""
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
    """How long ago a stack was last used; the timer's count if the time now is not known."""
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
    """The stack pointer; the whole address if it is not in the stack."""
    pointer = stack.stack_pointer if live is None else live.stack_pointer
    mark = "" if live is None else "*"
    if pointer is None or stack.base_address is None or _depth(stack, pointer) is None:
        return style.address(pointer) + mark
    return _differing(pointer, stack.base_address - (stack.current_size or 0)) + mark


def _differing(address: int, other: int) -> str:
    """The digits of an address from the first that differs from another address."""
    whole, known = f"{address:x}", f"{other:x}"
    if len(whole) != len(known):
        return f"{address:#x}"
    digits = len(f"{address ^ other:x}")
    return whole[-max(digits, _DIGITS) :]


def _depth(stack: DynamicStack, pointer: int | None) -> int | None:
    """How far below its base a stack pointer is, in bytes; None if it is not in the stack."""
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


def offered_ids(target: Target) -> list[int]:
    """The IDs of the active stacks."""
    from gdbplugin.kernel import stacks

    return stacks.offered_ids(target)


ARGUMENTS = (Argument("ID", "show only this stack, with all its details", "number", complete=offered_ids),)
HELP = """Show every dynamic stack, or all about one.

The columns: its task and policy; the mapped range, up to its base; the mapped size and the size that it
may grow to; the stack pointer that the kernel noted last, or, with a *, that of the core that runs its
task; the most that was ever mapped; growths and shrinks (+/-); and how long ago it was last used. The
base and the stack pointer show only the digits that differ from the range's first address.
With an ID: its addresses, its events, and the pages that the hardware's tables map in its range.
"""
COMMAND = Command(
    "stacks",
    Form("tinyos.stacks/1", read, show, rows=lambda found: found.stacks.stacks),
    help=HELP,
    letter="d",
    arguments=ARGUMENTS,
)
