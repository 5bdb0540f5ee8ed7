"""What the kernel's hot paths cost, where QEMU's time is a count of the guest's instructions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, MeasureError
from gdbplugin.session import QemuOptions, TinyOS

# An instruction takes 2**4 ns of the guest's time then: one count of its 62.5 MHz timer.
ICOUNT_SHIFT = 4
_GOALS = {"context switch": 300, "lazy read fault": 800, "lazy write fault": 1200, "stack growth": 1200}
_BOOT_GOAL_MS = 1000


def measure(elf: Path, _: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """The figures of the kernel's own `bench`, and of its boot."""
    progress("kernel: its bench, by counted instructions")
    with TinyOS.boot(elf, options=QemuOptions(kernel=elf, icount_shift=ICOUNT_SHIFT)) as machine:
        answer = machine.shell("bench", 60)
        boot = re.search(r"boot took (\d+) ms", machine.console.transcript)
    if boot is None:
        raise MeasureError("the kernel does not tell how long its boot took")
    for name, cost in costs(answer).items():
        yield Figure(f"kernel: {name}", cost, "instructions", _GOALS[name])
    yield Figure("kernel: boot to prompt, machine's time", float(boot[1]), "ms", _BOOT_GOAL_MS)


def costs(answer: str) -> dict[str, float]:
    """What each hot path costs, out of the answer of the kernel's `bench`."""
    found = {match[1]: float(match[2]) for match in re.finditer(r"^(.+): ([\d.]+)$", answer, re.MULTILINE)}
    if not _GOALS.keys() <= found.keys():
        raise MeasureError(f"the kernel does not tell what it costs: {answer!r}")
    return {name: found[name] for name in _GOALS}
