"""Convenience functions: right at a stop and in conditions; their errors are one line."""

import json
import re

import pytest

from gdbplugin.session import CommandFailedError
from tests.debugger.conftest import gdb
from tests.debugger.test_stress import RELIEVE


def number(debugger, expression):
    return int(debugger.execute(f"python print(int(gdb.parse_and_eval('{expression}')))"))


def test_they_give_what_the_commands_show(shared_machine):
    with shared_machine.stopped() as debugger:
        debugger.execute("thread 1")
        report = json.loads(debugger.execute("tinyos report --json"))
        assert number(debugger, "$tinyos_asid()") == report["cores"][0]["ttbr0"]["asid"]
        assert number(debugger, "$tinyos_level()") == 0
        running = shared_machine.tasks()
        assert number(debugger, "$tinyos_task()") == running.current
        for entry in running.tasks[1:4]:
            assert number(debugger, f"$tinyos_task({entry.task.id}).stack") == entry.task.stack
        for stack in report["stacks"]:
            value = f"$tinyos_stack({stack['id']})"
            assert number(debugger, f"{value}.current_size") == stack["current_size"]
            assert number(debugger, f"{value}.growth_count") == stack["growth_count"]
        assert number(debugger, "$tinyos_stack(4000).is_active") == 0
        pages = report["pages"]
        for page in pages[:: max(1, len(pages) // 40)]:
            state = number(debugger, f"$tinyos_lazy({page['virtual_address'] + 8}, {page['owner']})")
            assert state == 2 * page["is_allocated"] + page["is_zero_page"]
        assert number(debugger, f"$tinyos_lazy(8, {pages[0]['owner']})") == -1
        assert number(debugger, "$tinyos_lazy(0)") == -1
        here = json.loads(debugger.execute("tinyos translate $pc --json"))["output"]
        assert number(debugger, "$tinyos_translate($pc)") == here
        assert number(debugger, "$tinyos_translate(0x8)") == -1


@pytest.mark.parametrize("language", ["rust", "c"])
def test_each_function_works_in_a_condition(machine, language):
    conditions = (
        "$tinyos_level() == 3",
        "$tinyos_asid() != 0",
        "$tinyos_stack(1).current_size >= 4096",
        "$tinyos_translate($pc) > 0",
        "$tinyos_lazy($pc) == -1",
    )
    with machine.stopped() as debugger:
        debugger.execute(f"set language {language}")
        for condition in conditions:
            debugger.execute(f"break {RELIEVE} if {condition}")
        with pytest.raises(CommandFailedError) as caught:
            debugger.execute("tinyos stress", timeout=60)
        assert "Error in testing" not in "".join([*debugger.warnings, caught.value.output])
        stopped_at = re.search(r"at breakpoint ([\d, ]+)", caught.value.reason)[1].split(", ")
        holding = [number(debugger, condition) for condition in conditions]
        assert len(stopped_at) == sum(holding) >= 3
        debugger.execute("delete")


def test_a_condition_is_evaluated_anew_at_each_hit(machine):
    """What was read at a hit that did not stop must not be kept."""
    with machine.stopped() as debugger:
        debugger.execute(f"break {RELIEVE} if $tinyos_level() == 3")
        with pytest.raises(CommandFailedError):
            debugger.execute("tinyos stress", timeout=60)
        assert number(debugger, "$tinyos_level()") == 3
        assert '"level": "Critical"' in debugger.execute("tinyos pressure --json")


def test_errors_are_one_line(kernel_elf):
    expected = {
        "$tinyos_level()": "there is no target",
        "$tinyos_asid(1)": "$tinyos_asid: wrong number of arguments (1). Usage: $tinyos_asid()",
        "$tinyos_stack()": "wrong number of arguments (0). Usage: $tinyos_stack(ID)",
        "$tinyos_lazy(1, 2, 3)": "arguments (3). Usage: $tinyos_lazy(ADDRESS), $tinyos_lazy(ADDRESS, TASK)",
    }
    outcome = gdb(*(f"print {expression}" for expression in expected), elf=kernel_elf)
    assert "Python Exception" not in outcome.errors
    lines = outcome.errors.strip().splitlines()
    assert len(lines) == len(expected), lines
    for line, reason in zip(lines, expected.values(), strict=True):
        assert reason in line


def test_an_argument_that_is_not_a_number_is_one_line(shared_machine, kernel_elf):
    shared_machine.detach()  # QEMU has one GDB at a time.
    outcome = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        # In a task's assembly GDB would choose another language, in which the first of these is a number.
        "set language rust",
        'print $tinyos_stack($_gdb_setting("width"))',
        "print $tinyos_translate(DEBUGGER_INTERFACE)",
        elf=kernel_elf,
    )
    assert "Python Exception" not in outcome.errors
    assert len(outcome.errors.strip().splitlines()) == 2


def test_the_functions_have_help():
    outcome = gdb("help function tinyos_lazy", "apropos tinyos_level")
    assert "0 pending, 1 on the zero page, 2 allocated" in outcome.output
    assert "level of memory pressure" in outcome.output
