"""The arguments of commands in GDB: expressions, and what the target knows. Parsing is tested without GDB."""

import re

from gdbplugin.commands import COMMANDS
from tests.debugger.conftest import gdb
from tests.debugger.test_errors import one_line

LAZY_USAGE = "Usage: tinyos lazy [ADDRESS] [--state STATE] [--asid N] [--limit N] [--where EXPRESSION]"


WRONG = {
    "tinyos lazy --limit": ("--limit needs a value, N", LAZY_USAGE),
    "tinyos *d one": ('"one" is not a number', "Usage: tinyos stacks"),
    "tinyos lazy nothing_called_so": ('"nothing_called_so" is not an address', LAZY_USAGE),
    "tinyos lazy 1 +": ('"1 +" is not an address', LAZY_USAGE),
    **{
        f"tinyos lazy {text}": ("would assign or call", LAZY_USAGE)
        for text in ("$answer = 42", "$answer++", "malloc(1)", "$answer += 1")
    },
    **{
        f"tinyos translate {text}": ("has more than 64 bits", "Usage: tinyos translate ADDRESS")
        for text in (
            *("0x1_0000_0000_0000_0000", "9" * 5000, "1+" + "9" * 5000, "+ " + "9" * 50),
            *(f"({'9' * 50})", "0x" + "f" * 50),
        )
    },
    **{
        f"tinyos maps --range {text}": (
            f'"{text}" is an empty range: END must be greater than START. Usage: tinyos maps',
        )
        for text in ("0x2000..0x1000", "0x1000..0x1000", "$sp-$sp..0x0")
    },
    "tinyos maps --range 0xfffffffffffffff0+0x20": ("goes beyond the last address, 0xffff",),
    "tinyos translate 1e30": ('"1e30" is not an address',),
    "tinyos translate 1.5": ('"1.5" is not an address: it is a floating-point number',),
    "tinyos translate ()": ('"()" is not an address: it has no address and no value',),
    "tinyos report --jsn": ("--jsn", "Usage: tinyos report [--python] [--json]"),
    "tinyos report x": ('"x" is one word too many',),
    "tinyos *q": ('no command "*q"', "report"),
    "tinyos nothing": ('no command "nothing"', "known: ", "Usage: tinyos COMMAND"),
    "tinyos stcks": ('no command "stcks" (did you mean stacks?) (known: ',),
}


def test_wrong_words_are_named_with_the_usage(shared_machine, kernel_elf):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    done = gdb(connect, "set var $answer = 41", *WRONG, "output $answer", elf=kernel_elf)
    assert "Python Exception" not in done.errors
    lines = done.errors.splitlines()
    assert len(lines) == len(WRONG), lines
    for line, (command, words) in zip(lines, WRONG.items(), strict=True):
        assert [word for word in words if word not in line] == [], (command, line)
    # Nothing that was refused was carried out.
    assert "\n41" in done.output


def test_no_expression_calls_a_function_of_the_target(shared_machine, kernel_elf):
    calls = ("(*$call)(1)", "$call(1)", '&"text"')
    outcome = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        "thread 2",
        "set language c",
        "set var $call = (long (*)(long)) $pc",
        *(command for call in calls for command in (f"tinyos lazy {call}", "show may-call-functions")),
        elf=kernel_elf,
    )
    one_line(outcome)
    lines = outcome.errors.splitlines()
    assert len(lines) == len(calls), lines
    assert [line for line in lines if "is not an address" not in line] == []
    assert outcome.output.count("Permission to call functions in the program is on.") == len(calls)


def test_what_an_address_or_a_range_may_be():
    addresses = {
        "4096": 4096,
        "0x10_00": 4096,
        "4095 + 1": 4096,
        "(1 << 12) == 0 ? 1 : 4096": 4096,
        '$_gdb_setting("max-value-size") * 0 + 4096': 4096,
        "-1": (1 << 64) - 1,
        "(long) -4096": (1 << 64) - 4096,
    }
    ranges = {
        ("0x1000", "0x2000"): (4096, 8192),
        ("0x1000", None, "16"): (4096, 4112),
        ("4000 + 96", None, "0x10"): (4096, 4112),
    }
    outcome = gdb(
        "set language c",
        "python from gdbplugin.debugger.execution import GdbTarget",
        *(f"python print(GdbTarget().address({text!r}))" for text in addresses),
        *(f"python print(GdbTarget().range({words!r}))" for words in ranges),
    )
    expected = [str(one) for one in (*addresses.values(), *ranges.values())]
    assert (outcome.output.splitlines(), outcome.errors) == (expected, "")


def completions(*texts, before=(), elf=None):
    """GDB's completions of each text."""
    asked = (command for text in texts for command in (f"complete {text}", "echo ---\\n"))
    outcome = gdb(*before, "echo \\n---\\n", *asked, elf=elf)
    assert outcome.errors == ""
    return [part.splitlines() for part in outcome.output.split("---\n")[1:-1]]


