"""What recording costs, beside the same without it in the same run, and how long going back takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, MeasureError
from gdbplugin.session import QemuOptions, TinyOS

_BOOT_RATIO, _STRESS_RATIO = 1.5, 3.0
_REWIND_GOAL_S, _BACK_GOAL_S = 2.0, 1.0
_GUEST_SECONDS = 10.0
_MOST_RUN_SECONDS = 60.0
_BACKS = 5


def measure(elf: Path, runs: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """Boot to prompt and the stress test, recorded and not, taking turns; then `rewind` and `back`."""
    progress(f"record: {runs} boots of each kind")
    kinds = {
        "not recorded": QemuOptions(kernel=elf),
        "recorded": QemuOptions(kernel=elf, record=True),
        "recorded, with the host's clock": QemuOptions(kernel=elf, record=True, host_clock=True),
    }
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        for kind, options in kinds.items():
            found[kind].append(_boot_and_stress(elf, options))
    for index, (what, ratio) in enumerate((("boot to prompt", _BOOT_RATIO), ("stress test", _STRESS_RATIO))):
        medians = {kind: 1e3 * statistics.median(one[index] for one in found[kind]) for kind in kinds}
        floor = medians.pop("not recorded")
        for kind, value in medians.items():
            yield Figure(f"{what}, {kind}", value, "ms", floor=floor, goal_ratio=ratio)
    progress(f"record: going back within {_GUEST_SECONDS:g} s of the guest's time")
    yield from _journeys(elf)


def _boot_and_stress(elf: Path, options: QemuOptions) -> tuple[float, float]:
    """Seconds to the kernel's prompt, and for its stress test."""
    start = time.perf_counter()
    with TinyOS.boot(elf, options=options) as machine:
        booted = time.perf_counter()
        machine.shell("*t", timeout=60.0)
        return booted - start, time.perf_counter() - booted


def _journeys(elf: Path) -> Iterator[Figure]:
    with TinyOS.boot(elf, record=True) as machine:
        deadline = time.monotonic() + _MOST_RUN_SECONDS
        while _guest_seconds(machine) < _GUEST_SECONDS:
            if time.monotonic() > deadline:
                raise MeasureError(f"the guest's clock is not at {_GUEST_SECONDS:g} s")
            time.sleep(0.1)
        machine.interrupt()
        end = machine.checkpoints().end
        far = [machine.rewind(to=end * step // 10).seconds for step in range(2, 10)]
        label = f"rewind, the slowest of {len(far)} within {_GUEST_SECONDS:g} s of the guest's time"
        yield Figure(label, max(far), "s", _REWIND_GOAL_S)
        machine.rewind(end=True)
        near = [machine.back(1).seconds for _ in range(_BACKS)]
        yield Figure(f"back 1, the slowest of {_BACKS}", max(near), "s", _BACK_GOAL_S)


def _guest_seconds(machine: TinyOS) -> float:
    clock = machine.stats().clock
    return clock.seconds(clock.now) or 0.0
