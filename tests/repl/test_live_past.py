"""Going back in the live view: what is kept, what is shown, and the keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from gdbplugin.kernel.events import Events
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.snapshot import Snapshot
from gdbplugin.repl.live.drawing import Viewport, text_of
from gdbplugin.repl.live.feed import Feed
from gdbplugin.repl.live.past import KEPT_SECONDS, Past
from gdbplugin.repl.live.scene import Choices, Scene, Timeline
from gdbplugin.repl.live.screen import draw
from gdbplugin.session import TinyOS
from tests.repl.live_snapshots import NAMES, snapshots, workload
from tests.repl.test_live_application import Person, _session, _Watch, shown_to, shows
from tests.repl.test_live_views import RUNNING, STYLES

LEVELS = NAMES["PressureLevel"]
LEFT, RIGHT, ESCAPE = "\x1b[D", "\x1b[C", "\x1b"


def past_of(*seen: Snapshot, most_bytes: int = 1 << 30) -> tuple[Past, Timeline]:
    past, timeline = Past(most_bytes), Timeline()
    for number, snapshot in enumerate(seen):
        timeline.add(snapshot, float(number), LEVELS)
        past.add(snapshot, timeline.newest)  # type: ignore[arg-type]
    return past, timeline


def without_lists(snapshot: Snapshot) -> Snapshot:
    lazy = replace(snapshot.lazy, pages=LazyTable([], []))
    return replace(snapshot, events=Events(snapshot.events.recorded, ()), lazy=lazy)


@settings(max_examples=25, deadline=None)
@given(seen=snapshots())
def test_any_snapshot_is_kept_with_all_its_figures(seen: Snapshot) -> None:
    past, _ = past_of(seen)
    assert replace(past.snapshot(0), lazy=None) == replace(without_lists(seen), lazy=None)  # type: ignore[arg-type]
    assert past.snapshot(0).lazy.reserved_pages == seen.lazy.reserved_pages


def test_only_the_last_minutes_are_kept() -> None:
    steps = range(0, 4000, 10)
    past, _ = past_of(*[workload(step) for step in steps])
    times = [moment.time for moment in past.moments]
    assert times == [(20 + step) / 10 for step in steps if (3990 - step) / 10 <= KEPT_SECONDS]
    assert past.place(times[7]) == past.place(times[7] + 0.5) == 7
    assert past.place(0) == 0


def test_only_so_many_bytes_are_kept() -> None:
    seen = [workload(step) for step in range(0, 200, 10)]
    everything, _ = past_of(*seen)
    size = sum(moment.size for moment in everything.moments)
    past, _ = past_of(*seen, most_bytes=size // 2)
    assert 5 < len(past.moments) < 15
    assert past.moments[-1].time == everything.moments[-1].time
    assert sum(moment.size for moment in past.moments) <= size // 2
    assert len(past_of(*seen, most_bytes=1)[0].moments) == 1


def test_kernel_time_that_stands_or_goes_back_adds_nothing_old() -> None:
    past, _ = past_of(workload(0), workload(0), workload(30), workload(30), workload(10), workload(20))
    assert [moment.time for moment in past.moments] == [3.0, 4.0]


def test_views_show_the_past_as_they_showed_it_then() -> None:
    """All that is drawn from the last ten seconds is the same as it was, in each view."""
    seen = [without_lists(workload(step)) for step in range(0, 60, 2)]
    kept = [
        replace(one, events=workload(step).events) for one, step in zip(seen, range(0, 60, 2), strict=True)
    ]
    past, timeline = past_of(*kept)
    _, then = past_of(*kept[:21])
    viewport = Viewport(100, 30, STYLES["unicode"])
    for view in "sdpet":
        choices = Choices(view)
        scenes = (
            Scene(past.snapshot(20), past.timeline(20, timeline), choices, NAMES),
            Scene(kept[20], then, choices, NAMES),
        )
        now, before = (
            [text_of(line) for line in draw(scene, choices, RUNNING, viewport).lines] for scene in scenes
        )
        assert now == before, view


def feed_of(*steps: int) -> tuple[Feed, Choices]:
    choices = Choices()
    feed = Feed(_session(), _Watch(*[workload(step) for step in steps]), choices)  # type: ignore[arg-type]
    for _ in steps:
        feed.look()
    return feed, choices


def shown_time(feed: Feed) -> float:
    clock = feed.scene.snapshot.clock  # type: ignore[union-attr]
    return clock.seconds(clock.now)  # type: ignore[return-value]


def test_steps_go_back_and_forward_and_end_at_now() -> None:
    feed, choices = feed_of(0, 10, 20, 30)
    newest = feed.scene.snapshot  # type: ignore[union-attr]
    for steps, time, back in ((-1, 4.0, 1.0), (-1, 3.0, 2.0), (-9, 2.0, 3.0), (2, 4.0, 1.0)):
        feed.go(steps)
        assert (shown_time(feed), feed.state().back) == (time, (back, 3.0))
    feed.go(1)
    assert shown_time(feed) == 5.0
    feed.go(1)
    assert (choices.past, feed.state().back) == (None, None)
    assert feed.scene.snapshot is newest  # type: ignore[union-attr]


def test_jumps_go_by_time() -> None:
    feed, choices = feed_of(*range(0, 400, 10))
    feed.jump(-10)
    assert shown_time(feed) == 31.0
    feed.jump(-100)
    assert shown_time(feed) == 2.0
    feed.jump(10)
    assert shown_time(feed) == 12.0
    feed.jump(100)
    assert choices.past is None


def test_what_is_shown_stays_while_the_kernel_runs_on() -> None:
    choices = Choices()
    steps = [*range(0, 50, 10), *range(50, 4000, 50), 0]
    feed = Feed(_session(), _Watch(*map(workload, steps)), choices)  # type: ignore[arg-type]
    for _ in range(5):
        feed.look()
    feed.go(-3)
    shown = feed.scene
    for _ in range(len(steps) - 6):
        feed.look()
    # By now it is not kept any more.
    assert feed.scene is shown
    assert feed.state().back[0] == pytest.approx(394.0)  # type: ignore[index]
    feed.look()
    assert choices.past is None, "the kernel's time went back"


def test_without_a_snapshot_keys_do_nothing() -> None:
    feed = Feed(_session(), _Watch(), Choices())  # type: ignore[arg-type]
    feed.go(-1)
    feed.jump(-10)
    assert feed.scene is None
    assert feed.state().back is None


def test_keys_go_back_in_every_view_of_a_running_kernel(shared_machine: TinyOS) -> None:
    async def act(person: Person) -> None:
        await person.see(shows("total_lazy_pages"), "the statistics")
        await person.see(lambda _: len(person.live._feed._past.moments) > 5, "some snapshots")
        await person.press("<", shows(" AGO, oldest "))
        shown = person.live.scene
        for view in "dlpets":
            lines = await person.press(view, shows(f"[{view} "))
            assert " AGO, oldest " in lines[-1]
            assert person.live.scene is shown
        await person.press(RIGHT, lambda _: person.live.scene is not shown)
        await person.press(LEFT, lambda _: person.live.scene.snapshot.clock == shown.snapshot.clock)
        await person.press(ESCAPE, lambda lines: " snapshots/s" in lines[-1])
        await person.press("[", shows(" AGO, oldest "))
        await person.press("?", shows("one snapshot back"))
        await person.press(ESCAPE, lambda lines: not shows("one snapshot back")(lines))
        assert " AGO, oldest " in person.lines[-1]
        await person.press("]", lambda lines: " snapshots/s" in lines[-1])
        await person.press("<>", lambda lines: " snapshots/s" in lines[-1])
        assert shared_machine.running

    shown_to(shared_machine, act)
