"""Differences over the real kernel: each row against what the separate commands say at the two moments."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gdbplugin.dump.core_file import CoreFile
from gdbplugin.kernel.diff_rows import Difference, Row
from gdbplugin.kernel.snapshot import Report
from gdbplugin.session import ReadFailedError, TinyOS
from tests.schemas.validation import validate

pytestmark = pytest.mark.xdist_group("diff")

PAGE = 4096
REPL = Path(sys.executable).with_name("tinyos-repl")


class Moments:
    """What the separate commands say at a moment: the independent record that rows are compared with."""

    def __init__(self, machine: TinyOS) -> None:
        self.report: Report = machine.report()
        self.events = {event.sequence: event for event in machine.events(4096)}
        self.mapped: dict[int, dict[int, int]] = {}
        for space in self.report.context.spaces.active:
            pages = self.mapped.setdefault(space.number, {})
            for one in machine.maps(ttbr=space.table, el=0).mappings:
                for offset in range(0, one.size, PAGE):
                    if one.start >> 63 == 0:
                        pages[one.start + offset] = one.physical + offset

    def size(self, stack: int) -> int | None:
        return next((one.current_size for one in self.report.stacks.stacks if one.id == stack), None)


def rows(found: Difference, kind: str, field: str) -> list[Row]:
    return [row for row in found.rows if row.kind == kind and row.field == field]


def assert_as_reported(found: Difference, before: Moments, after: Moments) -> None:
    """The rows of stacks, lazy pages, mappings and counters are what the two reports differ in."""
    stacks = {one.id for report in (before.report, after.report) for one in report.stacks.stacks}
    assert {row.number: (row.before, row.after) for row in rows(found, "stacks", "current_size")} == {
        number: (before.size(number), after.size(number))
        for number in stacks
        if number is not None and before.size(number) != after.size(number)
    }
    states: dict[int, tuple[object, object]] = {}
    for row in rows(found, "lazy", "state"):
        states |= dict.fromkeys(range(row.start or 0, row.end or 0, PAGE), (row.before, row.after))
    reported = [
        {row[0]: one.report.lazy.pages.state(row) for row in one.report.lazy.pages.rows}
        for one in (before, after)
    ]
    assert states == {
        page: (reported[0].get(page), reported[1].get(page))
        for page in reported[0].keys() | reported[1].keys()
        if reported[0].get(page) != reported[1].get(page)
    }
    mapped: dict[tuple[int, int], tuple[int | None, int | None]] = {}
    for row in rows(found, "mappings", "mapping"):
        pages = range(row.start or 0, row.end or 0, PAGE)
        for index, page in enumerate(pages):
            frames = [None if one is None else one[index] for one in (row.frames_before, row.frames_after)]
            mapped[row.number or 0, page] = frames[0], frames[1]
    differing = {}
    for space in before.mapped.keys() | after.mapped.keys():
        old, new = before.mapped.get(space, {}), after.mapped.get(space, {})
        for page in old.keys() | new.keys():
            if old.get(page) != new.get(page):
                differing[space, page] = old.get(page), new.get(page)
    assert mapped == differing
    counted = {row.field: (row.before, row.after) for row in rows(found, "counters", "total_lazy_pages")}
    lazy = [one.report.counters.stats.total_lazy_pages for one in (before, after)]
    assert counted == ({"total_lazy_pages": tuple(lazy)} if lazy[0] != lazy[1] else {})
    for number in {number for row in found.rows for number in row.events}:
        assert after.events[number] in found.events


def between(machine: TinyOS, *commands: str) -> tuple[Difference, Moments, Moments]:
    """The difference that commands of the kernel's shell make, with both moments' reports."""
    with machine.stopped():
        before, moment = Moments(machine), machine.moment()
    for command in commands:
        machine.shell(command, 60)
    with machine.stopped():
        return machine.diff(moment), before, Moments(machine)


@pytest.fixture
def held(tinyos: TinyOS) -> TinyOS:
    """A machine whose tasks stand still, but for those that a test starts."""
    tinyos.shell("hold")
    return tinyos


def test_the_stress_test_is_explained(held: TinyOS) -> None:
    held.shell("go")
    found, before, after = between(held, "*t", "hold")
    assert found.findings == []
    assert_as_reported(found, before, after)
    assert found.event_count == (after.report.recorded or 0) - (before.report.recorded or 0) > 3000
    assert any(row.kind == "mappings" and row.needs_event for row in found.rows)
    assert all(row.explained for row in found.rows if row.needs_event)


def test_a_growth_is_one_row_of_pages(tinyos: TinyOS) -> None:
    with tinyos.stopped():
        event = tinyos.run_until("stack-growth")
        moment, before = tinyos.moment(), Moments(tinyos)
        event = tinyos.run_until("stack-growth")
        found, after = tinyos.diff(moment), Moments(tinyos)
    assert_as_reported(found, before, after)
    stack = event.stack  # type: ignore[union-attr]
    (size,) = [row for row in rows(found, "stacks", "current_size") if row.number == stack]
    grown = [row for row in rows(found, "mappings", "mapping") if event.sequence in row.events]  # type: ignore[union-attr]
    assert len(grown) == 1
    assert isinstance(size.after, int)
    assert grown[0].size is not None
    assert grown[0].size >= event.second * PAGE  # type: ignore[union-attr]
    assert grown[0].frames_before is None


def test_tasks_that_come_and_go_are_explained(held: TinyOS) -> None:
    found, before, after = between(held, "kill 2", "go", "spawn lazy", "hold")
    assert found.findings == []
    assert_as_reported(found, before, after)
    ended = [row for row in rows(found, "tasks", "state") if row.number == 2]
    assert [(row.after, [found.kind_of(number) for number in row.events]) for row in ended] == [
        ("Ended", ["TaskEnded"])
    ]
    assert [row.explained for row in rows(found, "spaces", "is_active")] == [True, True]


def test_moved_pages_and_a_smaller_pool_are_explained(held: TinyOS) -> None:
    found, before, after = between(held, "pool 1")
    assert found.findings == []
    assert_as_reported(found, before, after)
    kinds = {found.kind_of(number) for row in rows(found, "mappings", "mapping") for number in row.events}
    assert "PageMoved" in kinds
    (limit,) = rows(found, "frames", "limit_frames")
    assert (limit.after, limit.explained) == (256, True)


BUSY = (
    *("spawn discarder", "spawn trimmer", "spawn hog 300", "pool 1", "spawn scatter", "spawn faults 300"),
    *("asid 8", "spawn lazy", "spawn diver", "kill 3", "pool all", "spawn reserver", "hold", "pool 1", "go"),
    *(
        "spawn worker",
        "spawn runaway",
        "kill 5",
        "asid 16",
        "pool all",
        "uptime",
        "spawn nested",
        "spawn hog 90",
    ),
)


def test_a_busy_kernel_has_no_findings(tinyos: TinyOS) -> None:
    """Whatever the kernel does, its events explain it."""
    judged: list[Row] = []
    for command in BUSY * 2:
        moment = tinyos.moment()
        tinyos.shell(command)
        found = tinyos.diff(moment)
        assert found.findings == [], (command, found.notes)
        judged += [row for row in found.rows if row.explained]
    assert {"stacks", "lazy", "mappings", "spaces", "tasks", "frames"} <= {row.kind for row in judged}


@pytest.fixture(scope="module")
def dumps(tinyos_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two dumps of one machine, between which a task ended."""
    folder = tmp_path_factory.mktemp("dumps")
    with TinyOS.boot(tinyos_kernel) as machine:
        machine.shell("hold")
        machine.dump(folder / "first")
        machine.shell("kill 2")
        machine.dump(folder / "second")
    return folder / "first", folder / "second"


