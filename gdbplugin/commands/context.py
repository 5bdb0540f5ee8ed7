"""`tinyos context`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.aarch64.registers import TableRegister
    from gdbplugin.kernel.kernel_test import ContextTestRun, TaskChange
    from gdbplugin.kernel.spaces import AddressSpace, Context, CoreContext
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.tasks import Names
    from gdbplugin.render import Style


def read(target: Target) -> Context:
    """What each core translates by, and the address spaces."""
    from gdbplugin.kernel.spaces import read_context

    return read_context(target.required_kernel())


def show(context: Context, style: Style) -> str:
    """The cores, the counters of switching, and the address spaces."""
    from gdbplugin.kernel.tasks import task_names

    names = task_names(context.scheduler)
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
    state = next((task.state for task in context.tasks or () if task.id == space.number), None)
    generation = context.spaces.generation
    notes = [f"core {core.core}" for core in context.cores if core.space == space.number]
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
    rows = [_core(core, style) for core in context.cores]
    headers = ("core", "level", "EL1 MMU", "", "value", "table", "ASID", "CnP", "holds")
    flat = [line for lines in rows for line in lines]
    least = ("CnP", "EL1 MMU")
    found = style.table(headers, flat, ("ASID", "CnP"), dispensable=least)
    lines = [style.title("Cores"), found]
    for regime in dict.fromkeys(core.own_regime for core in context.cores):
        if regime is None:
            continue
        those = [str(core.core) for core in context.cores if core.own_regime == regime]
        tables = f"table {style.address(regime.table)}" if regime.enabled else "MMU off"
        said = f"  core{'s' if len(those) > 1 else ''} {', '.join(those)}: {regime.name} regime, {tables}"
        lines += style.wrapped(said)
    return "\n".join(lines)


def _core(core: CoreContext, style: Style) -> list[tuple[str, ...]]:
    level = style.missing if core.exception_level is None else f"EL{core.exception_level}"
    mmu = {None: style.missing, True: "on", False: "off"}[core.mmu_enabled]
    holds = "" if core.space is None else f"space {core.space}"
    return [
        (str(core.core), level, mmu, "TTBR0_EL1", *_register(core.ttbr0, style), holds),
        ("", "", "", "TTBR1_EL1", *_register(core.ttbr1, style), ""),
    ]


def _register(register: TableRegister | None, style: Style) -> tuple[str, str, str, str]:
    if register is None:
        return (style.missing,) * 4
    common = "1" if register.common_not_private else "0"
    return f"{register.value:#018x}", style.address(register.base), str(register.asid), common


_MEANINGS = {
    "switch_count": "switches of address spaces",
    "fast_switch_count": "  without any invalidation",
    "invalidations_by_address": "TLB invalidations by address",
    "invalidations_by_asid": "  by ASID",
    "invalidations_of_everything": "  of everything",
    "asid_allocations": "ASIDs handed out",
    "asid_rollovers": "ASID rollovers",
    "asid_generations": "ASID generations",
}


def read_test(target: Target) -> ContextTestRun:
    """Let the target run the context switching test. Returns what it changed."""
    from gdbplugin.kernel.kernel_test import CONTEXT

    run: ContextTestRun = target.run_test(CONTEXT)
    return run


def read_last_test(target: Target) -> ContextTestRun:
    """The latest run of the context switching test again."""
    from gdbplugin.kernel.kernel_test import CONTEXT

    run: ContextTestRun = target.last_test(CONTEXT)
    return run


def show_test(run: ContextTestRun, style: Style) -> str:
    """The run as text."""
    from gdbplugin.commands.stress import signed

    paint = style.good if run.result == "passed" else style.bad
    headline = f"Context switching test: {paint(run.result)}"
    if run.seconds is not None:
        headline += f", {run.seconds:.2f} s of the kernel's time"
    lines = style.wrapped(headline)
    for name, change in run.changes.items():
        lines.append(f"  {_MEANINGS[name]:<30}{signed(change, style) or '0':>8}")
    rows = [
        (
            style.text(task.id),
            task.name,
            "started meanwhile" if task.is_new else "",
            signed(task.switches, style) or "0",
            _end(task, style),
        )
        for task in run.tasks
    ]
    if rows:
        headers = ("task", "name", "", "switches", "now")
        lines.append(style.table(headers, rows, ("task", "switches")))
    return "\n".join(lines) + "\n" + style.diagnostics(run)


def _end(task: TaskChange, style: Style) -> str:
    if task.state == "Ended" and task.end_reason is not None:
        return f"Ended: {task.end_reason}"
    return style.text(task.state)


_TEST = "tinyos.context-test/1"
HELP = """Show what each core translates by, and the address spaces that TinyOS switches between.

It shows the fields of TTBR0_EL1 and TTBR1_EL1 of every core; each address space with its task, table, ASID,
generation and switches; and the TLB invalidations by kind.
With --test the target runs the kernel's own test of switching. The command asks for the test by writing a
word of the kernel's interface for debuggers, and the target stops again when the test ends.
"""
COMMAND = Command(
    "context",
    Form("tinyos.context/1", read, show, rows=lambda found: found.context.spaces),
    help=HELP,
    letter="c",
    options=(
        Option(
            "--test",
            "run the kernel's context switching test in the target, and show what changed",
            form=Form(_TEST, read_test, show_test, runs_target=True),
        ),
        Option(
            "--last-test",
            "only show the latest run of that test again",
            form=Form(_TEST, read_last_test, show_test),
        ),
    ),
)
