"""`tinyos stats`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.statistics import Changes, Counters
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target) -> Counters:
    """The counters, and how they changed since they were last read at an earlier stop."""
    from gdbplugin.kernel.statistics import read_counters

    return read_counters(target.required_kernel())


def show(counters: Counters, style: Style) -> str:
    """Every counter, and what it moved by since the last stop that is known."""
    from gdbplugin.records import asdict

    since = counters.since
    if since is None:
        heading = "Counters (rates come with a second look, at a later stop)"
    else:
        heading = f"Counters, and what changed in {style.duration(since.seconds)} since the last look"
    headers = ("counter", "value") if since is None else ("counter", "value", "change", "per second")
    # What other kernels count as well is left out where this one does not: a note names it.
    own = {name: value for name, value in counters.counters.items() if value is not None}
    groups = [asdict(counters.stats), own]
    rows = [_row(name, value, since, style) for group in groups for name, value in group.items()]
    found = style.table(headers, rows, headers[1:], dispensable=("change",))
    return style.sections([style.title(heading) + "\n" + found], counters)


def _row(name: str, value: int | None, since: Changes | None, style: Style) -> tuple[str, ...]:
    row = (name, style.count(value))
    if since is None:
        return row
    change, rate = since.changes.get(name), since.per_second.get(name)
    if not change or rate is None:
        return (*row, "" if change == 0 else style.missing, "")
    return (*row, f"{change:+,}", f"{rate:+,.1f}")


def summary(
    counters: Counters, style: Style, *, strategies: bool = True, spaces: bool = True
) -> list[tuple[str, str]]:
    """What a report says of them: a word and a line each.

    `strategies` and `spaces` say whether the kernel has such things, of which our own counts the runs and the
    switches.
    """
    stats, count, counted = counters.stats, style.count, style.counted
    runs = "strategy run" if strategies else "optimization"
    return [
        (
            "Stacks",
            f"{count(stats.active_dynamic_stacks)} active of {count(stats.total_dynamic_stacks)} created, "
            f"{counted(stats.total_stack_growth_events, 'growth')}, "
            f"{counted(stats.total_stack_shrink_events, 'shrink')}",
        ),
        (
            "Lazy pages",
            f"{count(stats.total_lazy_pages)} reserved, {count(stats.allocated_lazy_pages)} allocated, "
            f"{counted(stats.total_lazy_page_faults, 'fault')}",
        ),
        (
            "Pressure",
            f"{counted(stats.memory_pressure_events, 'level change')}, "
            f"{counted(stats.optimization_events, runs)}",
        ),
        (
            "Switches",
            _switches(counters, style) if spaces else count(stats.context_switch_count),
        ),
        *([] if counters.enabled is None else [("Enabled", "yes" if counters.enabled else "no")]),
    ]


def _switches(counters: Counters, style: Style) -> str:
    said = f"{style.count(counters.stats.context_switch_count)} of address spaces"
    fast = counters.counters.get("fast_switches")
    return said if fast is None else f"{said}, {style.count(fast)} of them without any invalidation"


HELP = """Show the counters of TinyOS's memory management, and how fast they move.

It lists the ten counters of DynamicMemoryStats, then those of the lazy page allocator, the frame pool,
the context switcher and the scheduler. Changes are counted from the last `tinyos stats` or `tinyos report`
at an earlier stop; rates are per second of the kernel's own timer.
"""
COMMAND = Command(
    "stats",
    Form("tinyos.stats/1", read, show),
    help=HELP,
    letter="s",
)
