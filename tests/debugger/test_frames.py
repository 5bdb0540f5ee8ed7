"""`bt` in a stock GDB, without our plugin: from the kernel through an exception to what it interrupted.

What is expected comes from the CPU's registers when the exception is taken, from the known calls of programs,
and from the frame records that X29 leads to.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import groupby
from pathlib import Path

import pytest

from tests.debugger.conftest import gdb

SCRIPT = Path(__file__).with_name("inside_frames.py")
NESTED = ["nested_inner", "nested_middle", "nested_outer", "program_nested"]
STACK_SLOT = 2 << 20
"""Bytes; the stack pointer of a task's first function is at a multiple of it."""
UNKNOWN, UNKNOWN_AT_EL1, UNKNOWN_OF_FATAL = 3, 2, 7
"""Instructions at the beginning of a vector where the frames end: ELR_EL1 and SP_EL0 are not yet in registers
that DWARF has. For a task, for the kernel, and for an exception of a task that ends the kernel."""

RETURN = bytes.fromhex("c0035fd6")
"""RET, as it is in memory."""


class Lines:
    """What the script printed: by `what`, in order."""

    def __init__(self, outcome):
        self._outcome = outcome
        self._all = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
        assert "Traceback" not in outcome.errors, outcome.errors
        for line in self._all:
            if "text" in line:
                check_text(line)

    def __getitem__(self, what):
        found = [line for line in self._all if line["what"] == what]
        assert found, f"no {what}: {self._outcome.errors}"
        return found


def check_text(line):
    """`bt` prints every frame once, and nothing else, such as why it stopped."""
    printed = line["text"].splitlines()
    assert all(one.startswith(("#", " ")) for one in printed), line["text"]
    numbers = [int(one.split()[0][1:]) for one in printed if one.startswith("#")]
    assert numbers == list(range(len(line["frames"]))), line["text"]


def run(machine, kernel_elf, *statements):
    """Run statements of the script on a machine that the script stops."""
    commands = [f"target remote {machine.qemu.gdb_address}", *(f"python {one}" for one in statements)]
    with ThreadPoolExecutor() as pool:
        done = pool.submit(gdb, *commands, elf=kernel_elf, plugin=SCRIPT)
        # QEMU waits when the console's socket is full, so somebody has to read it.
        while not done.done():
            _ = machine.console.transcript
            wait([done], timeout=0.05)
    return Lines(done.result())


def kinds(line):
    return [frame["kind"] for frame in line["frames"]]


def outer(line):
    """The frames of the interrupted code: those after the first signal frame."""
    return line["frames"][kinds(line).index("signal") + 1 :]


def names(frames):
    return [frame["name"] for frame in frames]


def places(frames):
    return [(frame["name"], frame["pc"], frame["sp"]) for frame in frames]


def check_registers(line, expected, complete):
    """The registers of the interrupted code are what they were, or unknown unless all must be `complete`."""
    found = outer(line)[0]["registers"]
    wrong = {name: value for name, value in found.items() if value != expected[name]}
    assert not any(value is not None for value in wrong.values()), (hex(line["pc"]), wrong)
    assert not complete or not wrong, (hex(line["pc"]), wrong)
    assert found["pc"] == expected["pc"]
    assert found["sp"] == expected["sp"]


def check_task(line, expected, complete=True):
    """The frames of the task, from its program to where it was interrupted."""
    frames = outer(line)
    assert names(frames) == NESTED, hex(line["pc"])
    check_registers(line, expected, complete)
    assert frames[-1]["sp"] % STACK_SLOT == 0
    assert frames[1]["pc"] == expected["x30"]


def check_shell(line, interrupted, complete=True):
    """The frames of the shell, from the boot code to where it was interrupted. Inlined ones have one PC."""
    frames = outer(line)
    check_registers(line, interrupted["registers"], complete)
    assert names(frames)[-2:] == ["kernel::kernel_main", "in_upper_half"]
    pcs = [key for key, _ in groupby(frame["pc"] for frame in frames)]
    assert pcs == [interrupted["registers"]["pc"], *interrupted["records"]]


def known(lines, unknown):
    """The lines from the first one whose frames lead out of the vector.

    At most `unknown` instructions come before it. On a loaded host a step of QEMU's may end where it began,
    so there may be more lines than instructions.
    """
    first = next(index for index, line in enumerate(lines) if len(line["frames"]) > 1)
    assert len({line["pc"] for line in lines[:first]}) <= unknown
    return lines[first:]


@pytest.fixture
def held(boot):
    """A machine where only the tasks run that a test starts."""
    machine = boot()
    machine.shell("hold")
    return machine


def type_for_later(machine, command):
    """Type a command that the shell gets when GDB lets the machine run. The UART holds 16 characters."""
    machine.qemu.command("stop")
    machine.console.send(f"{command}\r")


