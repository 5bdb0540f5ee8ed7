"""Runs of the kernel's tests: what is made of the states before and after."""

import pytest

from gdbplugin.kernel.check_state import read_accounting
from gdbplugin.kernel.interface import Interface
from gdbplugin.kernel.kernel_test import (
    StrategyChange,
    compare_context,
    compare_stress,
    read_context_state,
    read_stress_state,
)
from gdbplugin.kernel.pressure import read_pressure
from gdbplugin.render import Style
from tests.commands.forms import json_of, text_of
from tests.kernel.synthetic import World
from tests.schemas.validation import validate


def interface(result=0):
    return Interface(
        version=2, request=0, served=1, result=result, progress=40, progress_total=100, is_ready=1, active=0
    )


def test_every_frame_of_a_small_kernel_is_accounted_for():
    found = read_accounting(World().kernel())
    assert found.total == 96
    assert found.used == found.owned == 27
    assert found.lost == 0
    assert found.is_sound


def test_a_frame_that_nothing_owns_is_lost():
    world = World()
    before = read_stress_state(world.copy().kernel())
    world.frame("Stack", 1, 9)
    kernel = world.kernel()
    assert read_accounting(kernel).lost == 1
    run = compare_stress(kernel, before, interface())
    assert run.frames_lost == 1
    assert [finding.object for finding in kernel.diagnostics.findings] == ["frames lost by the stress test"]
    assert "1 LOST" in text_of("stress", run, Style())


def test_one_lost_before_is_not_the_tests():
    world = World()
    world.frame("Stack", 1, 9)
    before = read_stress_state(world.copy().kernel())
    kernel = world.kernel()
    run = compare_stress(kernel, before, interface())
    assert run.after.frames.lost == 1
    assert run.frames_lost == 0


def test_the_change_of_every_counter():
    world = World()
    before = read_stress_state(world.copy().kernel())
    world.manager["stats"]["optimization_events"] = 7
    world.manager["pressure_handler"]["level_events"] = [2, 2, 3, 5]
    world.manager["pressure_handler"]["strategies"][1]["run_count"] += 3
    kernel = world.kernel()
    run = compare_stress(kernel, before, interface())
    assert {name: change for name, change in run.changes.items() if change} == {"optimization_events": 7}
    assert run.levels_entered == {"Low": 1, "Medium": 0, "High": 0, "Critical": 1}
    assert StrategyChange("PressureRelief", run_count=3, total_won=0) in run.strategies
    validate(json_of("stress", run))
    assert "passed" in text_of("stress", run, Style())


@pytest.mark.parametrize(
    ("result", "said", "findings"),
    [
        (0, "passed", 0),
        (1, "failed", 1),
        (3, "cancelled at 40 of 100 steps", 0),
        (4, "no room", 1),
        (5, "out of time", 1),
        (9, "result 9", 1),
    ],
)
def test_what_the_kernel_said_of_it(result, said, findings):
    kernel = World().kernel()
    run = compare_stress(kernel, read_stress_state(kernel), interface(result))
    assert said in text_of("stress", run, Style())
    tested = compare_context(kernel, read_context_state(kernel), interface(result))
    assert f"Context switching test: {said.split(' at ')[0]}" in text_of("context --test", tested, Style())
    assert kernel.diagnostics.finding_count == 2 * findings


def test_without_room_for_its_tasks_the_finding_says_why():
    kernel = World().kernel()
    compare_context(kernel, read_context_state(kernel), interface(4))
    (finding,) = kernel.diagnostics.findings
    free, limit = read_pressure(kernel).free_frames, read_pressure(kernel).limit_frames
    assert finding.found.startswith("no room: not all of its tasks could be started")
    assert f"with {free} of {limit} frames free" in finding.found


def test_frames_are_not_counted_during_a_change():
    world = World()
    world.sequence = 7
    before = read_stress_state(world.copy().kernel())
    assert before.frames is None
    world.sequence = 8
    kernel = world.kernel()
    run = compare_stress(kernel, before, interface())
    assert run.frames_lost == 0
    assert "in the middle of a change before the test" in kernel.diagnostics.notes[0]
    validate(json_of("stress", run))


def test_what_a_context_test_changed():
    world = World()
    before = read_context_state(world.copy().kernel())
    switcher = world.manager["context_switcher"]
    switcher["switch_count"] += 50
    switcher["invalidations"] = {"by_asid": 2}
    tasks = world.scheduler["tasks"]
    tasks[1]["switch_count"] = 4
    tasks[2] |= {"switch_count": 9, "start_time": 1}
    kernel = world.kernel()
    run = compare_context(kernel, before, interface())
    assert {name: change for name, change in run.changes.items() if change} == {
        "switch_count": 50,
        "invalidations_by_asid": 2,
    }
    assert [(task.id, task.is_new, task.switches) for task in run.tasks] == [(1, False, 4), (2, True, 9)]
    validate(json_of("context --test", run))
    text = text_of("context --test", run, Style())
    assert "+50" in text
    assert "started meanwhile" in text


def test_a_corrupt_kernel_is_shown_all_the_same():
    world = World()
    kernel = world.copy().kernel()
    stress, context = read_stress_state(kernel), read_context_state(kernel)
    world.manager["pressure_handler"]["level"] = 44
    world.manager["pressure_handler"]["strategies"][0]["strategy"] = 9
    world.manager["stack_manager"]["stacks"][0]["current_size"] = 1 << 60
    kernel = world.kernel()
    run = compare_stress(kernel, stress, interface(1))
    validate(json_of("stress", run))
    assert "—" in text_of("stress", run, Style())
    tested = compare_context(kernel, context, interface(1))
    validate(json_of("context --test", tested))
