"""Backtraces of tasks and cores: through exceptions to the tasks' own frames at EL0, with names and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gdbplugin.aarch64.regime import RegimeUnknownError, el1_regime, regime_at
from gdbplugin.aarch64.registers import GENERAL_REGISTERS, exception_level
from gdbplugin.aarch64.unwind import MOST_FRAMES, PROGRAM_COUNTER, STACK_POINTER, RawFrame, Unwinder
from gdbplugin.aarch64.walk import VirtualMemory
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.selection import SubstitutedMachine, choose_core
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Context, Task, Tasks, find_task, read_contexts, read_tasks
from gdbplugin.machine import Machine, SelectionError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.aarch64.regime import TranslationRegime
    from gdbplugin.aarch64.unwind import Boundary, Source
    from gdbplugin.kernel.kernel import Kernel

_UPPER_HALF = 1 << 55
_MODE = 0xF  # SPSR_EL1.M[3:0]: 0 if the exception was taken from EL0.
_VECTORS = ("exception_vectors", "resume")


@dataclass(frozen=True)
class Frame:
    """A frame of a backtrace: of a function, or of one that was inlined into the next frame's."""

    number: int
    """Its number; 0 is the innermost."""
    pc: int
    """The instruction that it will execute next; for a frame that called, the return address."""
    function: str | None
    """The function's name, with its modules; null if it is not known."""
    offset: int | None
    """Bytes from the function's first instruction to `pc`; null for an inlined function."""
    file: str | None
    """The source file; null if it is not known."""
    line: int | None
    """The line in it; null if it is not known."""
    is_inlined: bool
    """Whether the function was inlined: then it has no frame of its own on the stack."""
    is_interrupted: bool
    """Whether an exception interrupted it at `pc`; the frames before it are the handler's."""
    stack_pointer: int | None
    """Its stack pointer; null if it is not known."""
    found_by: Source
    """What it was found by: registers, call frame information, a frame record, the link register, or the
    context that the kernel saved."""


@dataclass(frozen=True)
class Backtrace:
    """The frames of a task or of a core, innermost first."""

    task: int | None
    """The task; null for a core that runs none, and in a kernel without a scheduler."""
    name: str | None
    """The task's name; null without a task."""
    state: str | None
    """The task's state; null without a task."""
    core: int | None
    """The core that runs it; null if none does."""
    frames: tuple[Frame, ...]
    """Its frames, innermost first."""
    broken: str | None
    """Why it ends before the outermost frame; null if it does not."""


@dataclass(frozen=True)
class Backtraces(Diagnosed):
    """Backtraces of one task or core, or of all."""

    backtraces: tuple[Backtrace, ...]
    """One, or with `--all` those of the tasks by their numbers, then of the cores that run none."""

    def __iter__(self) -> Iterator[Backtrace]:
        return iter(self.backtraces)

    def __len__(self) -> int:
        return len(self.backtraces)


def read_backtraces(
    target: Target,
    task: str | int | None = None,
    *,
    every: bool = False,
    core: int | None = None,
    most: int = MOST_FRAMES,
) -> Backtraces:
    """The backtrace of a task, by number or name, or of a core; with `every`, of all tasks and cores.

    By default that of the selected core. Raises `SelectionError` for a task or core that does not exist.
    """
    if sum((task is not None, every, core is not None)) > 1:
        raise SelectionError("TASK, --all and --core exclude each other: give only one of them")
    reader = BacktraceReader(target, most)
    if every:
        found = reader.every()
    elif task is not None:
        found = [reader.of_task(reader.task(task))]
    else:
        found = [reader.of_core(choose_core(target, core))]
    reader.note_problems()
    return Backtraces(tuple(found), diagnostics=target.diagnostics)