ENTRIES = {
    "system call": ("SYNCHRONOUS, 0x15", "task_synchronous"),
    "data abort": ("SYNCHRONOUS, 0x24", "task_synchronous"),
    "interrupt": ("INTERRUPT, None", "task_interrupted"),
}


def with_result(line, expected, entry):
    """The registers that are expected: after a system call has been carried out, X0 is its result, 0."""
    done = entry == "system call" and outer(line)[0]["registers"]["x0"] == 0
    return {**expected, "x0": 0} if done else expected


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_instruction_of_an_exception_has_the_tasks_frames(held, kernel_elf, entry):
    held.shell("spawn nested")
    exception, handler = ENTRIES[entry]
    lines = run(
        held,
        kernel_elf,
        f"run_to_exception({exception}, 'nested_inner')",
        "show_cpu()",
        f"step_to(address('{handler}'), 'entry')",
        "step_to(address('resume'), 'handler')",
        "step_out('return')",
    )
    (interrupted,) = lines["interrupted"]
    expected = interrupted["registers"]
    for line in known(lines["entry"], UNKNOWN)[:-1]:
        assert len(line["frames"]) == 1 + len(NESTED)
        check_task(line, expected, complete=False)
    for line in lines["entry"][-1:] + lines["handler"]:
        check_task(line, with_result(line, expected, entry))
    assert len(lines["handler"]) > 20
    for line in lines["return"]:
        assert len(line["frames"]) == 1 + len(NESTED)
        check_task(line, with_result(line, expected, entry))
    # At EL0 again: the same frames without those of the kernel.
    (left,) = lines["left"]
    assert places(left["frames"]) == places(outer(lines["return"][-1]))
    assert left["pc"] == expected["pc"]


def test_an_instruction_abort_has_the_callers(held, kernel_elf):
    type_for_later(held, "spawn nested 1")
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(SYNCHRONOUS, 0x20)",
        "show_cpu()",
        "step_to(address('task_synchronous'), 'entry')",
    )
    (interrupted,) = lines["interrupted"]
    for line in known(lines["entry"], UNKNOWN):
        assert names(outer(line)) == [None, *NESTED[1:]]
        check_registers(line, interrupted["registers"], complete=line is lines["entry"][-1])


def test_a_stack_that_grows_has_every_level_of_the_descent(held, kernel_elf):
    held.shell("spawn worker")
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(SYNCHRONOUS, 0x24, 'descend')",
        "show_cpu()",
        "run_to(address('task_synchronous'))",
        "show_frames()",
    )
    (interrupted,), (line,) = lines["interrupted"], lines["frames"]
    frames = outer(line)
    assert set(names(frames[:-1])) == {"descend"}
    assert frames[-1]["name"] == "program_worker"
    assert len(frames) > 4
    # The push that faulted has not moved the stack pointer; each level before it has 512 bytes.
    top = interrupted["registers"]["sp"]
    assert [frame["sp"] for frame in frames] == [top, *range(top, frames[-1]["sp"] + 1, 512)]
    assert frames[-1]["sp"] % STACK_SLOT == 0


def test_each_instruction_of_the_return_has_the_next_task(held, kernel_elf):
    held.shell("spawn nested")
    held.shell("spawn nested")
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(INTERRUPT, None, 'nested_inner')",
        "show_cpu()",
        "run_to(address('resume'))",
        "show_context()",
        "step_out('return')",
    )
    (interrupted,), (context,) = lines["interrupted"], lines["context"]
    assert context["registers"]["sp"] // STACK_SLOT != interrupted["registers"]["sp"] // STACK_SLOT
    for line in lines["return"]:
        check_task(line, context["registers"])
    assert places(lines["left"][0]["frames"]) == places(outer(lines["return"][0]))


def test_each_instruction_of_an_interrupt_has_the_shells_frames(held, kernel_elf):
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(SHELL_INTERRUPT)",
        "show_cpu()",
        "step_to(address('shell_interrupted'), 'entry')",
        "step_to(address('resume'), 'handler')",
        "step_out('return')",
    )
    (interrupted,) = lines["interrupted"]
    for line in known(lines["entry"], UNKNOWN_AT_EL1):
        check_shell(line, interrupted, complete=line is lines["entry"][-1])
    for line in lines["handler"] + lines["return"]:
        check_shell(line, interrupted)
    assert places(lines["left"][0]["frames"]) == places(outer(lines["return"][-1]))


def test_each_instruction_of_a_kernels_failure_has_its_frames(held, kernel_elf):
    type_for_later(held, "crash")
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(FATAL)",
        "show_cpu()",
        "step_in_vectors((6, 7, 4), address('fatal_exception'))",
        "run_to(address('debugger_request_changed'))",
        "show_frames()",
    )
    (interrupted,), (halted,) = lines["interrupted"], lines["frames"]
    for vector in (4, 6, 7):
        found = lines[f"vector {vector}"]
        for line in known(found, UNKNOWN_AT_EL1):
            check_shell(line, interrupted, complete=line is found[-1])
    check_shell(halted, interrupted)
    assert "kernel::shell::control::stop_by_wild_access" in names(outer(halted))