@pytest.fixture(scope="module")
def reader(dumps: tuple[Path, Path], tinyos_kernel: Path) -> TinyOS:  # type: ignore[misc]
    """A session that reads the first dump."""
    with TinyOS.open_dump(dumps[0], tinyos_kernel) as session:
        yield session  # type: ignore[misc]


def test_two_dumps_differ_in_what_happened_between_them(reader: TinyOS, dumps: tuple[Path, Path]) -> None:
    found = reader.diff(*dumps)
    assert (found.findings, found.event_count) == ([], 1)
    assert [row.after for row in rows(found, "tasks", "end_reason")] == ["Killed"]
    assert reader.diff("now", dumps[1]).rows == found.rows
    assert reader.diff(dumps[0], "now").rows == ()


def patched(dumps: tuple[Path, Path], folder: Path, physical: int, data: bytes) -> Path:
    """A copy of the second dump with other bytes at a physical address."""
    copy = folder / "patched"
    shutil.copy(dumps[1], copy)
    file = CoreFile(copy)
    before = file.read(physical, len(data))
    place = next(
        place + physical - start for start, size, place in file.segments if start <= physical < start + size
    )
    file.close()
    with copy.open("r+b") as written:
        written.seek(place)
        assert written.read(len(data)) == before
        written.seek(place)
        written.write(data)
    return copy


