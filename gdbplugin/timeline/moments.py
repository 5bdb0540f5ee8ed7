"""When an instruction was executed: a recording counts instructions, and the kernel notes times now and then.

Between two times that are known, a core may have waited for an interrupt. Where it did is not recorded, so no
instruction is taken to be slower than usual: what began before a known time began so many usual instructions
before it, and what ended after one ended so many after it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

_Known = tuple[int, int]


class Moments:
    """The times of instructions of one core, by the pairs (instructions, time) that are known."""

    def __init__(self, known: Iterable[_Known]) -> None:
        """Times are counts of the timer. A pair that goes back in time is left out."""
        self._instructions: list[int] = []
        self._times: list[int] = []
        for instructions, time in sorted(known):
            if self._instructions and (self._instructions[-1] == instructions or time < self._times[-1]):
                continue
            self._instructions.append(instructions)
            self._times.append(time)
        paces = sorted(self._pace(gap) for gap in range(1, len(self._times)))
        self._usual = paces[len(paces) // 2] if paces else 0.0

    def __bool__(self) -> bool:
        return bool(self._times)

    def begin(self, instructions: int) -> int:
        """The time of what began at an instruction: not after the next time that is known."""
        later = bisect_left(self._instructions, instructions)
        if later == len(self._times):
            return self.end(instructions)
        back = int((self._instructions[later] - instructions) * self._pace_until(later))
        return max(0, self._times[later] - back)

    def end(self, instructions: int) -> int:
        """The time of what ended at an instruction: not before the last time that is known."""
        later = bisect_right(self._instructions, instructions)
        if later == 0:
            return self.begin(instructions)
        passed = instructions - self._instructions[later - 1]
        return self._times[later - 1] + int(passed * self._pace_until(later))

    def _pace_until(self, later: int) -> float:
        """Counts of the timer for an instruction before the known time of that number."""
        return min(self._usual, self._pace(later)) if 0 < later < len(self._times) else self._usual

    def _pace(self, later: int) -> float:
        passed = self._times[later] - self._times[later - 1]
        return passed / (self._instructions[later] - self._instructions[later - 1])
