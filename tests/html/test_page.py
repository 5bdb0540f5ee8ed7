"""Pages of made-up kernels: figures are those of the objects, and no text of a kernel becomes markup."""

import errno
import os
import random
from collections import Counter

import pytest
from hypothesis import given, settings

from gdbplugin.html.contents import NOTHING, Contents, Past, read_contents
from gdbplugin.html.page import page, write_page
from gdbplugin.kernel.backtrace import Backtrace, Backtraces, Frame
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.interface import FailureRecord
from gdbplugin.kernel.moment import read_moment
from gdbplugin.kernel.pressure import FrameTable
from gdbplugin.machine import MachineError
from gdbplugin.records import fields, replace
from gdbplugin.timeline.trace import Counter as Count
from gdbplugin.timeline.trace import Instant, Slice, Trace, Track
from tests.html.reading import read
from tests.html.test_markup import ANY_TEXT, clean
from tests.kernel.other_designs import small_world
from tests.kernel.stopped import stopped_world
from tests.kernel.synthetic import World

FRAME = Frame(0, 0x400, "work", 4, "work.rs", 7, False, True, None, "registers")
BACKTRACES = Backtraces((Backtrace(1, "worker", "Ready", 0, (FRAME,), "the stack is not mapped"),))
FAILURE = FailureRecord(2, 0, 0, 0, 0x10, 0x20, 0, 0x30, 1, 5, "panicked at 'no'")


def a_trace():
    trace = Trace(1000)
    task = Track("core 0", 3, "task 1 (worker)")
    for begin, end, name in ((0, 400, "running"), (100, 110, "lazy fault"), (200, 201, "interrupt")):
        trace.add_slice(task, Slice(begin, end, name, {}))
    trace.add_instant(task, Instant(105, "LazyZero", {}))
    for time, value in ((0, 50), (300, 20), (900, 40)):
        trace.add_count(Count("free frames", "frames"), time, value)
    return trace


def contents_of(world=None, **changes):
    world = world or World()
    before = read_moment(World().kernel(), "before")
    found = read_contents(stopped_world(world), "a test", before)
    given = {"failure": FAILURE, "backtraces": BACKTRACES, "past": Past(a_trace(), 1000, True)}
    return replace(found, **(given | changes))


def test_figures_are_those_of_the_objects():
    contents = contents_of()
    shown = read(page(contents))
    report = contents.report
    about = shown.one("header").facts()
    assert about["From"] == "a test"
    assert about["Findings"] == str(contents.diagnostics.finding_count)
    assert about["Pressure"] == report.pressure.pressure.level == "Medium"
    assert about["Read at"].startswith(f"{contents.date:%Y-%m-%d %H:%M:%S}")
    uses = contents.frame_table.count()
    bands = shown.one("section", id="pool").captions()
    assert sorted(bands.values()) == sorted(
        f"{count:,} frame{'' if count == 1 else 's'}" for count in uses.values()
    )
    stacks = shown.one("section", id="stacks").captions()
    assert len(stacks) == len(report.stacks.active) == 2
    assert stacks["Stack 1, task 1 (worker), Conservative"].startswith("12 KiB mapped of 64 KiB, most ")
    (row,) = shown.table("Ranges of lazy pages")
    assert [row[name] for name in ("pages", "pending", "zero", "allocated")] == ["5", "2", "1", "2"]
    assert "5 reserved: 2 pending, 1 zero, 2 allocated" in shown.one("section", id="lazy-pages").text
    names = [(row["task"], row["name"]) for row in shown.table("Tasks that live")]
    assert names == [(str(one.task.id), one.task.name) for one in contents.tasks if one.task.is_alive]
    assert shown.one("section", id="backtraces").one("summary").text == "Task 1 (worker), on core 0"
    assert len(shown.table("Newest of")) == len(report.recent.events)


def test_the_stack_picture_has_range_mark_and_pointer():
    contents = contents_of()
    stack = contents.report.stacks.active[0]
    assert (stack.current_size, stack.max_size) == (0x3000, 0x10000)
    stack = replace(stack, high_water_mark=0x8000, stack_pointer=stack.base_address - 0x1000)
    report = replace(contents.report, stacks=replace(contents.report.stacks, stacks=(stack,)), running=())
    svg = read(page(replace(contents, report=report))).one("section", id="stacks").one("svg")
    drawn = {each.attributes["class"]: each.attributes["d"] for each in svg.all("path")}
    assert drawn == {
        "k-room": "M0 0h1000v24h-1000z",
        "k-mapped": "M812 4h188v16h-188z",
        "k-most": "M500 0v24",
        "k-pointer": "M937 0v24",
    }


