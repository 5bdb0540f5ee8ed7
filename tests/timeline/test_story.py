"""Which task an event is about, what a strategy took, when an instruction was executed."""

from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.kernel.events import Event
from gdbplugin.recording.ring import STORE, Record
from gdbplugin.timeline.moments import Moments
from gdbplugin.timeline.recorded import Memory
from gdbplugin.timeline.story import Handled, Story, Turn, tasks_of
from gdbplugin.timeline.trace import Counter


def event(number, kind, first=0, second=0, asid=0, time=None):
    return Event(number, number * 10 if time is None else time, 0, asid, kind, first, second)


def test_an_event_is_about_the_task_that_had_its_asid_then():
    events = [
        event(1, "LazyZero", asid=7),  # Before task 4 ended, the ASID was its own.
        event(2, "TaskEnded", first=4, asid=7),
        event(3, "LazyZero", asid=7),  # Nobody had it.
        event(4, "TaskStarted", first=5, second=1),
        event(5, "StackGrowth", first=1, asid=7),
        event(6, "PressureChange", 0, 1),
        event(7, "WildAccess", first=9, asid=7),
    ]
    assert tasks_of(events, {7: 5}) == {1: 4, 2: 4, 4: 5, 5: 5, 7: 9}


def test_asids_before_a_rollover_are_nobodys():
    events = [event(1, "LazyZero", asid=7), event(2, "AsidRollover"), event(3, "LazyZero", asid=7)]
    assert tasks_of(events, {7: 5}) == {3: 5}


def runs(*events, gap=100):
    story = Story()
    story.add_events(events)
    story.strategies, story.longest_gap = {0: "CacheOptimization"}, gap
    trace = story.trace(1_000_000_000, lambda _: "")
    return [
        (one.begin, one.end, one.name, one.arguments["gain"])
        for found in trace.slices.values()
        for one in found
    ]


def test_a_strategy_runs_from_the_first_event_of_its_work():
    assert runs(
        event(1, "LazyFold"),
        event(2, "LazyAllocate"),  # A fault: the fold before was another run's.
        event(3, "LazyFold"),
        event(4, "LazyFold"),
        event(5, "StrategyRun", 0, 2),
        event(6, "StrategyRun", 3, 0),
    ) == [(30, 50, "CacheOptimization", 2), (60, 60, "strategy 3", 0)]


def test_a_page_moved_long_before_is_not_a_strategys_work():
    assert runs(event(1, "PageMoved"), event(2, "StrategyRun", 0, 1, time=500)) == [
        (500, 500, "CacheOptimization", 1)
    ]


def test_a_fault_is_named_by_its_first_event_that_says_so():
    story = Story()
    story.add_events([event(1, "LazyFold"), event(2, "StackGrowth", asid=3), event(3, "LazyReserve")])
    story.turns = [Turn(0, 1, 0, 100)]
    story.handled = [
        Handled(0, 1, 5, 25, 70, False, 1, 2),
        Handled(0, 1, 28, 35, 9, False, 3, 3),
        Handled(0, 1, 40, 50, 9, True, 2, 2),
    ]
    story.names = {1: "worker"}
    (track, found), *_ = story.trace(1, lambda _: "").slices.items()
    assert track.name == "task 1 (worker)"
    assert [(one.name, one.begin, one.end) for one in found] == [
        ("running", 0, 100),
        ("stack growth", 5, 25),
        ("system call", 28, 35),
        ("interrupt", 40, 50),
    ]
    assert found[1].arguments == {"instructions": 70, "first event": 1, "events": 2}


def test_a_number_that_two_tasks_had_is_named_so():
    story = Story()
    story.add_events([event(1, "TaskStarted", 3), event(2, "TaskStarted", 4), event(3, "TaskStarted", 3)])
    story.names = {3: "hog", 4: "lazy"}
    assert [track.name for track in story.trace(1, lambda _: "").tracks] == [
        "task 3 (now hog)",
        "task 4 (lazy)",
    ]


def test_counts_are_in_the_order_of_time_and_unknown_ones_left_out():
    story, counter = Story(), Counter("free", "frames")
    for time, value in ((5, 2), (1, 1), (3, None), (9, 2)):
        story.add_count(counter, time, value)
    assert story.trace(1, lambda _: "").counts == {counter: [(1, 1), (5, 2)]}


known = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=12).map(
    lambda pairs: list(
        zip(sorted({one for one, _ in pairs}), sorted(time for _, time in pairs), strict=False)
    )
)


@given(known=known, instructions=st.lists(st.integers(0, 6000), min_size=2, max_size=2).map(sorted))
def test_times_of_instructions_keep_their_order(known, instructions):
    moments = Moments(known)
    assert bool(moments) == bool(known)
    if not known:
        return
    first, second = instructions
    assert moments.begin(first) <= moments.begin(second)
    assert moments.end(first) <= moments.end(second)
    if first < second:
        assert moments.end(first) <= moments.begin(second)
    for place, time in known:
        if place >= first:
            assert moments.begin(first) <= time
        if place <= first:
            assert moments.end(first) >= time


def test_a_core_that_waits_does_not_make_its_instructions_slow():
    # Ten instructions a count; but between 200 and 300 the core waited for an interrupt.
    moments = Moments([(0, 0), (100, 10), (200, 20), (300, 1000), (400, 1010), (500, 1020)])
    assert [moments.begin(one) for one in (250, 350)] == [995, 1005]
    assert [moments.end(one) for one in (250, 350)] == [25, 1005]
    assert (moments.begin(600), moments.end(600)) == (1030, 1030)


def test_a_known_time_that_goes_back_is_left_out():
    moments = Moments([(0, 10), (10, 5), (20, 30)])
    assert (moments.end(10), moments.end(20)) == (20, 30)


@given(stores=st.lists(st.tuples(st.integers(0, 3), st.integers(0, (1 << 64) - 1)), max_size=12))
def test_memory_is_as_it_was_at_each_store(stores):
    words = {8 * place: place for place in range(4)}
    records, states = [], [dict(words)]
    for place, value in stores:
        records.append(
            Record(0, 0, 0, 8 * place, words[8 * place], value, 0, 0, 0, STORE, 0, 8, 0, len(records))
        )
        words[8 * place] = value
        states.append(dict(words))
    memory = Memory(set(words), lambda place, _: words[place].to_bytes(8, "little"))
    for record in records:
        memory.note_first(record)
    for record, state in zip([None, *records], states, strict=True):
        if record is not None:
            memory.store(record)
        assert {place: memory.number(place, 8) for place in words} == state
        joined = b"".join(state[place].to_bytes(8, "little") for place in sorted(state))
        assert memory.bytes(3, 18) == joined[3:21]
