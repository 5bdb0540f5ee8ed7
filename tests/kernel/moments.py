"""A made-up kernel that does what the real one does, as moments: a model for the tests of differences.

Each operation changes the objects and records the event of `kernel/src/events.rs` for it, or none where the
kernel records none. `moment` is everything at that point.
"""

from __future__ import annotations

import copy

from gdbplugin.aarch64.tables import Leaf
from gdbplugin.kernel.events import Event, Events
from gdbplugin.kernel.interface import Clock
from gdbplugin.kernel.lazy import LazyPages, LazyRange
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.moment import Moment
from gdbplugin.kernel.pressure import Frames, Pressure, StrategyRecord, Threshold
from gdbplugin.kernel.spaces import AddressSpace, AddressSpaces, AsidAllocator, SpaceMap
from gdbplugin.kernel.stacks import DynamicStack, Stacks
from gdbplugin.kernel.tasks import Task, Tasks
from tests.kernel.synthetic import LAZY_BASE, READ_ONLY, READ_WRITE, STACK_BASE, TASK_PAGE, ZERO_FRAME, World

PAGE = 4096
MOST_TASKS, MOST_PAGES, MOST_STACK_PAGES = 4, 24, 20
LEVELS = ("Low", "Medium", "High", "Critical")
NAMES = {
    "PressureLevel": dict(enumerate(LEVELS)),
    "EndReason": {0: "None", 1: "Exited", 2: "Killed"},
    "Strategy": {0: "CacheOptimization"},
}
REGIME = World().kernel().regime
CAPACITY = 4096


