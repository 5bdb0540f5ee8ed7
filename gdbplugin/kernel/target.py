"""What a command reads from: a stopped machine, its program's names, and TinyOS if that is what runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.machine import Machine, MachineError, SelectionError
from gdbplugin.records import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.aarch64.unwind import CallFrames
    from gdbplugin.kernel.kernel_test import KernelTest
    from gdbplugin.kernel.translation_watch import Watching
    from gdbplugin.layout.code import CodeMap
    from gdbplugin.layout.elf import ElfImage
    from gdbplugin.layout.types import Layout

_LARGEST = (1 << 64) - 1


class CommandRun(NamedTuple):
    """What came of a command of the debugger: its output, if it was kept, and its error."""

    output: str
    error: str | None


class Symbols(Protocol):
    """The names of a program."""

    def address(self, name: str) -> int | None:
        """The address of a symbol; None if there is none of that name."""

    def name(self, address: int) -> str | None:
        """The symbol that covers an address, as `main + 16`; None if none does."""

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """The program's loaded sections: start, exclusive end, name."""


class NoSymbols:
    """A program whose names are not known."""

    def address(self, name: str) -> int | None:
        """See `Symbols`."""
        del name
        return None

    def name(self, address: int) -> str | None:
        """See `Symbols`."""
        del address
        return None

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """See `Symbols`."""
        return ()


