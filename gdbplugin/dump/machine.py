"""A dump as a machine: what every read-only command reads from instead of the live one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gdbplugin.aarch64.registers import GENERAL_REGISTERS
from gdbplugin.dump.core_file import CoreFile, DumpError, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST_CORE_NUMBER = 1
"""The thread number of core 0; the following cores have the following numbers."""
FIRST_TASK_NUMBER = 1000
"""The thread number of task 0; the following tasks have the following numbers."""
STATUS_NAMES = (*GENERAL_REGISTERS, "SP", "PC", "CPSR")


class DumpMachine:
    """The machine in a dump that tinyos-gdb wrote; satisfies `gdbplugin.machine.Machine`.

    Raises `DumpError` if something else wrote it: `gdbplugin.dump.foreign` converts that.
    """

    def __init__(self, path: Path) -> None:
        self.file = CoreFile(path)
        saved = self.information.get("cores")
        if not isinstance(saved, list):
            self.file.close()
            raise DumpError(
                f"{path} is not a dump of tinyos-gdb, and has no system registers: open it by `tinyos open "
                f"{path}`"
            )
        self._cores = [one if isinstance(one, dict) else {} for one in saved]

    @property
    def information(self) -> Mapping[str, Any]:
        """What the dump says of itself."""
        return self.file.information

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores."""
        return range(len(self._cores))

    def core_of(self, thread: int) -> int:
        """The core that a thread of the dump stands for; 0, which runs the tasks, for a task's."""
        return thread - FIRST_CORE_NUMBER if thread - FIRST_CORE_NUMBER in self.cores else 0

    def is_core(self, thread: int, core: int) -> bool:
        """Whether a thread of the dump is a core itself, and not a task."""
        return thread == FIRST_CORE_NUMBER + core

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError`."""
        return self.file.read(address, length)

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register; None if the dump does not have it."""
        if not 0 <= core < len(self._cores):
            return None
        value = self._cores[core].get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def status(number: int, registers: Mapping[str, int | None]) -> Thread:
    """A thread of a dump, by registers by name; those that are not known are 0."""
    return Thread(number, [(registers.get(name) or 0) & (1 << 64) - 1 for name in STATUS_NAMES])