def test_a_changed_descriptor_is_named(reader: TinyOS, dumps: tuple[Path, Path], tmp_path: Path) -> None:
    """The stack of task 3: its lowest page is mapped to another frame in the second dump."""
    stack = reader.stacks(3).stacks.stacks[0]
    page = (stack.base_address or 0) - (stack.current_size or 0)
    walk = reader.translate(page, asid=reader.context().spaces.of(3).asid)  # type: ignore[union-attr]
    leaf = walk.walk.levels[-1]
    copy = patched(dumps, tmp_path, leaf.address, (leaf.descriptor ^ 0x4_0000).to_bytes(8, "little"))
    found = reader.diff(dumps[0], copy)
    (finding,) = found.findings
    assert finding.object == f"space 3 {page:#x}..{page + PAGE:#x}: mapping"
    assert finding.expected == "no change, as no event is about it"
    (row,) = [row for row in found.rows if row.explained is False]
    assert (row.start, row.size, row.before, row.after) == (page, PAGE, "rw- at EL0", "rw- at EL0")
    assert row.frames_after != row.frames_before
    assert [one for one in found.rows if one is not row] == list(reader.diff(*dumps).rows)


def test_a_dump_of_another_kernel_is_one_line(
    reader: TinyOS, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    image = reader.kernel.image
    physical, identity = image.fingerprint()
    copy = patched(dumps, tmp_path, physical, bytes(len(identity)))
    with pytest.raises(
        ReadFailedError, match=r"patched is a dump of another kernel: .* is not what the machine"
    ):
        reader.diff(dumps[0], copy)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("/nowhere/dump", "cannot read /nowhere/dump: No such file or directory"),
        ("$tinyos_stop(-5)", "$tinyos_stop(-5): only 1 earlier stop was kept"),
        ("$tinyos_stop(1)", "give a negative number, -1 for the stop before this one"),
        ("$tinyos_stop(x)", "give a negative number"),
    ],
)
def test_a_moment_that_does_not_exist_is_one_line(shared_tinyos: TinyOS, moment: str, said: str) -> None:
    shared_tinyos.moment()
    shared_tinyos.shell("uptime")
    with pytest.raises(ReadFailedError) as raised:
        shared_tinyos.diff(moment)
    assert said in str(raised.value)
    assert "\n" not in raised.value.message


def test_an_unknown_kind_is_one_line(shared_tinyos: TinyOS) -> None:
    with pytest.raises(ReadFailedError, match=r"no kind of object stack \(known: stacks, lazy, mappings"):
        shared_tinyos.diff("now", "now", kind=("stack",))


def test_unchanged_allows_what_is_not_named(held: TinyOS) -> None:
    with held.unchanged():
        held.shell("uptime")
    with held.unchanged("lazy", "pressure"):
        held.shell("kill 1")
    with pytest.raises(AssertionError) as raised, held.unchanged("stacks", "mappings"):
        held.shell("kill 2")
    text = str(raised.value)
    assert "stack 2" in text
    assert "TaskEnded" in text
    assert "switch_count" not in text
    with pytest.raises(AssertionError, match="events_recorded"), held.unchanged("counters"):
        held.shell("kill 3")


def test_unchanged_lets_another_error_through(held: TinyOS) -> None:
    def fail() -> None:
        held.shell("kill 1")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), held.unchanged("stacks"):
        fail()


def test_unchanged_leaves_the_machine_as_it_was(shared_tinyos: TinyOS) -> None:
    assert shared_tinyos.running
    with shared_tinyos.unchanged("spaces"):
        assert shared_tinyos.running
    assert shared_tinyos.running
    with shared_tinyos.stopped(), shared_tinyos.unchanged():
        assert not shared_tinyos.running


def test_the_json_of_gdb_and_of_mi_conform(tinyos: TinyOS, tmp_path: Path) -> None:
    tinyos.dump(tmp_path / "dump")
    tinyos.shell("kill 1")
    with tinyos.stopped():
        found = tinyos.json(f"diff {tmp_path / 'dump'} --kind stacks --kind mappings")
    validate(found)
    assert {row["kind"] for row in found["rows"]} == {"stacks", "mappings"}
    # A stack may shrink or grow in the meantime.
    kinds = [event["kind"] for event in found["events"] if not event["kind"].startswith("Stack")]
    assert kinds == ["TaskEnded"]


def test_the_prompt_takes_a_moment_as_typed(dumps: tuple[Path, Path], tinyos_kernel: Path) -> None:
    arguments = [
        REPL,
        "--dump",
        dumps[1],
        "--kernel",
        tinyos_kernel,
        "--batch",
        f"diff {dumps[0]} now --strict",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "TaskEnded" in done.stdout
    assert done.stdout.endswith("0 findings\n")
