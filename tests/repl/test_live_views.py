"""The screen of the live view as a pure function of snapshots, choices and size."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.snapshot import Snapshot
from gdbplugin.render import Style
from gdbplugin.repl.command_line import VIEWS
from gdbplugin.repl.live import pressure
from gdbplugin.repl.live.drawing import Viewport, graph, meter, share, sparkline, text_of
from gdbplugin.repl.live.scene import Choices, Scene, Timeline
from gdbplugin.repl.live.screen import FeedState, draw
from tests.repl.live_snapshots import NAMES, snapshots, tables, workload

RUNNING = FeedState("running", True, 6.5, 3)
STYLES = {"unicode": Style("utf-8"), "ascii": Style("ascii")}


def scene_of(*seen: Snapshot, choices: Choices | None = None) -> Scene:
    timeline = Timeline()
    for number, snapshot in enumerate(seen):
        timeline.add(snapshot, number / 5, NAMES["PressureLevel"])
    return Scene(seen[-1], timeline, choices or Choices(), NAMES)


def screen_of(
    scene: Scene, width: int = 80, height: int = 24, style: str = "unicode", state: FeedState = RUNNING
) -> list[str]:
    viewport = Viewport(width, height, STYLES[style])
    return [text_of(line) for line in draw(scene, scene.choices, state, viewport).lines]


def choices() -> st.SearchStrategy[Choices]:
    return st.builds(
        Choices,
        view=st.sampled_from(list(VIEWS)),
        paused=st.booleans(),
        help=st.sampled_from([False, False, False, True]),
        scroll=st.dictionaries(st.sampled_from(list(VIEWS)), st.integers(0, 1 << 31)),
        kind=st.sampled_from([None, None, "StackGrowth", "Nothing"]),
        until=st.one_of(st.none(), st.integers(0, 80)),
        map_only=st.booleans(),
        by_task=st.booleans(),
        zoom=st.integers(0, 12),
    )


def states() -> st.SearchStrategy[FeedState]:
    text = st.sampled_from(["", "QEMU was killed by SIGKILL", "x" * 300])
    target = st.sampled_from(["running", "stopped", "session lost", "stopping the target"])
    rate = st.one_of(st.none(), st.floats(0, 1000))
    said = st.lists(text, max_size=3).map(tuple)
    back = st.one_of(st.none(), st.tuples(st.floats(0, 400), st.floats(0, 400)))
    counts = st.integers(0, 1 << 40)
    return st.builds(FeedState, target, st.booleans(), rate, counts, said, st.booleans(), back)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seen=st.lists(snapshots(), min_size=1, max_size=3),
    chosen=choices(),
    state=states(),
    width=st.integers(60, 250),
    height=st.integers(15, 80),
    style=st.sampled_from(list(STYLES)),
)
def test_screen_of_any_snapshot_has_the_size_asked_for(
    seen: list[Snapshot], chosen: Choices, state: FeedState, width: int, height: int, style: str
) -> None:
    lines = screen_of(scene_of(*seen, choices=chosen), width, height, style, state)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert len(lines[0]) == len(lines[-1]) == width
    everything = "".join(lines)
    assert everything.isprintable()
    assert everything.isascii() or style == "unicode"


@pytest.mark.parametrize("style", STYLES)
def test_terminal_of_any_size_gets_a_screen(style: str) -> None:
    scenes = [
        scene_of(workload(0), workload(5), choices=Choices(view, help=shown))
        for view in VIEWS
        for shown in (False, True)
    ]
    for width in range(1, 201):
        scene = scenes[width % len(scenes)]
        for height in (*range(1, 18), 24, 60):
            lines = screen_of(scene, width, height, style)
            assert len(lines) == height
            assert max(map(len, lines)) <= width
    for scene in scenes:
        for width in range(60, 201, 7):
            assert max(map(len, screen_of(scene, width, 30, style))) <= width


@given(width=st.integers(0, 70), height=st.integers(0, 20))
def test_terminal_too_small_gets_a_message(width: int, height: int) -> None:
    lines = screen_of(scene_of(workload()), width, height)
    assert len(lines) == height
    assert all(len(line) <= max(1, width) for line in lines)
    if (width < 60 or height < 15) and width * height > 60:
        assert f"live needs at least 60x15, not {width}x{height}" in "".join(lines)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("width", "height"), [(60, 15), (80, 24), (200, 50)])
def test_views_of_usual_kernel_show_its_figures(width: int, height: int, style: str) -> None:
    shown = {}
    for view in VIEWS:
        shown[view] = "\n".join(
            screen_of(scene_of(workload(0), workload(5), choices=Choices(view)), width, height, style)
        )
    assert re.search(r"total_stack_growth_events +93 ", shown["s"])
    found = re.search(r"\n  4  4 worker .*?([#=.█▒░]{4,}) +116 K .*45/4 ", shown["d"])
    assert found
    full, was = (sum(map(found[1].count, shade)) for shade in ("#█", "=▒"))
    assert abs(full - len(found[1]) * 116 / 256) < 1
    assert abs(full + was - len(found[1]) * 132 / 256) < 1
    assert re.search(r"0x200000060000 .* 80 .* 40 ", shown["l"])
    assert "Pressure: Medium" not in shown["p"]
    assert "Pressure: Low" in shown["p"]
    assert "17,570 free, 6 cached, 15,192 used" in shown["p"]
    assert re.search(r" 1,104 .*StackGrowth  +stack 1, 1 page more", shown["e"])
    assert " Tasks: 7 alive, 0 ended" in shown["t"]
    assert re.search(r"\n +4 +worker +sleeping +4% .* 116 K +256 K", shown["t"])
    assert re.search(r"\n +0 +shell +running ", shown["t"])


@settings(deadline=None)
@given(tables(), st.booleans(), st.integers(60, 250), st.integers(1, 60), st.integers(0, 6))
def test_cells_of_map_hold_every_frame_of_the_pool(table, by_task, width, height, zoom) -> None:
    if table is None or not table.uses:
        return
    keys = pressure.frame_keys(table, by_task)
    shape = pressure.Shape.of(len(keys), width, height, zoom)
    total: Counter[pressure.Key] = Counter()
    for cell in pressure.cells(shape, keys):
        total.update(cell)
    assert total.total() == len(table.uses)
    for unused in ("Free", "Cached", "Retired"):
        assert total[unused] == table.uses.count(unused)
    if not by_task:
        assert total == table.count()
    else:
        for task in {owner for owner in table.owners if owner is not None}:
            used = [
                use not in (None, "Free", "Cached", "Retired", "ZeroPage") and owner == task
                for use, owner in zip(table.uses, table.owners, strict=True)
            ]
            assert total[task] == sum(used)
    if zoom == 0:
        assert shape.rows <= height


@settings(deadline=None)
@given(tables(), st.booleans(), st.integers(60, 250))
def test_legend_counts_every_frame(table, by_task, width) -> None:
    if table is None or not table.uses:
        return
    keys = pressure.frame_keys(table, by_task)
    lines = [text_of(line) for line in pressure.map_legend(Counter(keys), {}, STYLES["ascii"], width)]
    counts = [
        int(word.replace(",", "")) for word in re.findall(r" ([0-9,]+)(?=  |$)", "\n".join(lines), re.M)
    ]
    assert len(lines) <= 3
    assert sum(counts) == len(table.uses)


def test_legend_of_many_owners_sums_up_the_smallest() -> None:
    keys = [owner for owner in range(90) for _ in range(200 - owner)] + ["Free"] * 50
    lines = [text_of(line) for line in pressure.map_legend(Counter(keys), {}, STYLES["ascii"], 80)]
    assert len(lines) == 3
    assert lines[0].startswith(" 0 task 0 200  1 task 1 199  ")
    shown = re.findall(r" ([0-9,]+)(?=  |$)", "\n".join(lines), re.MULTILINE)
    assert "and others" in lines[2]
    assert sum(int(count.replace(",", "")) for count in shown) == len(keys)


def test_cell_of_map_has_the_letter_of_most_of_its_frames() -> None:
    keys = (*["Table"] * 3, "Stack", *["Free"] * 4, *["Free"] * 8, "Stack", *["Free"] * 7)
    shape, frames = pressure.Shape(len(keys), 8, 16), workload().pressure.frames
    rows = pressure.map_rows(shape, keys, frames, STYLES["ascii"])
    assert [text_of(row) for row in rows] == [" 0x8000000  T.s"]


def test_range_without_records_is_counted_by_its_frames() -> None:
    whole = workload()
    plain = replace(whole, lazy=replace(whole.lazy, pages=whole.lazy.pages[:0]))
    with_records = screen_of(scene_of(whole, choices=Choices("l")), 120, 30)
    without = screen_of(scene_of(plain, choices=Choices("l")), 120, 30)
    assert any(re.search(r"0x200000000000 +384 K +32 +48 .* 16 ", line) for line in with_records)
    frames = sum(
        use == "LazyPage" and 0 <= index < 96
        for use, index in zip(whole.frame_table.uses, whole.frame_table.indexes, strict=True)
    )
    assert any(re.search(rf"— +384 K +— +— .* {frames} ", line) for line in without)


def test_events_are_filtered_by_kind_and_gaps_are_shown() -> None:
    first, later = workload(0), workload(300)
    scene = scene_of(first, later, choices=Choices("e"))
    assert any(
        "200 events were overwritten before they were seen" in line for line in screen_of(scene, 80, 80 + 60)
    )
    filtered = scene_of(first, later, choices=Choices("e", kind="LazyZero"))
    lines = screen_of(filtered)
    assert "only LazyZero (0)" in lines[1]
    assert not any("StackGrowth" in line for line in lines)


def test_scrolled_events_do_not_follow_the_stream() -> None:
    chosen = Choices("e", scroll={"e": 10}, until=1099)
    before = screen_of(scene_of(workload(0), choices=chosen))[3:-2]
    after = screen_of(scene_of(workload(0), workload(30), choices=chosen))[3:-2]
    assert before == after
    assert " 1,089 " in after[-1]


def test_scrolling_ends_at_the_last_row() -> None:
    scene = scene_of(workload(), choices=Choices("s", scroll={"s": 1 << 30}))
    shown = draw(scene, scene.choices, RUNNING, Viewport(80, 16, STYLES["unicode"]))
    count = 10 + len(scene.snapshot.counters.counters)
    assert shown.scroll == count - shown.page
    assert f"rows {shown.scroll + 1} to {count} of {count}" in text_of(shown.lines[-2])


def test_bars_show_the_state_of_the_session() -> None:
    scene = scene_of(workload())
    assert "running; 6.5 snapshots/s, 3 torn" in screen_of(scene)[-1]
    assert "x stop" in screen_of(scene)[-1]
    stopped = screen_of(scene, state=FeedState("stopped", False, 6.5, 3, ("Target core 0 in main",)))
    assert "x continue" in stopped[-1]
    assert "Target core 0 in main" in stopped[-2]
    paused = screen_of(scene_of(workload(), choices=Choices(paused=True)))
    assert "VIEW PAUSED; target running" in paused[-1]
    lost = screen_of(
        scene, state=FeedState("session lost", False, None, 0, ("QEMU was killed by SIGKILL",), True)
    )
    assert lost[-2] == " QEMU was killed by SIGKILL"
    assert lost[-1].split() == ["session", "lost", "left", "back", "q", "quit"]
    back = screen_of(scene, state=replace(RUNNING, back=(12.5, 250.0)))
    assert back[-1].startswith(" 12 s AGO, oldest 4.2 min; running ")
    assert back[-1].endswith(" Esc now  q quit ")


def test_views_without_colour_still_differ() -> None:
    """Different figures give different text in each view."""
    calm, pressed = scene_of(workload(0)), scene_of(workload(0), workload(9))
    for view in VIEWS:
        one, other = replace(calm, choices=Choices(view)), replace(pressed, choices=Choices(view))
        assert screen_of(one)[1:-1] != screen_of(other)[1:-1]


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 20), st.integers(2, 200))
def test_share_is_zero_only_for_nothing_and_full_only_for_all(part: int, whole: int, width: int) -> None:
    drawn = share(part, whole, width)
    assert 0 <= drawn <= width
    assert (drawn == 0) == (part == 0 or whole == 0)
    assert (drawn == width) == (0 < whole <= part)


@given(
    st.one_of(st.none(), st.integers(0, 300)),
    st.one_of(st.none(), st.integers(0, 300)),
    st.one_of(st.none(), st.integers(0, 300)),
    st.integers(1, 60),
)
def test_meter_has_the_width_and_parts_asked_for(part, most, whole, width) -> None:
    text = text_of(meter(part, most, whole, width, STYLES["ascii"]))
    if part is None or not whole:
        assert text == "-"
        return
    assert len(text) == width
    assert text == "#" * text.count("#") + "=" * text.count("=") + "." * text.count(".")
    assert ("." in text) == (max(part, most or 0) < whole) or width == 1


def test_sparkline_is_scaled_to_its_largest_value() -> None:
    assert sparkline([0, 1, 50, 100], 6, STYLES["ascii"]) == "  _.=#".replace(
        "=", sparkline([50, 100], 2, STYLES["ascii"])[0]
    )
    assert sparkline([0.0, None, 100.0], 3, STYLES["unicode"]) == "▁ █"
    assert sparkline([0, 0], 2, STYLES["unicode"]) == "▁▁"


def test_graph_rises_from_the_bottom() -> None:
    lines = graph([None, 0, 5, 10, 100], 10, 6, 2, STYLES["ascii"])
    assert lines == ["    ##", "   ###"]
