"""The settings: kept, checked, and followed."""

from tests.debugger.conftest import gdb


def test_each_setting_has_help_and_checks_its_value():
    outcome = gdb(
        "show tinyos",
        "help set tinyos",
        "set tinyos unicode off",
        "show tinyos unicode",
        "set tinyos limit 5",
        "show tinyos limit",
        "set tinyos limit unlimited",
        "show tinyos limit",
        "complete set tinyos color ",
    )
    assert outcome.errors == ""
    lines = outcome.output.splitlines()
    assert 'Whether the tinyos commands write characters beyond ASCII: "off".' in lines
    assert "How many rows the tinyos commands show at most: 5." in lines
    assert "How many rows the tinyos commands show at most: unlimited." in lines
    assert {"set tinyos color auto", "set tinyos color on", "set tinyos color off"} <= set(lines)
    assert 'color:  Whether the tinyos commands colour what they write: "auto".' in lines
    wrong = gdb("set tinyos color perhaps", "set tinyos limit many", "set tinyos nonsense 1")
    assert 'Undefined item: "perhaps"' in wrong.errors
    assert 'tinyos: no setting "nonsense 1" (known: color, limit, unicode' in wrong.errors
    assert "Python" not in wrong.errors


def test_commands_follow_the_settings(shared_machine, kernel_elf):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    stacks = "tinyos pressure"
    mapped = "tinyos maps"
    plain = gdb(connect, "set tinyos unicode off", stacks, elf=kernel_elf).output
    fancy = gdb(connect, "set tinyos unicode on", stacks, elf=kernel_elf).output
    assert plain.isascii()
    assert not fancy.isascii()
    coloured = gdb(connect, "set tinyos color on", "tinyos stress --last", stacks, mapped, elf=kernel_elf)
    assert "\033[" in coloured.output
    assert "\033[" not in gdb(connect, stacks, mapped, elf=kernel_elf).output


def test_the_limit_applies_to_commands_that_take_one(shared_machine, kernel_elf):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    # At one stop, so that the map is the same.
    outcome = gdb(
        connect,
        *("tinyos maps", "set tinyos limit 2", "tinyos maps", "set tinyos limit 0", "tinyos maps"),
        elf=kernel_elf,
    )
    _, whole, limited, again = outcome.output.split("Map of ")
    assert len(limited.splitlines()) < len(whole.splitlines())
    assert again.startswith(whole)
    outcome = gdb(connect, "set tinyos limit 2", "tinyos stats", "tinyos maps --json", elf=kernel_elf)
    assert outcome.errors == ""


def test_tables_and_lines_keep_to_the_width(shared_machine, kernel_elf):
    shown = ("report", "stacks", "lazy", "pressure", "context", "events", "maps", "fault", "check")
    done = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        "set tinyos width 80",
        "echo @@@\\n",
        *(f"tinyos {command}" for command in (*shown, "translate 0xffff800000080000")),
        "echo @@@\\n",
        "set tinyos width unlimited",
        "set width 80",
        "tinyos stacks",
        elf=kernel_elf,
    )
    assert done.errors == ""
    _, narrow, wide = done.output.split("@@@\n")
    assert "too narrow for: size, memory" in narrow
    assert [line for line in narrow.splitlines() if len(line) > 80] == []
    assert "policy" in wide
    assert "too narrow" not in wide


def test_the_narrowest_width_still_shows_every_view(shared_machine, kernel_elf):
    shown = ("report", "stacks", "lazy", "pressure", "context", "maps", "fault", "check", "registers")
    commands = [f"tinyos {command}" for command in (*shown, "translate 0xffff800000080000")]
    done = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        *("set tinyos width 1", "echo @@@\\n", *commands),
        *("set tinyos width 40", "echo @@@\\n", *commands, "echo @@@\\n"),
        elf=kernel_elf,
    )
    assert done.errors == ""
    _, narrow, wider, _ = done.output.split("@@@\n")
    assert narrow.splitlines() == wider.splitlines()
    assert "Pressure: " in narrow