class BacktraceReader:
    """Unwinds at one stop. Without TinyOS only cores have backtraces."""

    def __init__(self, target: Target, most: int = MOST_FRAMES) -> None:
        self._target = target
        self._machine = target.machine
        self._most = most
        self._kernel: Kernel | None = target.kernel
        self.tasks: Tasks | None = read_tasks(self._kernel) if self._kernel is not None else None
        self.contexts: Mapping[int, Context] = {}
        if self._kernel is not None and self.tasks is not None:
            self.contexts = read_contexts(self._kernel)
        self._code = target.code
        self._call_frames = target.call_frames
        for problem in self._code.problems if self._code is not None else ():
            target.diagnostics.add_note(problem)

    def note_problems(self) -> None:
        """Note what could not be read of the program's call frame information, by now."""
        for problem in self._call_frames.problems if self._call_frames is not None else ():
            self._target.diagnostics.add_note(problem)

    def task(self, wanted: str | int) -> Task:
        """A task by its number or name. Raises `SelectionError`."""
        if self.tasks is None:
            self._target.required_kernel()
            raise SelectionError("this kernel has no tasks on record")
        return find_task(self.tasks, wanted)

    def every(self) -> list[Backtrace]:
        """Of every task that lives, then of the cores that run none."""
        found = [self.of_task(task) for task in self._living()]
        running = {one.core for one in found}
        return found + [self.of_core(core) for core in self._machine.cores if core not in running]

    def _living(self) -> Sequence[Task]:
        return [task for task in self.tasks.tasks if task.is_alive] if self.tasks is not None else ()

    def of_core(self, core: int) -> Backtrace:
        """What a core executes."""
        task = self._running() if core == self._first_core else None
        return self._backtrace(task, core, self._machine, _core_registers(self._machine, core))

    def of_task(self, task: Task) -> Backtrace:
        """What a task executes, or will when it runs again."""
        if task == self._running():
            return self.of_core(self._first_core)
        if not task.is_alive:
            reason = f"it has ended ({task.end_reason}), and no longer has memory"
            return Backtrace(task.id, task.name, task.state, None, (), reason)
        context = self.contexts.get(task.id or 0)
        if context is None or context.pc is None:
            return Backtrace(task.id, task.name, task.state, None, (), "its registers are not on record")
        return self._backtrace(task, None, self._machine_of(task), context.by_number(), "context")

    def _running(self) -> Task | None:
        """The task whose registers are in the CPU."""
        if self.tasks is None:
            return None
        return next((task for task in self.tasks.tasks if task.id == self.tasks.current), None)

    @property
    def _first_core(self) -> int:
        """The core that runs tasks: the others are parked."""
        return self._machine.cores[0]

    def _machine_of(self, task: Task) -> Machine:
        """The machine with the tables of a task's address space, also if another one is in use."""
        assert self._kernel is not None
        space = read_spaces(self._kernel).of(task.id)
        if space is None or space.table is None:
            return self._machine
        registers = {"TTBR0_EL1": space.table | (space.asid or 0) << 48}
        return SubstitutedMachine(self._machine, self._first_core, registers)

    def _backtrace(
        self,
        task: Task | None,
        core: int | None,
        machine: Machine,
        registers: Mapping[int, int],
        source: Source = "registers",
    ) -> Backtrace:
        frames: list[Frame] = []
        broken: str | None = "its PC is not known"
        if PROGRAM_COUNTER in registers:
            try:
                memory = VirtualMemory(machine, _regime(machine, self._first_core if core is None else core))
                unwinder = Unwinder(memory, self._call_frames, self._interrupted(task), self._function_start)
                found = unwinder.unwind(registers, self._most, source)
                raw, broken = list(found.frames), found.broken or None
                interrupted = self._before_entry(raw, core, registers)
                if interrupted is not None:
                    found = unwinder.unwind(interrupted, self._most, source)
                    raw, broken = [*raw, *found.frames], found.broken or None
                for one in raw:
                    frames += self._named(one, len(frames))
            except RegimeUnknownError as error:
                broken = str(error)
        if task is None:
            return Backtrace(None, None, None, core, tuple(frames), broken)
        return Backtrace(task.id, task.name, task.state, core, tuple(frames), broken)

    def _interrupted(self, task: Task | None) -> Boundary:
        """Returns the registers that a task had when an exception interrupted it, for the entry's frame."""

        def registers(frame: RawFrame) -> Mapping[int, int] | None:
            if task is None or not frame.pc & _UPPER_HALF or self._code is None:
                return None
            function = self._code.function(frame.instruction)
            context = self.contexts.get(task.id or 0)
            if function is None or function.name not in _VECTORS or context is None or context.pc is None:
                return None
            return context.by_number()

        return registers

    def _before_entry(
        self, frames: Sequence[RawFrame], core: int | None, registers: Mapping[int, int]
    ) -> Mapping[int, int] | None:
        """A task's registers where a core is at the first instructions of an exception's entry, else None.

        No call frame information can lead out of there: the task's PC and stack pointer are still in ELR_EL1
        and SP_EL0.
        """
        if core is None or len(frames) != 1 or self._code is None:
            return None
        function = self._code.function(frames[0].pc)
        names = ("SPSR_EL1", "ELR_EL1", "SP_EL0")
        state, pc, pointer = (self._machine.register(name, core) for name in names)
        if function is None or function.name not in _VECTORS or state is None or state & _MODE or not pc:
            return None
        found = {**registers, PROGRAM_COUNTER: pc}
        return found if pointer is None else {**found, STACK_POINTER: pointer}

    def _function_start(self, address: int) -> int | None:
        function = self._code.function(address) if self._code is not None else None
        return function.entry if function is not None else None

    def _named(self, raw: RawFrame, number: int) -> list[Frame]:
        """A frame with its names, after those of the functions inlined into it."""
        places = self._code.places(raw.instruction) if self._code is not None else ()
        interrupted = raw.is_exact and number > 0
        beyond = raw.pc - raw.instruction
        frames = [
            Frame(
                number=number + place,
                pc=raw.pc,
                function=found.function,
                offset=None if found.offset is None else found.offset + beyond,
                file=found.file,
                line=found.line,
                is_inlined=found.offset is None,
                is_interrupted=interrupted and place == 0,
                stack_pointer=raw.stack_pointer,
                found_by=raw.source,
            )
            for place, found in enumerate(places)
        ]
        if frames:
            return frames
        unknown = (None, None, None, None, False)
        return [Frame(number, raw.pc, *unknown, interrupted, raw.stack_pointer, raw.source)]


def _regime(machine: Machine, core: int) -> TranslationRegime:
    """The regime that translates the addresses of code and stacks on a core."""
    level = exception_level(machine, core)
    return el1_regime(machine, core) if level in (None, 0, 1) else regime_at(machine, core, level)


def _core_registers(machine: Machine, core: int) -> dict[int, int]:
    """A core's general registers by their DWARF numbers, without those that cannot be read."""
    names = (*GENERAL_REGISTERS, "SP", "PC")
    values = ((number, machine.register(name, core)) for number, name in enumerate(names))
    return {number: value for number, value in values if value is not None}
