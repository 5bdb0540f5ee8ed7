"""A stopped machine whatever runs on it, for the commands that do not need TinyOS."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.target import Kernel
from gdbplugin.machine import Machine, MachineError


class Stopped:
    """The machine, the number of the core that the user looks at, and TinyOS if that is what runs.

    Whether it is costs reads, and is seen to only when `kernel` or `required_kernel` is first asked for.
    """

    def __init__(
        self, machine: Machine, core: int, journal: Journal, find_kernel: Callable[[], Kernel]
    ) -> None:
        self.machine = machine
        self.core = core
        self.journal = journal
        self._find_kernel = find_kernel
        self._kernel: Kernel | None = None
        self._reason: MachineError | None = None

    @property
    def kernel(self) -> Kernel | None:
        """TinyOS; None where the loaded program is another, or the kernel is not set up yet."""
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
