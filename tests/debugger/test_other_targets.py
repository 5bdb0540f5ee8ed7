"""Targets of another architecture, processor state or byte order: one correct line for each command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gdbplugin.aarch64.registers import is_processor_state
from gdbplugin.session import TinyOS
from tests.debugger.conftest import Outcome, gdb, stopped

OF_THE_KERNEL = ("stats", "stacks", "lazy", "pressure", "context", "report", "check", "events", "stress")
OF_ANY = ("registers", "translate 0x1000", "maps", "lint", "fault")
FUNCTIONS = ("$tinyos_asid()", "$tinyos_translate(0x1000)", "$tinyos_level()")


def complaints(done: Outcome) -> list[str]:
    """The lines of standard error, without GDB's own warnings about a missing program."""
    own = ("warning: No executable", "determining executable")
    return [line for line in done.errors.splitlines() if line and not line.startswith(own)]


def every_command(*before: str) -> list[str]:
    commands = [f"tinyos {command}" for command in (*OF_THE_KERNEL, *OF_ANY)]
    return [*before, *commands, *(f"print {function}" for function in FUNCTIONS)]


ARM = "the target describes itself as arm: the tinyos commands are for AArch64"


@pytest.mark.parametrize(
    "machine",
    [["-M", "virt", "-cpu", "cortex-a15"], ["-M", "mps3-an536"]],
    ids=["cortex-a15", "cortex-r52"],
)
def test_a_processor_of_aarch32_is_named(tmp_path: Path, machine: list[str]) -> None:
    with stopped(tmp_path, *machine) as stub:
        done = gdb(*every_command(f"target remote {stub}"))
    said = complaints(done)
    assert len(said) == len(OF_THE_KERNEL) + len(OF_ANY) + len(FUNCTIONS)
    assert all(line.endswith(ARM) for line in said), said


def test_a_cluster_of_other_processors_is_named(tmp_path: Path) -> None:
    """The Cortex-R5s of this machine are the second inferior; the Cortex-A53s still answer."""
    with stopped(tmp_path, "-M", "xlnx-zcu102", "-smp", "6") as stub:
        second = ("add-inferior", "inferior 2", "attach 2", "info threads")
        first = ("inferior 1", "tinyos translate 0x1000 --json")
        done = gdb(
            "set schedule-multiple on", f"target extended-remote {stub}", *every_command(*second), *first
        )
    said = [line for line in complaints(done) if "the target describes itself" in line]
    assert len(said) == len(OF_THE_KERNEL) + len(OF_ANY) + len(FUNCTIONS), done
    assert all(line.endswith(ARM) for line in said), said
    found = next(line for line in done.output.splitlines() if line.startswith("{"))
    assert json.loads(found)["output"] == 0x1000


def test_gdbs_byte_order_only_adds_a_warning(tmp_path: Path) -> None:
    """QEMU's registers are little-endian, but GDB reads them by `set endian` if it is set before."""
    commands = [f"tinyos {command} --json" for command in ("registers", "translate 0x1000", "fault")]
    done = {}
    for order in ("little", "big"):
        # One machine for each: GDB resumes it when it quits.
        folder = tmp_path / order
        folder.mkdir()
        with stopped(folder, "-M", "virt", "-cpu", "cortex-a72") as stub:
            done[order] = gdb(f"set endian {order}", f"target remote {stub}", *commands)
    usual, big = done["little"], done["big"]
    before, after = (
        [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
        for outcome in (usual, big)
    )
    assert len(before) == len(commands)
    assert after == before
    remark = "GDB's byte order is big-endian, but the target's registers are little-endian"
    assert big.errors.count(remark) == 1
    assert remark not in usual.errors


def test_a_kernel_is_decoded_the_same_in_either_byte_order(shared_machine: TinyOS, kernel_elf: Path) -> None:
    shared_machine.detach()
    commands = [f"tinyos {command} --json" for command in ("stats", "stacks", "context", "check")]
    target = f"target remote {shared_machine.qemu.gdb_address}"
    for order in (("set endian big", target), (target, "set endian big")):
        done = gdb(*order, *commands, elf=kernel_elf)
        stats, stacks, context, check = (
            json.loads(line) for line in done.output.splitlines() if line.startswith("{")
        )
        assert stats["stats"]["active_dynamic_stacks"] == len(
            [stack for stack in stacks["stacks"] if stack["is_active"]]
        )
        # The first may be stopped in a task; the others are parked in the kernel.
        assert [core["exception_level"] for core in context["cores"][1:]] == [1, 1, 1]
        assert check["findings"] == []


ENTER_AARCH32 = """
import gdb
memory = gdb.selected_inferior()
def words(address, *values):
    memory.write_memory(address, b"".join(value.to_bytes(4, "little") for value in values))
# msr SCR_EL3, x0; msr SPSR_EL3, x1; msr ELR_EL3, x2; eret. There, in AArch32: b .
words(0x40001000, 0xD51E1100, 0xD51E4001, 0xD51E4022, 0xD69F03E0)
words(0x40002000, 0xEAFFFFFE)
for name, value in dict(x0=1, x1=0x1D3, x2=0x40002000, pc=0x40001000).items():
    gdb.execute(f"set ${name} = {value}")
gdb.execute("stepi 4", to_string=True)
"""


def test_a_core_in_aarch32_state_is_named(tmp_path: Path) -> None:
    """QEMU's stub still gives the processor state that it had in AArch64."""
    script = tmp_path / "enter.py"
    script.write_text(ENTER_AARCH32)
    machine = ["-M", "virt,secure=on", "-cpu", "cortex-a53", "-smp", "2"]
    asked = ["tinyos translate 0x1000", "tinyos maps"]
    with stopped(tmp_path, *machine) as stub:
        before = ["set architecture aarch64", f"target remote {stub}", f"source {script}"]
        done = gdb(*before, *asked, "tinyos fault", "thread 2", "tinyos translate 0x1000")
    said = complaints(done)
    assert len(said) == len(asked), done
    assert set(said) == {"core 0 is in AArch32 state, which has other translation tables"}
    assert "AArch32 state: its exceptions there leave no syndrome in ESR_EL1" in " ".join(done.output.split())
    # The other core is where it was.
    assert "by core 1, EL3, EL3 regime, MMU off" in done.output


@pytest.mark.parametrize("state", [0x4000_03CD, 0x3C9, 0x6000_03C5, 0x8000_0005, 0x2000_0304])
def test_a_state_in_the_wrong_byte_order_is_not_a_state(state: int) -> None:
    assert is_processor_state(state)
    assert not is_processor_state(int.from_bytes(state.to_bytes(4, "big"), "little"))


@pytest.mark.parametrize("state", [0x0, 0x8000_0000, 0x6000_0010, 0x6000_01D3])
def test_states_of_el0_and_aarch32_are_states(state: int) -> None:
    assert is_processor_state(state)
