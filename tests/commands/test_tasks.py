"""`tasks` and `backtrace` over a made-up kernel: what they find, and how it is shown."""

import pytest

from gdbplugin.kernel.backtrace import read_backtraces
from gdbplugin.kernel.task_list import read_task_list
from gdbplugin.layout.code import CodeMap, CodeTables
from gdbplugin.machine import SelectionError
from tests.commands.forms import BY_WORD, json_of, text_of
from tests.kernel.stopped import stopped_world
from tests.kernel.synthetic import World
from tests.schemas.validation import validate

PROGRAM, CALLER, INNER = 0x40_0000, 0x40_0100, 0x40_0040


def code():
    """Two functions; one has another inlined."""
    tables = CodeTables()
    outer, caller, inner, file = map(tables.number, ("program", "caller", "inner", "program.rs"))
    tables.functions += [[PROGRAM, CALLER, PROGRAM, outer], [CALLER, CALLER + 0x80, CALLER, caller]]
    tables.inlined[str(PROGRAM)] = [[INNER, INNER + 8, 0, inner, file, 12]]
    tables.addresses += [PROGRAM, INNER, INNER + 8, CALLER]
    tables.files += [file] * 4
    tables.lines += [10, 99, 11, 30]
    tables.sort()
    return CodeMap(tables)


@pytest.fixture
def world(monkeypatch):
    """Task 1 runs, task 2 sleeps in the inlined function, task 3 has ended."""
    world = World()
    monkeypatch.setattr("gdbplugin.kernel.target.Target.code", property(lambda _: code()))
    world.scheduler["tasks"][2] |= {
        "state": "Sleeping",
        "wake_time": (1 << 64) - 1,
        "name": list(b"sleeper".ljust(16, b"\0")),
        "context": {"pc": INNER + 4, "x": [7] * 29 + [0, CALLER + 8], "sp": 0x7000_0000_0000},
    }
    world.scheduler["tasks"].append(
        {"id": 3, "state": "Ended", "end_reason": "Exited", "name": list(b"worker".ljust(16, b"\0"))}
    )
    return world


def test_a_task_that_does_not_run_is_where_the_kernel_saved_it(world):
    found = read_backtraces(stopped_world(world), 2)
    (backtrace,) = found
    assert (backtrace.task, backtrace.state, backtrace.core, backtrace.broken) == (2, "Sleeping", None, None)
    assert [(frame.function, frame.offset, frame.file, frame.line) for frame in backtrace.frames] == [
        ("inner", None, "program.rs", 99),
        ("program", INNER + 4 - PROGRAM, "program.rs", 12),
    ]
    assert [frame.is_inlined for frame in backtrace.frames] == [True, False]
    validate(json_of("backtrace", found))


def test_each_task_says_what_it_waits_for(world):
    found = read_task_list(stopped_world(world))
    assert [(entry.task.id, entry.core, entry.waits_for) for entry in found] == [
        (1, 0, None),
        (2, None, "input"),
        (3, None, None),
    ]
    text = text_of("tasks", found)
    assert "Tasks (2 alive, 1 ended on record)" in text
    assert "waits for input" in text
    assert "inner at program.rs:99" in text
    validate(json_of("tasks", found))


def test_one_task_has_its_registers_and_its_backtrace(world):
    found = read_task_list(stopped_world(world), "sleeper")
    assert found.registers.x[:2] == (7, 7)
    assert found.backtrace.frames[0].function == "inner"
    text = text_of("tasks", found)
    assert "x30    0x400108" in text
    assert "#1   0x400044 program + 68 at program.rs:12" in text
    validate(json_of("tasks", found))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (9, r"no task 9 \(alive: 1, 2\)"),
        ("nobody", r"no task nobody \(alive: 1, 2\)"),
    ],
)
def test_a_task_that_does_not_exist_is_an_error(world, wanted, said):
    with pytest.raises(SelectionError, match=said):
        read_backtraces(stopped_world(world), wanted)


def test_a_name_means_the_living_task_and_only_one(world):
    assert read_backtraces(stopped_world(world), "worker").backtraces[0].task == 1
    world.scheduler["tasks"][2]["name"] = list(b"worker".ljust(16, b"\0"))
    with pytest.raises(SelectionError, match=r'several tasks are called "worker": give a number \(1, 2\)'):
        read_backtraces(stopped_world(world), "worker")


def test_an_ended_task_has_no_frames_and_says_why(world):
    (backtrace,) = read_backtraces(stopped_world(world), 3)
    assert backtrace.frames == ()
    assert backtrace.broken == "it has ended (Exited), and no longer has memory"


def test_all_are_the_living_tasks_and_the_other_cores(world):
    found = read_backtraces(stopped_world(world), every=True)
    tasks = [(backtrace.task, backtrace.core) for backtrace in found]
    assert tasks[:2] == [(1, 0), (2, None)]
    assert all(task is None for task, _ in tasks[2:])
    by_word = BY_WORD["backtrace"].read(stopped_world(world), {"task": "all"})
    assert json_of("backtrace", by_word) == json_of("backtrace", found)


def test_selections_that_exclude_each_other_are_refused(world):
    with pytest.raises(SelectionError, match="exclude each other"):
        read_backtraces(stopped_world(world), 1, every=True)