class Model:
    """Tasks 1 to 4, each with its stack, lazy pages, a level, a limit, and the event ring."""

    def __init__(self):
        self.tasks = {}
        self.stacks = {}
        self.spaces = {}
        self.maps = {number: {} for number in range(1, MOST_TASKS + 1)}
        self.ranges = []
        self.pages = {}
        self.level, self.limit = 0, 32_768
        self.events, self.recorded = [], 0
        self.next_frame, self.now = ZERO_FRAME + PAGE, 1000

    def record(self, kind, owner, first, second):
        self.recorded += 1
        self.now += 1
        self.events.append(Event(self.recorded, self.now, 0, owner + 10, kind, first, second))
        del self.events[:-CAPACITY]

    def frame(self):
        self.next_frame += PAGE
        return self.next_frame

    def map(self, owner, address, frame, bits=READ_WRITE):
        self.maps[owner][address] = Leaf(address, frame, PAGE, 3, frame | bits, 0)

    def do(self, name, number, chance):
        """One operation, where it is possible: `number` selects the object, `chance` what is done to it."""
        self.now += 7
        getattr(self, name)(number % MOST_TASKS + 1, chance)

    # Operations: the owner, and a number that chooses.

    def start(self, task, _):
        if self.is_alive(task):
            return
        stack = next(slot for slot in range(1, MOST_TASKS + 1) if not self.is_active(slot))
        base = STACK_BASE + stack * 0x20_0000
        self.stacks[stack] = {"is_active": True, "owner": task, "base": base, "size": PAGE, "growths": 0}
        self.spaces[task] = {"table": self.frame()}
        self.map(task, base - PAGE, self.frame())
        self.map(task, TASK_PAGE, self.frame())
        self.tasks[task] = {"state": "Ready", "stack": stack, "reason": "None", "start": self.now}
        self.record("TaskStarted", task, task, stack)

    def end(self, task, chance):
        if not self.is_alive(task):
            return
        reason = chance % 2 + 1
        self.record("TaskEnded", task, task, reason)
        for reserved in [one for one in self.ranges if one[2] == task]:
            self.let_go(reserved)
        stack = self.stacks[self.tasks[task]["stack"]]
        stack |= {"is_active": False, "size": 0}
        self.maps[task] = {}
        del self.spaces[task]
        self.tasks[task] |= {"state": "Ended", "reason": NAMES["EndReason"][reason]}

    def grow(self, task, chance):
        if not self.is_alive(task):
            return
        number = self.tasks[task]["stack"]
        stack = self.stacks[number]
        pages = min(chance % 4 + 1, MOST_STACK_PAGES - stack["size"] // PAGE)
        if pages <= 0:
            return
        for _ in range(pages):
            stack["size"] += PAGE
            self.map(task, stack["base"] - stack["size"], self.frame())
        stack["growths"] += 1
        self.record("StackGrowth", task, number, pages)

    def shrink(self, task, chance):
        if not self.is_alive(task):
            return
        number = self.tasks[task]["stack"]
        stack = self.stacks[number]
        pages = min(chance % 4 + 1, stack["size"] // PAGE - 1)
        if pages <= 0:
            return
        for _ in range(pages):
            del self.maps[task][stack["base"] - stack["size"]]
            stack["size"] -= PAGE
        self.record("StackShrink", task, number, pages)

    def reserve(self, task, chance):
        pages = chance % 6 + 1
        taken = {number for first, count, _ in self.ranges for number in range(first, first + count)}
        places = [
            first for first in range(MOST_PAGES - pages + 1) if not taken & set(range(first, first + pages))
        ]
        if not self.is_alive(task) or not places:
            return
        self.ranges.append((places[0], pages, task))
        for number in range(places[0], places[0] + pages):
            self.pages[number] = {"state": "pending", "frame": 0, "owner": task, "count": 0}
        self.record("LazyReserve", task, LAZY_BASE + places[0] * PAGE, pages)

    def release(self, _, chance):
        if self.ranges:
            self.let_go(self.ranges[chance % len(self.ranges)])

    def let_go(self, reserved):
        first, count, owner = reserved
        self.empty(reserved)
        for number in range(first, first + count):
            del self.pages[number]
        self.ranges.remove(reserved)
        self.record("LazyRelease", owner, LAZY_BASE + first * PAGE, count)

    def discard(self, _, chance):
        if self.ranges:
            self.empty(self.ranges[chance % len(self.ranges)])

    def empty(self, reserved):
        first, count, owner = reserved
        for number in range(first, first + count):
            self.maps[owner].pop(LAZY_BASE + number * PAGE, None)
            self.pages[number] |= {"state": "pending", "frame": 0, "count": 0}

    def touch(self, _, chance):
        """A read or a write of a lazy page."""
        if not self.pages:
            return
        number = sorted(self.pages)[chance // 2 % len(self.pages)]
        page, address = self.pages[number], LAZY_BASE + number * PAGE
        if chance % 2 and page["state"] != "allocated":
            page |= {"state": "allocated", "frame": self.frame()}
            self.map(page["owner"], address, page["frame"])
            self.record("LazyAllocate", page["owner"], address + 8, page["frame"])
        elif page["state"] == "pending":
            page |= {"state": "zero", "frame": ZERO_FRAME}
            self.map(page["owner"], address, ZERO_FRAME, READ_ONLY)
            self.record("LazyZero", page["owner"], address, ZERO_FRAME)
        page["count"] += 1

    def fold(self, _, chance):
        allocated = sorted(number for number, page in self.pages.items() if page["state"] == "allocated")
        if not allocated:
            return
        page = self.pages[allocated[chance % len(allocated)]]
        address, former = LAZY_BASE + allocated[chance % len(allocated)] * PAGE, page["frame"]
        page |= {"state": "zero", "frame": ZERO_FRAME}
        self.map(page["owner"], address, ZERO_FRAME, READ_ONLY)
        self.record("LazyFold", page["owner"], address, former)

    def move(self, task, chance):
        """Any page but the zero page goes to another frame."""
        movable = sorted(address for address, leaf in self.maps[task].items() if leaf.physical != ZERO_FRAME)
        if not movable:
            return
        address = movable[chance % len(movable)]
        source, target = self.maps[task][address].physical, self.frame()
        self.map(task, address, target)
        number = (address - LAZY_BASE) // PAGE
        if number in self.pages:
            self.pages[number]["frame"] = target
        self.record("PageMoved", task, source, target)

    def move_table(self, task, _):
        if self.is_alive(task):
            source, self.spaces[task]["table"] = self.spaces[task]["table"], self.frame()
            self.record("TableMoved", task, source, self.spaces[task]["table"])

    def press(self, _, chance):
        former, self.level = self.level, chance % 4
        if former != self.level:
            self.record("PressureChange", 0, former, self.level)

    def resize(self, _, chance):
        former, self.limit = self.limit, 1000 + chance % 5
        self.record("PoolLimit", 0, former, self.limit)

    def run(self, task, chance):
        """Nothing but counters and times."""
        if self.is_alive(task):
            self.tasks[task]["state"] = ("Ready", "Sleeping")[chance % 2]

    def age(self, task, chance):
        """The kernel clears or sets the access flag of a page without an event."""
        pages = sorted(self.maps[task])
        if pages:
            leaf = self.maps[task][pages[chance % len(pages)]]
            self.maps[task][leaf.start] = leaf._replace(descriptor=leaf.descriptor ^ 1 << 10)

    def is_alive(self, task):
        return self.tasks.get(task, {"state": "Ended"})["state"] != "Ended"

    def is_active(self, stack):
        return self.stacks.get(stack, {"is_active": False})["is_active"]

    def copy(self):
        return copy.deepcopy(self)

    def moment(self, label="now", **changes):
        """Everything now."""
        given = {
            "label": label,
            "stacks": Stacks(tuple(self._stack(number) for number in sorted(self.stacks))),
            "lazy": self._lazy(),
            "pressure": self._pressure(),
            "frames": Frames(ZERO_FRAME, 32_768, self.limit, 9, 0, 0, self.next_frame, 0, 0),
            "frame_table": None,
            "spaces": self._spaces(),
            "tasks": Tasks(1, False, self.now, tuple(self._task(number) for number in sorted(self.tasks))),
            "counters": {"ticks": self.now, "events_recorded": self.recorded},
            "maps": {
                number: SpaceMap(number, dict(pages), (), ())
                for number, pages in self.maps.items()
                if number in self.spaces
            },
            "regime": REGIME,
            "task_ranges": ((TASK_PAGE, TASK_PAGE + PAGE),),
            "events": Events(self.recorded, tuple(self.events)),
            "has_events": True,
            "names": NAMES,
            "clock": Clock(1000, self.now),
            "changing": False,
        }
        return Moment(**{**given, **changes})

    def _stack(self, number):
        stack = self.stacks[number]
        return DynamicStack(
            id=number,
            is_active=stack["is_active"],
            policy="Aggressive",
            owner=stack["owner"],
            base_address=stack["base"],
            current_size=stack["size"],
            max_size=MOST_STACK_PAGES * PAGE,
            growth_count=stack["growths"],
            shrink_count=0,
            last_access_time=self.now,
            stack_pointer=stack["base"] - 16,
            high_water_mark=stack["size"],
            guard_address=stack["base"] - (MOST_STACK_PAGES + 1) * PAGE,
            last_growth_time=0,
            last_growth_pages=0,
            pages_returned=0,
        )

    def _lazy(self):
        numbers = sorted(self.pages)
        rows = []
        for number in numbers:
            page = self.pages[number]
            flags = int(page["state"] == "allocated"), int(page["state"] == "zero")
            rows.append((LAZY_BASE + number * PAGE, page["frame"], *flags, page["owner"], page["count"], 0))
        ranges = tuple(LazyRange(slot, *reserved) for slot, reserved in enumerate(self.ranges))
        return LazyPages(ZERO_FRAME, len(rows), 0, 0, 0, 0, 0, 0, 0, ranges, LazyTable(rows, numbers))

    def _pressure(self):
        threshold = Threshold(self.limit // 4, self.limit // 3)
        strategy = StrategyRecord("CacheOptimization", 0, self.now, 0, 0, 0, 0, 0)
        level = LEVELS[self.level]
        return Pressure(level, 9, self.limit, (threshold,) * 3, (1, 2, 3, 4), (strategy,), self.now)

    def _spaces(self):
        spaces = tuple(
            AddressSpace(number, space["table"], number + 10, True, 1, self.now)
            for number, space in sorted(self.spaces.items())
        )
        return AddressSpaces(1, self.now, 0, None, spaces, AsidAllocator(16, 1, 0, 4))

    def _task(self, number):
        task = self.tasks[number]
        return Task(
            number,
            f"task{number}",
            task["state"],
            task["reason"],
            task["stack"],
            self.now,
            task["start"],
            0,
            0,
            0,
        )


OPERATIONS = (
    *("start", "end", "grow", "shrink", "reserve", "release", "discard", "touch", "fold", "move"),
    *("move_table", "press", "resize", "run", "age"),
)


def of(found, kind, field=None):
    """The rows of a difference about a kind of object, and a field if one is given."""
    return [row for row in found.rows if row.kind == kind and field in (None, row.field)]
