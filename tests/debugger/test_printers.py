"""How values of the kernel's types are printed."""

import json

import pytest

from tests.debugger.conftest import gdb

MANAGER = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER.value.value"
SCHEDULER = "kernel::scheduler::SCHEDULER"


@pytest.fixture(scope="module")
def printed(shared_machine):
    """The output of `print`, on a parked core, where GDB can always read kernel addresses."""

    def show(expression):
        with shared_machine.stopped() as debugger:
            debugger.execute("thread 2")
            debugger.execute("set language rust")
            return debugger.execute(f"print {expression}").partition(" = ")[2].strip()

    return show


def test_names_are_short_and_addresses_hexadecimal(printed, shared_machine):
    shared_machine.shell("hold")
    stack = printed(f"{MANAGER}.stack_manager.stacks[0]")
    report = shared_machine.json("report")["stacks"][0]
    shared_machine.shell("go")
    assert stack.startswith("DynamicStack = {id = 1, base_address = ")
    assert "is_active = true, policy = Conservative, owner = 1," in stack
    assert f"base_address = {report['base_address']:#x}" in stack
    size = report["current_size"]
    assert f"current_size = {size} ({size // 1024} KiB)" in stack
    assert "tinyos::" not in stack


@pytest.mark.parametrize(
    ("expression", "beginning"),
    [
        (f"{MANAGER}.stats", "DynamicMemoryStats = {total_dynamic_stacks = "),
        (f"{MANAGER}.lazy_allocator.pages[0]", "LazyPage = {virtual_address = 0x200000000000,"),
        (f"{MANAGER}.pressure_handler.level", "Low"),
        (f"{MANAGER}.events.entries[0]", "Event = {sequence = "),
        ("tinyos::debugger::DEBUGGER_INTERFACE", 'DebuggerInterface = {magic = "TinyOSdb", version = 7,'),
        ("kernel::failure::FAILURE_RECORD", 'FailureRecord = {magic = "", kind = 0,'),
        (SCHEDULER, "SequenceLock (written "),
        (f"{SCHEDULER}.value.value.tasks[0]", 'Task 0 "shell" Sleeping = {context = Context = {'),
    ],
)
def test_each_type_is_printed(printed, expression, beginning):
    text = printed(expression)
    assert text.startswith(beginning)
    assert "Python" not in text


def test_wrappers_are_printed_as_their_value(printed):
    assert '"worker"' in printed(f"{SCHEDULER}.value.value.tasks[1]")
    assert "request = 0, served = " in printed("tinyos::debugger::DEBUGGER_INTERFACE")
    assert "SequenceLock (written " in printed(SCHEDULER)
    assert "= {value = Scheduler = {current = " in printed(SCHEDULER)


def test_a_corrupt_enum_is_printed_as_its_number(kernel_elf):
    outcome = gdb(
        "python t = gdb.lookup_type('tinyos::memory::pressure::PressureLevel')",
        "python print(gdb.Value(bytes([9]), t))",
        "python print(gdb.Value(bytes([2]), t))",
        elf=kernel_elf,
    )
    assert outcome.output.splitlines() == ["0x9?", "High"]
    assert outcome.errors == ""


def test_printers_can_be_disabled_and_load_nothing(kernel_elf):
    listed = gdb("info pretty-printer global tinyos", elf=kernel_elf).output
    assert [line.strip() for line in listed.splitlines()[1:]] == [
        "tinyos",
        "atomic",
        "enum",
        "lock",
        "struct",
    ]
    outcome = gdb(
        "python import sys; print(any(name.startswith('gdbplugin.kernel') for name in sys.modules))",
        "disable pretty-printer global tinyos;enum",
        "python print(gdb.Value(bytes([2]), gdb.lookup_type('tinyos::memory::pressure::PressureLevel')))",
        elf=kernel_elf,
    )
    assert outcome.output.splitlines()[0] == "False"
    assert outcome.output.splitlines()[-1].endswith("PressureLevel::High")


def test_printers_do_not_change_json(shared_machine):
    with shared_machine.stopped() as debugger:
        assert json.loads(debugger.execute("tinyos stats --json"))["stats"]
