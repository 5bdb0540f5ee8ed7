"""Each task of a stopped kernel as a core of its own, for a debugger that shows it as a thread.

An ELF core has one address space, and tasks use the same addresses for different pages: so it is one core for
each task, with the task's pages and the kernel's image, but without the linear map of all memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.registers import exception_level
from gdbplugin.aarch64.walk import prefetch_walks, translate
from gdbplugin.dump.contents import joined, kernel_half, space_regimes, space_segments, thread_of
from gdbplugin.dump.core_file import Contents, Segment, Thread, not_zero
from gdbplugin.dump.machine import FIRST_TASK_NUMBER, STATUS_NAMES, status
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import LINEAR_MAP, MemoryRange, read_memory_map
from gdbplugin.kernel.kernel import Kernel, NotTinyOSError
from gdbplugin.kernel.tasks import Context, Tasks, read_contexts, read_tasks
from gdbplugin.machine import CachedMachine, Machine, PhysicalReadError, prefetch
from gdbplugin.records import dataclass

# How many bytes are copied of a task's own memory, and of the kernel's image into all cores together: where
# RAM can be read as a file, and where a debug stub sends it, at some 20 MiB a second.
_MOST_OF_FILE = (16 << 20, 48 << 20)
_MOST_BY_PACKETS = (128 << 10, 512 << 10)
_MOST_OF_KERNEL_STACK = 64 << 10
# Of more tasks, a debug stub is asked for the stacks alone: reading all their tables takes too long.
_MOST_TASKS_BY_PACKETS = 8
_MOST_OF_STACKS = 512 << 10
_PAGE = 4096
UNBUFFERED = 0x007E_0000_0000_0000
"""An address in each core, which no translation table can map. Its zeros are at the end of the file: reading
them makes a debugger forget what it has buffered of the rest."""


@dataclass(frozen=True)
class TaskCore:
    """A task as a core."""

    task: int
    """Its number."""
    name: str
    """Its name."""
    contents: Contents
    """One thread, and where its memory lies."""
    memory: tuple[tuple[int, bytes], ...]
    """That memory: physical address and bytes."""


@dataclass(frozen=True)
class TaskThread:
    """A task that a debugger shows as a thread."""

    inferior: int
    """GDB's number of the inferior that it is in."""
    task: int
    """Its number."""
    name: str
    """Its name."""


@dataclass(frozen=True)
class TaskThreads(Diagnosed):
    """The tasks that a debugger shows as threads."""

    is_on: bool
    """Whether it does, at each stop."""
    threads: tuple[TaskThread, ...]
    """Those of the last stop."""


class KnownSpaces:
    """What address spaces mapped before, by their root tables: walking the tables of 64 takes long."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[list[tuple[int, bytes]], list[Segment]]] = {}

    def segments(self, kernel: Kernel, regime: TranslationRegime, memory_size: int) -> list[Segment]:
        """What a space maps; its tables are walked only if one of them has changed."""
        machine, control = kernel.machine, regime.lower
        size = 1 << control.granule_bits
        tables, found = self._known.get(control.base, ([], []))
        try:
            if tables and all(machine.read_physical(address, size) == data for address, data in tables):
                return found
            visited: list[int] = []
            found = space_segments(kernel, regime, memory_size, visited)
            tables = [(address, machine.read_physical(address, size)) for address in visited]
        except PhysicalReadError:
            return space_segments(kernel, regime, memory_size)
        self._known[control.base] = tables, found
        return found


def read_task_cores(kernel: Kernel, ram: Machine | None, known: KnownSpaces | None = None) -> list[TaskCore]:
    """The tasks that are alive. `ram` reads physical memory fast, if something does.

    `known` is what is known of an earlier stop. Raises `NotTinyOSError` for a kernel without tasks on record,
    and other `MachineError`s.
    """
    if ram is not None:
        fast = CachedMachine(_RamMachine(kernel.machine, ram))
        kernel = Kernel(fast, kernel.layout, kernel.diagnostics, kernel.history)
    tasks = read_tasks(kernel)
    if tasks is None:
        raise NotTinyOSError("this kernel has no tasks on record")
    contexts = read_contexts(kernel)
    threads = {
        task.id or 0: thread
        for task in tasks.tasks
        if task.is_alive and (thread := _thread(kernel, tasks, task.id or 0, contexts)) is not None
    }
    linear = [one for one in read_memory_map(kernel) if one.kind == LINEAR_MAP]
    end = max((one.physical + one.end - one.start for one in linear), default=1 << 48)
    segments = _segments(kernel, threads, linear, end, None if ram is None else known or KnownSpaces())
    memory = _Memory(kernel.machine if ram is None else ram)
    memory.fetch([segment for of_task in segments.values() for segment in of_task])
    found = []
    for number, thread in threads.items():
        unbuffered = Segment(UNBUFFERED, end, _PAGE)
        contents = Contents((thread,), (*segments[number], unbuffered), {}, end + _PAGE, ranges=())
        name = next(task.name for task in tasks.tasks if task.id == number)
        found.append(TaskCore(number, name, contents, memory.of(segments[number])))
    return found


def _segments(
    kernel: Kernel,
    threads: dict[int, Thread],
    linear: Sequence[MemoryRange],
    end: int,
    known: KnownSpaces | None,
) -> dict[int, list[Segment]]:
    """What each task's core has: of the kernel's image, of the task's memory, and its stack in the kernel.

    Nothing of the `linear` map, and nothing beyond the physical address `end`. If `known` is None, memory is
    read by packets.
    """
    most_of_space, most_of_kernel = _MOST_BY_PACKETS if known is None else _MOST_OF_FILE
    upper = [
        segment
        for segment in kernel_half(kernel.machine, end)
        if not any(one.start <= segment.virtual < one.end for one in linear)
    ]
    shared = _smallest(upper, most_of_kernel // max(len(threads), 1))
    tops = {number: _stack_pointer(thread) for number, thread in threads.items()}
    regimes = {number: regime for number, regime in space_regimes(kernel).items() if number in tops}
    if known is not None:
        own = {number: known.segments(kernel, regime, end) for number, regime in regimes.items()}
    elif len(regimes) > _MOST_TASKS_BY_PACKETS:
        own = _stacks(kernel.machine, regimes, tops, end)
    else:
        own = {number: space_segments(kernel, regime, end) for number, regime in regimes.items()}
    return {
        number: [
            *shared,
            *_nearest(own.get(number, ()), top, most_of_space),
            *_kernel_stack(upper, shared, top),
        ]
        for number, top in tops.items()
    }


def _stack_pointer(thread: Thread) -> int:
    return thread.registers[STATUS_NAMES.index("SP")]


def _stacks(
    machine: Machine, regimes: dict[int, TranslationRegime], tops: dict[int, int], end: int
) -> dict[int, list[Segment]]:
    """The used part of each task's stack, by the regime and the stack pointer of the task.

    Not that of the shell, which runs on the kernel's.
    """
    regimes = {n: regime for n, regime in regimes.items() if regime.control(tops[n]) is regime.lower}
    prefetch_walks(machine, [(regime.lower, tops[number]) for number, regime in regimes.items()])
    most = _MOST_OF_STACKS // max(len(regimes), 1)
    return {
        number: joined(_pages_from(machine, regime, tops[number], most), end)
        for number, regime in regimes.items()
    }


def _pages_from(
    machine: Machine, regime: TranslationRegime, address: int, most: int
) -> Iterator[tuple[int, int, int]]:
    """The pages of a stack from its pointer on, as far as they are mapped, up to `most` bytes.

    An empty stack ends where its pointer is: the page below an aligned pointer belongs to it if it is mapped.
    """
    first = max(address - 1, 0) & ~(_PAGE - 1)
    for page in range(first, first + most, _PAGE):
        physical = translate(machine, regime, page).output
        if physical is not None:
            yield page, physical, _PAGE
        elif page >= address:
            return


def _thread(kernel: Kernel, tasks: Tasks, number: int, contexts: dict[int, Context]) -> Thread | None:
    """A task's registers: those of core 0 if it runs there now, else as the kernel saved them."""
    machine, core = kernel.machine, kernel.machine.cores[0]
    if number == tasks.current and (number == 0 or exception_level(machine, core) == 0):
        values = {name: machine.register(name, core) for name in STATUS_NAMES}
        return status(FIRST_TASK_NUMBER + number, values)
    context = contexts.get(number)
    return None if context is None else thread_of(number, context)


