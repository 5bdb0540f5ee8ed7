"""What goes into a dump of a stopped machine: registers, threads, address spaces, and what wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.description import REGISTERS
from gdbplugin.aarch64.maps import Bounds, leaves
from gdbplugin.aarch64.regime import (
    TRANSLATION_REGISTERS,
    RegimeUnknownError,
    TranslationRegime,
    el1_regime,
)
from gdbplugin.aarch64.registers import GENERAL_REGISTERS
from gdbplugin.aarch64.tables import Malformed
from gdbplugin.dump.core_file import Contents, Segment, Thread
from gdbplugin.dump.machine import FIRST_CORE_NUMBER, FIRST_TASK_NUMBER, status
from gdbplugin.kernel.kernel import Kernel, KernelNotReadyError
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Context, read_contexts, read_tasks
from gdbplugin.machine import Machine

FORMAT = 1
"""The version of the information in a dump."""
# Those that commands read beside the registers that they show.
_OTHERS = (
    *("SP", "PC", "CPSR", "SP_EL0", "CNTFRQ_EL0", "CNTVCT_EL0", "CNTV_CVAL_EL0"),
    *("ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1"),
)
SAVED_REGISTERS = tuple(dict.fromkeys((*GENERAL_REGISTERS, *_OTHERS, *TRANSLATION_REGISTERS, *REGISTERS)))
MOST_CONSOLE_BYTES = 64 * 1024
"""How much of the end of the console's output a dump has."""


def read_contents(target: Target, memory_size: int, writer: str, written: str, console: str) -> Contents:
    """The contents of a dump of a stopped machine.

    `writer` and `written` say what wrote it, and when; `console` is what the kernel printed. Without TinyOS
    it has the cores alone.
    """
    machine, kernel = target.machine, target.kernel
    cores = [_registers(machine, core) for core in machine.cores]
    threads = [status(FIRST_CORE_NUMBER + core, values) for core, values in enumerate(cores)]
    information = {
        "format": FORMAT,
        "writer": writer,
        "written": written,
        "selected": target.core,
        "cores": cores,
        "console": console[-MOST_CONSOLE_BYTES:],
        "memory_map": [list(entry) for entry in target.memory_map.ranges],
    }
    segments = kernel_half(machine, memory_size)
    if kernel is not None:
        threads += _tasks(kernel)
        segments += _task_spaces(kernel, memory_size)
    whole = ((0, memory_size),)
    return Contents(tuple(threads), tuple(segments), information, memory_size, whole)


def _registers(machine: Machine, core: int) -> dict[str, int]:
    values = ((name, machine.register(name, core)) for name in SAVED_REGISTERS)
    return {name: value for name, value in values if value is not None}


def _tasks(kernel: Kernel) -> list[Thread]:
    """A thread for each task that does not run: that one is the thread of its core."""
    tasks = read_tasks(kernel)
    if tasks is None:
        return []
    contexts = read_contexts(kernel)
    found = []
    for task in tasks.tasks:
        context = contexts.get(task.id or 0)
        if context is None or not task.is_alive or task.id == tasks.current:
            continue
        found.append(thread_of(task.id or 0, context))
    return found


def thread_of(task: int, context: Context) -> Thread:
    """A task that does not run, by its number and the registers that the kernel saved."""
    general = dict(zip(GENERAL_REGISTERS, context.x or (), strict=False))
    values = {**general, "SP": context.sp, "PC": context.pc, "CPSR": context.pstate}
    return status(FIRST_TASK_NUMBER + task, values)


def kernel_half(machine: Machine, memory_size: int) -> list[Segment]:
    """What TTBR1 of core 0 maps; if TTBR1 translates nothing, what TTBR0 does."""
    try:
        regime = el1_regime(machine, machine.cores[0])
    except (RegimeUnknownError, IndexError):
        return []
    return _joined(machine, regime.controls[-1:], memory_size) if regime.enabled else []


def _task_spaces(kernel: Kernel, memory_size: int) -> list[Segment]:
    """What the tasks' own tables map. The first space wins where several map one address."""
    regimes = space_regimes(kernel)
    return [
        segment
        for number, regime in regimes.items()
        if number
        for segment in space_segments(kernel, regime, memory_size)
    ]


def space_regimes(kernel: Kernel) -> dict[int, TranslationRegime]:
    """The regime of each active space, by its number: what translates while the space is in TTBR0.

    Empty if the registers are not known, or the kernel does not use its own tables yet.
    """
    try:
        regime = kernel.regime
    except (KernelNotReadyError, RegimeUnknownError):
        return {}
    return {
        space.number: regime.with_lower_table(space.table, space.asid)
        for space in read_spaces(kernel).active
        if space.table is not None
    }


def space_segments(
    kernel: Kernel, regime: TranslationRegime, memory_size: int, visited: list[int] | None = None
) -> list[Segment]:
    """What the tables of a space map, by its regime; the tables' addresses are added to `visited`."""
    return _joined(kernel.machine, (regime.lower,), memory_size, visited)


def _joined(
    machine: Machine,
    controls: Sequence[TranslationControl],
    memory_size: int,
    visited: list[int] | None = None,
) -> list[Segment]:
    """The leaves of tables as segments, each as long as both addresses go on; only those in RAM."""
    return joined(_leaves(machine, controls, visited), memory_size)


def joined(mapped: Iterable[tuple[int, int, int]], memory_size: int) -> list[Segment]:
    """Mapped ranges (virtual and physical address, size; ascending) as segments; only those in RAM."""
    found: list[Segment] = []
    for virtual, physical, size in mapped:
        if physical + size > memory_size:
            continue
        last = found[-1] if found else None
        if last and (last.virtual + last.size, last.physical + last.size) == (virtual, physical):
            found[-1] = Segment(last.virtual, last.physical, last.size + size)
        else:
            found.append(Segment(virtual, physical, size))
    return found


def _leaves(
    machine: Machine, controls: Sequence[TranslationControl], visited: list[int] | None
) -> Iterator[tuple[int, int, int]]:
    for control in controls:
        if control.defect is not None:
            continue
        for leaf in leaves(machine, control, Bounds(), visited):
            if not isinstance(leaf, Malformed):
                yield leaf.start, leaf.physical, leaf.size