def test_the_timeline_has_slices_by_time():
    shown = read(page(contents_of())).one("section", id="timeline")
    said = shown.captions()
    assert said == {
        "core 0: task 1 (worker)": "1 turn, 400 ms in all, 1 fault, interrupts and system calls: 1, 1 event",
        "Free frames": "frames: 40 at the stop, 20 to 50",
    }
    row, line = shown.all("svg")
    drawn = {each.attributes["class"]: each.attributes["d"] for each in row.all("path")}
    assert drawn["k-work"] == "M0 9h400v7h-400z"
    assert drawn["k-fault"] == "M100 0h10v8h-10z"
    assert drawn["k-entry"] == "M200 17h2v3h-2z"
    assert drawn["k-event"] == "M105 21h2v3h-2z"
    assert line.one("path").attributes["d"] == "M0 2V2V2H300V38V38H900V14V14H1000"


def test_a_corrupt_time_does_not_squeeze_the_timeline():
    trace = a_trace()
    trace.add_instant(Track("core 0", 3, "task 1 (worker)"), Instant((1 << 64) - 1, "LazyZero", {}))
    shown = read(page(contents_of(past=Past(trace, 1000, True)))).one("section", id="timeline")
    assert "Left out, as they are after the stop: 1 time." in shown.text
    assert shown.all("path", "k-work")[0].attributes["d"] == "M0 9h400v7h-400z"


def test_findings_come_first_and_the_failure_before_them():
    diagnostics = Diagnostics()
    diagnostics.add_finding("page <1>", "a frame", "none")
    diagnostics.add_note("read & said")
    contents = contents_of(diagnostics=diagnostics)
    main = read(page(contents)).one("main")
    assert main.children[0].attributes["id"] == "findings"
    text = main.children[0].text
    assert text.index("panicked at 'no'") < text.index("page <1>: expected a frame; found none")
    assert "Note: read & said" in text


def test_changes_stand_beside_their_events():
    world = World()
    world.manager["pressure_handler"]["level"] = 2
    shown = read(page(contents_of(world))).one("section", id="difference")
    assert "From before to now" in shown.text
    (row,) = [row for row in shown.table("Objects") if row["field"] == "level"]
    assert (row["before"], row["after"]) == ("Medium", "High")


def test_a_part_that_cannot_be_read_is_one_line():
    contents = read_contents(stopped_world(), "a test")
    difference = read(page(contents)).one("section", id="difference")
    (said,) = difference.all("p")
    assert said.text.startswith("There is no moment to compare with: ")
    assert said.text.endswith("--since names one.")
    lost = replace(contents, report=None, past=None, problems={"report": "it is <gone>", "timeline": "too"})
    shown = read(page(lost))
    assert [shown.one("section", id=name).one("p").text for name in ("stacks", "timeline")] == [
        "It is <gone>.",
        "Too.",
    ]


def test_a_difference_that_is_not_wanted_is_left_out():
    contents = read_contents(stopped_world(), "a test", NOTHING)
    said = read(page(contents)).one("section", id="difference").one("p").text
    assert said == "No moment to compare with was wanted."


def test_a_moment_that_was_asked_for_must_be_there():
    with pytest.raises(MachineError):
        read_contents(stopped_world(), "a test", "missing.dump")


def test_a_kernel_with_the_designs_records_alone_has_a_page():
    shown = read(page(read_contents(stopped_world(small_world()), "a test")))
    assert len(shown.all("section")) == 11


def with_text(value, text):
    """A record with every text in it replaced, and a table of garbage for each of its dicts."""
    if isinstance(value, str):
        return text
    if hasattr(value, "_record_fields"):
        named = [one.name for one in fields(value) if one.name != "diagnostics"]
        changed = {name: with_text(getattr(value, name), text) for name in named}
        return replace(value, **changed)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(with_text(one, text) for one in value))
    if isinstance(value, tuple):
        return tuple(with_text(one, text) for one in value)
    return value


CONTENTS = contents_of()