def test_each_instruction_of_a_tasks_failure_has_its_frames(held, kernel_elf):
    held.shell("spawn nested")
    vectors = (0, 1, 2, 3, *range(10, 16))
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(SYNCHRONOUS, 0x15, 'nested_inner')",
        "show_cpu()",
        f"step_in_vectors({vectors}, address('fatal_exception'))",
        "go_on_in_vector(11)",
        "run_to(address('debugger_request_changed'))",
        "show_frames()",
    )
    (interrupted,), (halted,) = lines["interrupted"], lines["frames"]
    expected = interrupted["registers"]
    for vector in vectors:
        found = lines[f"vector {vector}"]
        for line in known(found, UNKNOWN_OF_FATAL):
            check_task(line, expected, complete=line is found[-1])
    check_task(halted, expected)
    # The kernel has noted the same.
    assert f"SP: {expected['sp']:#x}  X29: {expected['x29']:#x}" in held.console.transcript


def test_a_failure_of_a_handler_has_both_and_the_task(held, kernel_elf):
    held.shell("spawn nested")
    lines = run(
        held,
        kernel_elf,
        "run_to_exception(SYNCHRONOUS, 0x15, 'nested_inner')",
        "run_to(address('task_synchronous'))",
        "gdb.execute('set $x0 = -4096')",
        "run_to(address('debugger_request_changed'))",
        "show_frames()",
    )
    (line,) = lines["frames"]
    assert kinds(line).count("signal") == 2
    frames = outer(line)
    handler = frames[: [frame["kind"] for frame in frames].index("signal")]
    assert handler[-1]["name"] == "kernel::exceptions::task_synchronous"
    assert names(frames[len(handler) + 1 :]) == NESTED


@pytest.mark.parametrize("command", ["panic", "overflow"])
def test_a_failed_shell_has_all_frames_to_the_boot_code(held, kernel_elf, command):
    type_for_later(held, command)
    lines = run(held, kernel_elf, "run_to(address('debugger_request_changed'))", "show_frames()")
    (line,) = lines["frames"]
    assert names(line["frames"])[-3:] == ["kernel::shell::run", "kernel::kernel_main", "in_upper_half"]
    assert kinds(line).count("signal") == (command == "overflow")
    assert len({(frame["pc"], frame["sp"], frame["name"]) for frame in line["frames"]}) == len(line["frames"])


def test_every_stack_ends_where_its_code_began(boot, kernel_elf):
    machine = boot(paused=True)
    programs = ["program_worker", "program_lazy", "program_scatter", "program_hog"]
    lines = run(
        machine,
        kernel_elf,
        # A step is of one core: the others stay where they are.
        "gdb.execute('set scheduler-locking step')",
        "run_to(address('in_upper_half'))",
        "step_to(address('in_upper_half') + 40, 'boot')",
        "run_to(address('kernel_main'))",
        "show_frames('kernel')",
        "run_to(address('install_kernel_table'))",
        "show_frames('table')",
        f"show_first_frames({programs})",
        "show_threads()",
    )
    assert all(names(line["frames"]) == ["in_upper_half"] for line in lines["boot"])
    assert names(lines["kernel"][0]["frames"]) == ["kernel::kernel_main", "in_upper_half"]
    table = names(lines["table"][0]["frames"])
    assert (table[0], table[-2:]) == ("install_kernel_table", ["kernel::kernel_main", "in_upper_half"])
    for name in programs:
        assert names(lines[name][0]["frames"]) == [name]
    assert [names(line["frames"]) for line in lines["thread"][1:]] == [["secondary_parked"]] * 3


def test_functions_of_the_compilers_library_have_callers(held, kernel_elf):
    """They have no call frame information; GDB finds their callers by their instructions.

    Where they keep a frame (`-Zbuild-std`), GDB 13 does not see that it is gone before the last instruction.
    """
    type_for_later(held, "tasks")
    lines = run(
        held,
        kernel_elf,
        "run_to(address('memcpy'))",
        "step_to(register(gdb.newest_frame(), 'x30'))",
    )
    after = lines["frames"].pop()
    assert len(lines["frames"]) > 5
    for line in lines["frames"][:-1]:
        found = {frame["pc"] for frame in line["frames"]}
        is_last = held.qemu.ram.read(line["pc"] & 0xFFFF_FFFF, 4) == RETURN
        assert line["pc"] in found
        assert after["pc"] in found or is_last
        assert line["frames"][-1]["name"] == "in_upper_half"
