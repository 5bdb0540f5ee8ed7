"""`tinyos backtrace` on the running kernel, compared with GDB's own frames."""

import itertools
import json
from pathlib import Path

import pytest

from tests.debugger.conftest import gdb
from tests.debugger.test_packets import MARK, between_marks, memory

SCRIPT = Path(__file__).with_name("inside_backtrace.py")
STOPS = 25


def last_name(function):
    """A function's name without its modules, type parameters and what tells one closure from another."""
    return None if function is None else function.partition("<")[0].rpartition("::")[2]


def compared(machine):
    return json.loads(machine.gdb(f"source {SCRIPT}", timeout=60))


@pytest.mark.parametrize("load", ["faults 2000000", "bench"])
def test_frames_are_gdbs(machine, load):
    machine.console.send(f"{load}\r")
    depths, through_exception = set(), False
    for _ in range(STOPS):
        with machine.stopped():
            machine.gdb("thread 1")
            found = compared(machine)
        ours = found["ours"]["frames"]
        theirs = found["gdb"]
        assert len(ours) >= len(theirs)
        for (pc, name, inlined, line), frame in zip(theirs, ours, strict=False):
            assert (frame["pc"], frame["is_inlined"]) == (pc, inlined)
            assert last_name(frame["function"]) == last_name(name)
            assert (frame["line"] or 0) == line
        assert found["ours"]["broken"] is None
        depths.add(len(ours))
        names = [name for _, name, _, _ in theirs]
        through_exception |= "exception_vectors" in names and names[-1] == "program_faults"
    assert max(depths) > 5
    assert through_exception or load == "bench"


def test_every_task_and_core_has_a_whole_backtrace(machine):
    machine.console.send("faults 2000000\r")
    with machine.stopped():
        found = machine.backtrace(all=True)
        alive = [entry.task.id for entry in machine.tasks() if entry.task.is_alive]
    assert [backtrace.task for backtrace in found if backtrace.task is not None] == alive
    assert [backtrace.core for backtrace in found if backtrace.task is None] == [1, 2, 3]
    assert [backtrace.broken for backtrace in found if backtrace.broken] == []
    for backtrace in found:
        outermost = backtrace.frames[-1].function or ""
        if backtrace.task == 0:
            assert outermost == "in_upper_half"
            assert any((frame.function or "").startswith("kernel::shell::") for frame in backtrace.frames)
        elif backtrace.task is not None:
            assert outermost == f"program_{backtrace.name}"
        else:
            assert outermost == "secondary_parked"


def test_a_second_backtrace_at_the_same_stop_sends_no_packet(shared_machine, proxy, kernel_elf):
    shared_machine.shell("hold")
    try:
        outcome = gdb(
            f"target remote {proxy.address}",
            *itertools.chain.from_iterable((MARK, "tinyos backtrace --all") for _ in range(2)),
            MARK,
            elf=kernel_elf,
        )
    finally:
        shared_machine.shell("go")
    assert "Python" not in outcome.errors
    assert "program_worker" in outcome.output
    first, second = between_marks(proxy.packets)[-2:]
    assert memory(first)
    assert all(not packet.startswith(("M", "X", "G", "P")) for packet in first if "MemMode" not in packet)
    assert second == []


def test_the_first_instructions_of_an_entry_lead_to_the_task(machine):
    """Where GDB cannot tell: the task's PC and stack pointer are only in ELR_EL1 and SP_EL0."""
    machine.shell("spawn nested")
    with machine.stopped():
        machine.gdb("thread 1")
        machine.gdb("set language c")  # Rust knows no symbols of assembly.
        entry = int(machine.gdb("output/x &exception_vectors"), 16) + 0x400
        for _ in range(100):
            machine.gdb(f"thbreak *{entry:#x}")
            machine.gdb("continue")
            (backtrace,) = machine.backtrace()
            if backtrace.name == "nested":  # Other tasks take exceptions too.
                break
        for step in range(6):
            (backtrace,) = machine.backtrace()
            functions = [frame.function for frame in backtrace.frames]
            assert functions[0] == "exception_vectors", step
            assert functions[1:] == ["nested_inner", "nested_middle", "nested_outer", "program_nested"], step
            assert [frame.is_interrupted for frame in backtrace.frames] == [False, True, False, False, False]
            machine.gdb("stepi")
