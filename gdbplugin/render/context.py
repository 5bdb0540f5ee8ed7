"""The view of `tinyos context`."""

from __future__ import annotations

from gdbplugin.aarch64.cores import Core, TableRegister
from gdbplugin.kernel.context import Context
from gdbplugin.kernel.spaces import AddressSpace
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.records import asdict
from gdbplugin.render.parts import clock_content, tasks_content
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def content(context: Context) -> dict[str, Any]:
    """The context's part of its JSON object."""
    return {
        "context": asdict(context.spaces),
        "cores": core_objects(context),
        **tasks_content(context.tasks),
        "time": clock_content(context.clock),
    }


def core_objects(context: Context) -> list[dict[str, Any]]:
    """The cores in a JSON object, each with the number of the address space its TTBR0 holds."""
    found = []
    for core in context.cores:
        space = context.space_on(core)
        own = context.own.get(core.core)
        found.append(
            {
                **asdict(core),
                "space": None if space is None else space.number,
                "own_regime": None if own is None else asdict(own),
            }
        )
    return found


def text(context: Context, style: Style) -> str:
    """The cores, the counters of switching, and the address spaces."""
    names = task_names(context.tasks)
    listed = _spaces(context, names, style)
    parts = [cores(context, style), "\n".join(part for part in (summary(context, style), listed) if part)]
    return style.sections(parts, context)


def summary(context: Context, style: Style) -> str:
    """The counters of switching."""
    spaces, count = context.spaces, style.count
    if spaces.spaces is None:
        title = style.title("Context switching")
        switches = f"  switches: {count(spaces.switch_count)}"
    else:
        title = style.title(
            f"Address spaces ({len(spaces.spaces)} active; number {style.text(spaces.current)} in TTBR0)"
        )
        switches = (
            f"  switches: {count(spaces.switch_count)}, "
            f"{count(spaces.fast_switch_count)} without any invalidation"
        )
    lines = [title, *style.wrapped(switches)]
    asids, dropped = spaces.asids, spaces.invalidations
    if asids is not None:
        lines += style.wrapped(
            f"  ASIDs: {style.text(asids.bits)} bits, generation {count(asids.generation)}, "
            f"{count(asids.allocation_count)} handed out, {count(asids.rollover_count)} rollovers"
        )
    if dropped is not None:
        lines += style.wrapped(
            f"  TLB invalidations: {count(dropped.by_address)} by address, "
            f"{count(dropped.by_asid)} by ASID, {count(dropped.everything)} of everything"
        )
    if spaces.optimization_enabled is not None:
        lines += style.wrapped(f"  optimization: {'on' if spaces.optimization_enabled else 'off'}")
    if spaces.last_context_switch_time:
        lines += style.wrapped(f"  the last at the timer's count {spaces.last_context_switch_time:,}")
    return "\n".join(lines)


def _spaces(context: Context, names: Names, style: Style) -> str:
    rows = [_space(space, context, names, style) for space in context.spaces.active]
    headers = ("task", "state", "table", "ASID", "generation", "switches", "")
    if not rows:
        return ""
    right, least = ("ASID", "generation", "switches"), ("switches", "generation")
    return style.table(headers, rows, right, dispensable=least)


def _space(space: AddressSpace, context: Context, names: Names, style: Style) -> tuple[str, ...]:
    tasks = context.tasks.tasks if context.tasks else ()
    state = next((task.state for task in tasks if task.id == space.number), None)
    generation = context.spaces.generation
    notes = [f"core {core.core}" for core in context.cores if context.space_on(core) is space]
    if space.generation is not None and generation is not None and space.generation != generation:
        notes.append("ASID outdated")
    return (
        style.owner(space.number, names),
        style.text(state),
        style.address(space.table),
        style.text(space.asid),
        style.count(space.generation),
        style.count(space.switch_count),
        ", ".join(notes),
    )


def cores(context: Context, style: Style) -> str:
    """Each core's exception level and translation table registers, decoded."""
    rows = [_core(core, context, style) for core in context.cores]
    headers = ("core", "level", "EL1 MMU", "", "value", "table", "ASID", "CnP", "holds")
    flat = [line for lines in rows for line in lines]
    least = ("CnP", "EL1 MMU")
    found = style.table(headers, flat, ("ASID", "CnP"), dispensable=least)
    lines = [style.title("Cores"), found]
    for regime in dict.fromkeys(context.own.values()):
        those = [str(number) for number, own in context.own.items() if own == regime]
        tables = f"table {style.address(regime.table)}" if regime.enabled else "MMU off"
        said = f"  core{'s' if len(those) > 1 else ''} {', '.join(those)}: {regime.name} regime, {tables}"
        lines += style.wrapped(said)
    return "\n".join(lines)


def _core(core: Core, context: Context, style: Style) -> list[tuple[str, ...]]:
    level = style.missing if core.exception_level is None else f"EL{core.exception_level}"
    mmu = {None: style.missing, True: "on", False: "off"}[core.mmu_enabled]
    space = context.space_on(core)
    holds = "" if space is None else f"space {space.number}"
    return [
        (str(core.core), level, mmu, "TTBR0_EL1", *_register(core.ttbr0, style), holds),
        ("", "", "", "TTBR1_EL1", *_register(core.ttbr1, style), ""),
    ]


def _register(register: TableRegister | None, style: Style) -> tuple[str, str, str, str]:
    if register is None:
        return (style.missing,) * 4
    common = "1" if register.common_not_private else "0"
    return f"{register.value:#018x}", style.address(register.base), str(register.asid), common
