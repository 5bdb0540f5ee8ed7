"""What a command reads from: a stopped machine, its program's names, and TinyOS if that is what runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.kernel import Kernel, SelectionError
from gdbplugin.machine import Machine, MachineError
from gdbplugin.records import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.kernel_test import KernelTest

_LARGEST = (1 << 64) - 1


class Symbols(Protocol):
    """The names of a program."""

    def address(self, name: str) -> int | None:
        """The address of a symbol; None if there is none of that name."""

    def name(self, address: int) -> str | None:
        """The symbol that covers an address, as `main + 16`; None if none does."""

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """The program's loaded sections: start, exclusive end, name."""


class NoSymbols:
    """A program of which nothing is known."""

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


class Target:
    """The machine, the number of the core that the user has selected, and TinyOS if that is what runs.

    What is noticed during one command goes into `journal`. Whether TinyOS runs is read only when `kernel` or
    `required_kernel` is first used. Front ends derive from this class: a debugger evaluates expressions,
    disassembles, and can let the target run.
    """

    def __init__(
        self, machine: Machine | None, core: int | None, journal: Journal, find_kernel: Callable[[], Kernel]
    ) -> None:
        self._machine = machine
        self._core = core
        self.journal = journal
        self._find_kernel = find_kernel
        self._kernel: Kernel | None = None
        self._reason: MachineError | None = None

    @property
    def machine(self) -> Machine:
        """The stopped machine."""
        assert self._machine is not None, "who gives none overrides this"
        return self._machine

    @property
    def core(self) -> int:
        """The number of the selected core."""
        assert self._core is not None, "who gives none overrides this"
        return self._core

    @property
    def kernel(self) -> Kernel | None:
        """TinyOS; None if another program is loaded, or the kernel has not set up its memory yet."""
        try:
            return self.required_kernel()
        except MachineError:
            return None

    def required_kernel(self) -> Kernel:
        """TinyOS; raises the `MachineError` that says why there is none."""
        if self._kernel is None:
            if self._reason is None:
                try:
                    self._kernel = self._find_kernel()
                    self._kernel.regime  # noqa: B018 (found now, or not at all)
                    return self._kernel
                except MachineError as error:
                    self._kernel, self._reason = None, error
            raise self._reason
        return self._kernel

    @property
    def symbols(self) -> Symbols:
        """The names of the loaded program."""
        return NoSymbols()

    def disassemble(self, core: int, address: int, word: int) -> str | None:
        """The text of the instruction `word` at a virtual address; None where it cannot be disassembled."""
        del core, address, word
        return None

    def address(self, text: int | str) -> int:
        """The value of an address or expression, 64 bits; raises `SelectionError`."""
        if isinstance(text, int):
            return text & _LARGEST
        return self._evaluate(text)

    def range(self, given: Sequence[int | str | None]) -> tuple[int, int]:
        """Start and exclusive end of `(start, end)` or `(start, None, size)`; raises `SelectionError`."""
        start, end, *size = given
        first = self.address(start or 0)
        last = first + self.address(size[0] or 0) if size else self.address(end or 0)
        if last <= first:
            words = f"{_text(start)}+{_text(size[0])}" if size else f"{_text(start)}..{_text(end)}"
            raise SelectionError(f'"{words}" is an empty range: END must be greater than START')
        return first, last

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