class StoredMemory(Protocol):
    """All physical memory of a machine, in a file: the guest's RAM, or a dump."""

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Its ranges of physical memory: start and size."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from a physical address; raises `PhysicalReadError`."""

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Its memory that may not be zero, by address: address and bytes, at most 1 MiB at once."""

    def close(self) -> None:
        """Close the file."""


class Target:
    """The machine, the number of the core that the user has selected, and TinyOS if that is what runs.

    Findings and notes of one command go into `diagnostics`. TinyOS is looked for only when `kernel` or
    `required_kernel` is first used. Front ends derive from this class: a debugger evaluates expressions,
    disassembles, and can let the target run.
    """

    def __init__(
        self,
        machine: Machine | None,
        core: int | None,
        diagnostics: Diagnostics,
        find_kernel: Callable[[], Kernel],
    ) -> None:
        self._machine = machine
        self._core = core
        self.diagnostics = diagnostics
        self._find_kernel = find_kernel
        self._kernel: Kernel | None = None
        self._reason: MachineError | None = None

    @property
    def machine(self) -> Machine:
        """The stopped machine."""
        assert self._machine is not None, "a subclass that gives no machine overrides this"
        return self._machine

    @property
    def core(self) -> int:
        """The number of the selected core."""
        assert self._core is not None, "a subclass that gives no core overrides this"
        return self._core

    @property
    def kernel(self) -> Kernel | None:
        """TinyOS; None if another program is loaded, or the kernel has not set up its memory yet."""
        try:
            return self.required_kernel()
        except MachineError:
            return None

    def required_kernel(self) -> Kernel:
        """TinyOS; raises a `MachineError` that says why there is none."""
        if self._reason is not None:
            raise self._reason
        if self._kernel is None:
            try:
                kernel = self._find_kernel()
                kernel.regime  # noqa: B018 (raises now if it is not TinyOS, or not ready)
            except MachineError as error:
                self._reason = error
                raise
            self._kernel = kernel
        return self._kernel

    @property
    def symbols(self) -> Symbols:
        """The names of the loaded program."""
        return NoSymbols()

    @property
    def code(self) -> CodeMap | None:
        """The functions and lines of the loaded program; None if they are not known."""
        return None

    @property
    def call_frames(self) -> CallFrames | None:
        """The call frame information of the loaded program; None if it has none."""
        return None

    @property
    def how_to_keep_stops(self) -> str:
        """What makes the objects of a stop known at a later one, in words."""
        return "nothing keeps any here"

    @property
    def session_code(self) -> str:
        """The call of the library that begins a session with this target."""
        return "TinyOS.boot()"

    def program(self) -> tuple[ElfImage, Layout]:
        """The loaded program and its layout, also without a machine; raises a `MachineError`."""
        raise MachineError("no kernel is loaded, by whose debug information a dump could be read")

    def disassemble(self, core: int, address: int, word: int) -> str | None:
        """The text of the instruction `word` at a virtual address; None if it cannot be disassembled."""
        del core, address, word
        return None

    def address(self, text: int | str) -> int:
        """The value of an address or expression, 64 bits; raises `SelectionError`."""
        if isinstance(text, str):
            return self._evaluate(text)
        if not isinstance(text, int) or not 0 <= text <= _LARGEST:
            raise SelectionError(f"{text!r} is not an address of 64 bits")
        return text

    def range(self, given: Sequence[int | str | None]) -> tuple[int, int]:
        """Start and exclusive end of `(start, end)` or `(start, None, size)`; raises `SelectionError`."""
        start, end, *size = given
        first = self.address(start or 0)
        if size:
            last = first + self.address(size[0] or 0)
        else:
            last = end if end == _LARGEST + 1 else self.address(end or 0)
        words = f"{_text(start)}+{_text(size[0])}" if size else f"{_text(start)}..{_text(end)}"
        if last > _LARGEST + 1:
            raise SelectionError(f'"{words}" goes beyond the last address, {_LARGEST:#x}')
        if last <= first:
            raise SelectionError(f'"{words}" is an empty range: END must be greater than START')
        return first, last

    @property
    def memory_map(self) -> MemoryMap:
        """QEMU's map of the machine's physical memory; without a range if it is not known."""
        return MemoryMap()

    def stored_memory(self) -> StoredMemory | None:
        """All of the memory as a file; None if the machine must be asked for each part of it."""
        return None

    @property
    def is_interactive(self) -> bool:
        """Whether a person reads the answer: Ctrl-C then ends long work with what was found."""
        return False

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A function that shows how far long work is, for the length of a `with`."""
        yield lambda _: None

    def memory_parts(self) -> tuple[int, Iterator[tuple[int, bytes]]]:
        """The size of the machine's memory, and its parts that may not be zero: address and bytes."""
        raise MachineError("all of the memory can be read only from a live machine")

    def open_dump(self, file: str, registers: Mapping[str, int]) -> Any:
        """Open a dump in place of another, with registers that it lacks; returns what was opened."""
        del file, registers
        raise MachineError("a dump can be opened only by a debugger, or as a session")

    def show_task_threads(self, wanted: bool | None) -> Any:
        """Show each task as a thread from now on, or no longer; None leaves it. Returns what is shown."""
        del wanted
        raise MachineError("tasks can be shown as threads only by a debugger")

    def console_text(self) -> str:
        """The end of what the kernel has printed, as far as it is known here."""
        return ""

    def recording_path(self) -> str:
        """The file of the recording of this machine. Raises `MachineError` if nothing records it."""
        raise MachineError("this target is not recorded: start it with `scripts/run --record`")

    def travel(self, bring: Callable[[Callable[[str], None]], None]) -> Machine:
        """Let `bring` take the machine to another moment; returns it as it is there.

        `bring` is given a function that shows how far it is.
        """
        del bring
        raise MachineError("a machine goes back only in a debugger or a session")

    def translation_watches(self) -> Watching:
        """What watches translations. Raises `MachineError` where nothing can."""
        raise MachineError("only a debugger at a live machine watches translations")

    def run_command(self, command: str) -> CommandRun:
        """Let the debugger carry out one of its own commands, after which the machine is another."""
        del command
        raise MachineError("only a debugger carries out commands")

    def run_test(self, test: KernelTest) -> Any:
        """Let the target run one of the kernel's own tests; returns what it changed."""
        raise MachineError(f"the {test.name} can be run only by a debugger")

    def last_test(self, test: KernelTest) -> Any:
        """What the latest run of a test changed."""
        raise MachineError(f"the {test.name} can be run only by a debugger")

    def _evaluate(self, expression: str) -> int:
        raise SelectionError(f'"{expression}" is not a number, and there is no debugger to evaluate it')


def _text(address: int | str | None) -> str:
    return hex(address) if isinstance(address, int) else str(address)