@settings(max_examples=60, deadline=None)
@given(ANY_TEXT)
def test_no_text_of_a_kernel_becomes_markup(text):
    trace = Trace(1000)
    track = Track(text, 3, text)
    trace.add_slice(track, Slice(0, 400, text, {}))
    trace.add_instant(track, Instant(105, text, {}))
    trace.add_count(Count(text, text), 0, 50)
    diagnostics = Diagnostics()
    diagnostics.add_finding(text, text, text)
    diagnostics.add_note(text)
    parts = ("failure", "report", "tasks", "backtraces", "frame_table", "difference")
    hostile = {part: with_text(getattr(CONTENTS, part), text) for part in parts}
    contents = replace(
        CONTENTS,
        **hostile,
        source=text,
        kernel=text,
        problems={"check": text},
        check=None,
        past=Past(trace, 1000, False),
        diagnostics=diagnostics,
    )
    shown = read(page(contents))
    assert {row["name"] for row in shown.table("Tasks that live")} == {clean(text)}
    assert clean(text) in shown.one("section", id="findings").text


def test_a_script_in_a_tasks_name_is_text():
    name = "<script>alert(1)</script>"
    text = page(replace(CONTENTS, tasks=with_text(CONTENTS.tasks, name)))
    assert "<script" not in text.lower()
    assert name in read(text).one("section", id="tasks").text


def large():
    """32 stacks, 40,000 lazy pages in 4,000 ranges, a long recording, and damage everywhere."""
    chance, contents = random.Random(1), contents_of()
    stack = contents.report.stacks.active[0]
    stacks = tuple(replace(stack, id=number) for number in range(1, 33))
    report = replace(contents.report, stacks=replace(contents.report.stacks, stacks=stacks))
    lazy = replace(report.lazy, ranges=report.lazy.ranges * 4000)
    uses = tuple(chance.choice(("Free", "Table", "LazyPage", "Stack")) for _ in range(32_768))
    trace, diagnostics = Trace(1_000_000), Diagnostics()
    for number in range(32):
        track = Track("core 0", number, f"task {number}")
        for _ in range(2000):
            begin = chance.randrange(10_000_000)
            name = chance.choice(("running", "lazy fault", "interrupt"))
            trace.add_slice(track, Slice(begin, begin + 3, name, {}))
            trace.add_instant(track, Instant(begin, "LazyZero", {}))
    for time in range(0, 10_000_000, 500):
        trace.add_count(Count("free frames", "frames"), time, chance.randrange(32_768))
    for number in range(3000):
        diagnostics.add_finding(f"page {number}", "a frame", "none")
    frames = Backtrace(1, "worker", "Ready", 0, (FRAME,) * 1000, None)
    row = contents.difference.rows[0] if contents.difference.rows else None
    rows = contents.difference.rows if row is None else (row,) * 10_000
    return replace(
        contents,
        report=replace(report, lazy=lazy),
        frame_table=FrameTable(uses, uses, uses),
        past=Past(trace, 10_000_000, True),
        backtraces=Backtraces((frames,) * 40),
        difference=replace(contents.difference, rows=rows),
        diagnostics=diagnostics,
    )


def test_the_size_of_a_page_is_bounded():
    contents = large()
    text = page(contents)
    assert len(text) < 2_500_000
    shown = read(text)
    assert len(shown.one("section", id="stacks").all("svg")) == 32
    assert len(shown.table("Ranges of lazy pages")) == 40
    assert "and 3,960 more ranges" in shown.text
    assert "and 2,800 more findings" in shown.text
    assert "and 940 more frames" in shown.text
    counts = Counter(contents.frame_table.uses)
    assert f"{counts['Table']:,} frames" in shown.one("section", id="pool").captions().values()


@pytest.mark.parametrize("failing", ["write", "folder", "device"])
def test_a_failure_is_one_line_and_leaves_no_file(tmp_path, monkeypatch, failing):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "write":
        monkeypatch.setattr("os.replace", fail)
    places = {
        "folder": tmp_path / "missing/page.html",
        "device": "/dev/null",
        "write": tmp_path / "page.html",
    }
    with pytest.raises(MachineError, match=rf"^cannot write {places[failing]}: [^\n]*$"):
        write_page(CONTENTS, str(places[failing]))
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_the_page(tmp_path):
    written = write_page(CONTENTS, str(tmp_path / "page.html"))
    data = (tmp_path / "page.html").read_bytes()
    assert data.decode() == page(CONTENTS)
    assert (written.size, written.finding_count) == (len(data), CONTENTS.diagnostics.finding_count)
    assert isinstance(CONTENTS, Contents)
