"""What must hold in every snapshot of the kernel, and from one to the next."""

from dataclasses import asdict

PAGE_BYTES = 4096
NOT_USED = {"Free": "free_frames", "Cached": "cached_frames", "Retired": "retired_frames"}
# Current values, which may also fall.
OF_NOW = {"active_dynamic_stacks", "total_lazy_pages", "allocated_lazy_pages"}


class Observer:
    """Checks one snapshot after another: tables that lie far apart must agree."""

    def __init__(self):
        self.snapshots = 0
        self.levels = set()
        self._counted = {}
        self._last_event = 0

    def observe(self, snapshot):
        self.snapshots += 1
        self.levels.add(snapshot.pressure.pressure.level)
        assert snapshot.findings == ()
        self._frames(snapshot)
        self._stacks(snapshot)
        self._lazy_pages(snapshot)
        self._events(snapshot)
        self._counters(snapshot)

    def _frames(self, snapshot):
        frames, uses = snapshot.pressure.frames, snapshot.frame_table.count()
        assert len(snapshot.frame_table.uses) == frames.total_frames
        for use, counter in NOT_USED.items():
            assert uses.get(use, 0) == getattr(frames, counter), use
        used = sum(count for use, count in uses.items() if use not in NOT_USED)
        assert frames.allocation_count - frames.release_count == used == frames.used_frames

    def _stacks(self, snapshot):
        active = snapshot.stacks.active
        assert len(active) == snapshot.stats.active_dynamic_stacks
        for stack in active:
            assert 0 < stack.current_size <= stack.max_size, stack
            assert stack.current_size <= stack.high_water_mark, stack
        pages = sum(stack.current_size for stack in active) // PAGE_BYTES
        assert pages == snapshot.frame_table.count()["Stack"]

    def _lazy_pages(self, snapshot):
        lazy, stats = snapshot.lazy, snapshot.stats
        assert stats.total_lazy_pages == lazy.reserved_pages
        assert stats.total_lazy_pages == sum(reserved.pages for reserved in lazy.ranges)
        assert stats.allocated_lazy_pages == lazy.allocated_pages
        assert lazy.allocated_pages == snapshot.frame_table.count()["LazyPage"]

    def _events(self, snapshot):
        events = snapshot.events
        numbers = [event.sequence for event in events.events]
        assert numbers == list(range(events.recorded - len(numbers) + 1, events.recorded + 1))
        times = [event.timestamp for event in events.events]
        assert times == sorted(times)

    def _counters(self, snapshot):
        counted = {**asdict(snapshot.stats), **snapshot.counters.counters, "sequence": snapshot.sequence}
        for name, number in counted.items():
            if name not in OF_NOW:
                assert number >= self._counted.get(name, 0), name
        self._counted = counted