def _smallest(segments: Iterable[Segment], most: int) -> list[Segment]:
    """The smallest segments, as many as `most` bytes have room for."""
    found = []
    for segment in sorted(segments, key=lambda one: one.size):
        most -= segment.size
        if most < 0:
            break
        found.append(segment)
    return found


def _kernel_stack(upper: Iterable[Segment], shared: Sequence[Segment], stack_pointer: int) -> list[Segment]:
    """The used part of the kernel's stack on which a task runs, if it is not copied anyway.

    It has the frames of the shell, and `_smallest` may have left it out.
    """
    page = stack_pointer & ~0xFFF
    for one in upper:
        if one.virtual <= page < one.virtual + one.size and one not in shared:
            size = min(one.virtual + one.size - page, _MOST_OF_KERNEL_STACK)
            return [Segment(page, one.physical + page - one.virtual, size)]
    return []


def _nearest(segments: Sequence[Segment], stack_pointer: int, most: int) -> list[Segment]:
    """The segments above a stack pointer, then those below it from the nearest on, up to `most` bytes."""
    page = stack_pointer & ~0xFFF
    above = [one for one in segments if one.virtual + one.size > page]
    below = [one for one in segments if one.virtual + one.size <= page]
    found = []
    for segment in (*sorted(above), *sorted(below, reverse=True)):
        if segment.size > most:
            continue
        most -= segment.size
        found.append(segment)
    return found


class _RamMachine:
    """A machine whose memory is read as a file. The tables of 64 tasks are 1,500 packets."""

    def __init__(self, machine: Machine, ram: Machine) -> None:
        self.cores = machine.cores
        self.register = machine.register
        self.read_physical = ram.read_physical


class _Memory:
    """Reads each range once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[tuple[int, int], tuple[tuple[int, bytes], ...]] = {}

    def of(self, segments: Sequence[Segment]) -> tuple[tuple[int, bytes], ...]:
        """The memory of segments that is not zero and can be read: physical address and bytes."""
        return tuple(part for one in self._ranges(segments) for part in self._parts(*one))

    def fetch(self, segments: Sequence[Segment]) -> None:
        """Fetch all memory of segments at once, if that is faster."""
        prefetch(self._machine, self._ranges(segments))

    @staticmethod
    def _ranges(segments: Sequence[Segment]) -> list[tuple[int, int]]:
        return sorted({(one.physical, one.size) for one in segments})

    def _parts(self, physical: int, size: int) -> tuple[tuple[int, bytes], ...]:
        known = self._known.get((physical, size))
        if known is None:
            try:
                data = self._machine.read_physical(physical, size)
            except PhysicalReadError:
                data = b""
            parts = not_zero(data)
            known = self._known[physical, size] = tuple((physical + offset, part) for offset, part in parts)
        return known