def test_completion_without_a_target():
    expected = {
        "tinyos la": ["lazy"],
        "tinyos lazy --": [
            *("--asid", "--columns", "--csv", "--group", "--json", "--limit", "--python"),
            *("--sort", "--state", "--where"),
        ],
        "tinyos lazy --li": ["--limit"],
        "tinyos lazy --state z": ["zero"],
        "tinyos s --j": ["--json"],
        "tinyos *": sorted(f"*{command.letter}" for command in COMMANDS if command.letter),
        "tinyos *l": ["*l"],
        "tinyos lazy --state=p": ["--state=pending"],
        "tinyos report --j": ["--json"],
        "tinyos report --json ": [],
    }
    for (text, offered), found in zip(expected.items(), completions(*expected), strict=True):
        head = text.rpartition(" ")[0]
        assert sorted(found) == [f"{head} {word}" for word in offered], text


def test_completion_of_what_lives_in_the_target(shared_machine, kernel_elf):
    texts = (
        *("tinyos stacks ", "tinyos events --stack ", "tinyos events --kind StackG", "tinyos lazy --asid "),
        *("tinyos events --kind=StackG", "tinyos events --core ", "tinyos lazy DEBUGGER_INTER"),
    )
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    stacks, events, kind, spaces, equals, cores, names = completions(
        *texts, before=("set language c", connect), elf=kernel_elf
    )
    assert "tinyos stacks 1" in stacks
    assert "tinyos stacks --json" in stacks
    assert "tinyos events --stack 1" in events
    assert kind == ["tinyos events --kind StackGrowth"]
    assert "tinyos lazy --asid 1" in spaces
    assert equals == ["tinyos events --kind=StackGrowth"]
    assert cores == [f"tinyos events --core {core}" for core in range(4)]
    assert names == ["tinyos lazy DEBUGGER_INTERFACE"]


def test_words_wrong_for_this_target_are_named_with_the_usage(shared_machine, kernel_elf):
    wrong = {
        "translate 0 --asid 4444": "no address space with ASID 4444 (known: ",
        "translate 0 --core 7": "no core 7 (known: 0, 1, 2, 3)",
        "registers xyz": 'no register "xyz" (known: TTBR0, ',
        "maps --permissions zzz": '"zzz" is not a pattern of permissions',
        "maps --asid 4 --ttbr 0x8000": "--asid and --ttbr both select the tables: give only one of them",
        "maps --stage 2": "core 0 has no stage 2: no hypervisor has enabled it (HCR_EL2.VM)",
        "lazy 0x200000004000 --state zero": "--state cannot be given with an ADDRESS, which selects one page",
        "lazy --asid 4444": "no address space with ASID 4444 (known: ",
        "events --core 9": "no core 9 (known: 0, 1, 2, 3)",
        "events --kind growth": "no kind of event growth (known: ",
    }
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    done = gdb(connect, "thread 1", *(f"tinyos {command}" for command in wrong), elf=kernel_elf)
    lines = done.errors.splitlines()
    assert len(lines) == len(wrong), lines
    for line, (command, said) in zip(lines, wrong.items(), strict=True):
        word = command.split()[0]
        assert line.startswith(f"tinyos {word}: {said}"), line
        assert f"Usage: tinyos {word}" in line


def test_an_expression_needs_the_target_stopped(shared_machine, kernel_elf):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    done = gdb("set mi-async on", connect, "continue &", "tinyos translate $pc", elf=kernel_elf)
    assert "the target is running: stop it first" in done.errors
    assert "is not an address" not in done.errors


def test_gdbs_help_is_that_of_the_descriptors():
    listed = [
        line.split()[1].rstrip(",")
        for line in gdb("help tinyos").output.splitlines()
        if line.startswith("tinyos ") and " -- " in line
    ]
    assert listed == [command.word for command in COMMANDS]
    output = gdb(*(f"help tinyos {command.word}" for command in COMMANDS)).output
    for command in COMMANDS:
        assert command.help in output


def test_the_letters_of_the_kernels_shell():
    letters = {"s": "stats", "d": "stacks", "l": "lazy", "p": "pressure", "c": "context", "r": "report"}
    forms = [f"tinyos {star}{letter} --nonsense" for letter in letters for star in ("", "*")]
    lines = gdb(*forms, "tinyos e --nonsense").errors.splitlines()
    expected = [f"tinyos {word}" for word in letters.values() for _ in range(2)]
    assert [line.split(":")[0] for line in lines] == [*expected, "tinyos events"]


def test_python_is_printed_for_a_gdb_of_ones_own(shared_machine, kernel_elf):
    address = shared_machine.qemu.gdb_address
    lines = ("tinyos maps --asid 5 --python", f"target remote {address}", "tinyos maps --asid 5 --python")
    done = gdb(*lines, elf=kernel_elf)
    assert done.errors == ""
    pattern = r"^with (TinyOS.*) as tinyos:\n    found = tinyos.maps\(asid=5\)$"
    begun = re.findall(pattern, done.output, re.MULTILINE)
    assert [one.partition("(")[0] for one in begun] == ["TinyOS.boot", "TinyOS.attach"]
    assert begun[1].startswith(f'TinyOS.attach("{address}", "')
