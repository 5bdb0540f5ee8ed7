"""What a kernel's layout costs outside of GDB: out of its DWARF, and out of the cache."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, MeasureError

_FIRST_GOAL_MS, _LATER_GOAL_MS = 5000.0, 50.0
_SECONDS = 120.0
# In a process of its own, where nothing has been imported yet.
_PROGRAM = """
import sys, time
from pathlib import Path
start = time.perf_counter()
from gdbplugin.layout import cache
if not cache.load(Path(sys.argv[1]), directory=Path(sys.argv[2])).statics:
    sys.exit("the file has no statics")
print(1e3 * (time.perf_counter() - start))
"""


def measure(elf: Path, runs: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """First and later uses, each with the imports that it needs."""
    progress(f"layout: read {runs} times")
    first, later = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:
            first.append(_load(elf, directory))
            later.append(_load(elf, directory))
    yield Figure("layout by pyelftools, first use", _median(first), "ms", _FIRST_GOAL_MS)
    yield Figure("layout, by build-id from the cache", _median(later), "ms", _LATER_GOAL_MS)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _load(elf: Path, directory: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(elf), directory],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MeasureError(f"the layout of {elf} cannot be read: {done.stderr.splitlines()[-1:]}")
    return float(done.stdout)
