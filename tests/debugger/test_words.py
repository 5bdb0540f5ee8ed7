"""The words of commands in GDB: expressions, and what the target knows. Parsing is tested without GDB."""

import pytest

from gdbplugin.commands import COMMANDS
from tests.debugger.conftest import PLUGIN, gdb
from tests.debugger.test_errors import one_line

LAZY_USAGE = "Usage: tinyos lazy [ADDRESS] [--state STATE] [--asid N] [--limit N] [--json]"
EVALUATE = "python from gdbplugin.debugger.target import GdbTarget; "


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("tinyos lazy --limit", ("--limit needs a value, N", LAZY_USAGE)),
        ("tinyos *d one", ('"one" is not a number', "Usage: tinyos stacks")),
        ("tinyos lazy nothing_called_so", ('"nothing_called_so" is not an address', LAZY_USAGE)),
        ("tinyos lazy 1 +", ('"1 +" is not an address', LAZY_USAGE)),
        ("tinyos lazy $answer = 42", ("would assign or call", LAZY_USAGE)),
        ("tinyos lazy $answer++", ("would assign or call", LAZY_USAGE)),
        ("tinyos lazy malloc(1)", ("would assign or call", LAZY_USAGE)),
        ("tinyos lazy $answer += 1", ("would assign or call", LAZY_USAGE)),
        (
            "tinyos translate 0x1_0000_0000_0000_0000",
            ("has more than 64 bits", "Usage: tinyos translate ADDRESS"),
        ),
        *(
            (f"tinyos translate {text}", ("has more than 64 bits", "Usage: tinyos translate ADDRESS"))
            for text in ("9" * 5000, "1+" + "9" * 5000, "+ " + "9" * 50, f"({'9' * 50})", "0x" + "f" * 50)
        ),
        ("tinyos nothing", ('no command "nothing"', "known: ", "Usage: tinyos COMMAND")),
    ],
)
def test_wrong_words_are_named_with_the_usage(shared_machine, kernel_elf, command, words):
    line = one_line(gdb(f"target remote {shared_machine.qemu.gdb_address}", command, elf=kernel_elf))
    for word in words:
        assert word in line


def test_an_expression_that_is_refused_changed_nothing():
    outcome = gdb("set var $answer = 41", "tinyos lazy $answer = 42", "output $answer")
    assert outcome.output.endswith("41")


@pytest.mark.parametrize("call", ["(*$call)(1)", "$call(1)", '&"text"'])
def test_no_expression_calls_a_function_of_the_target(shared_machine, kernel_elf, call):
    outcome = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        "thread 2",
        "set language c",
        "set var $call = (long (*)(long)) $pc",
        f"tinyos lazy {call}",
        "show may-call-functions",
        elf=kernel_elf,
    )
    assert "is not an address" in one_line(outcome)
    assert "Permission to call functions in the program is on." in outcome.output


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4096", 4096),
        ("0x10_00", 4096),
        ("4095 + 1", 4096),
        ("(1 << 12) == 0 ? 1 : 4096", 4096),
        ('$_gdb_setting("max-value-size") * 0 + 4096', 4096),
        ("-1", (1 << 64) - 1),
        ("(long) -4096", (1 << 64) - 4096),
    ],
)
def test_what_an_address_may_be(text, number):
    outcome = gdb("set language c", f"{EVALUATE}print(GdbTarget().address({text!r}))")
    assert (outcome.output.strip(), outcome.errors) == (str(number), "")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("('0x1000', '0x2000')", "(4096, 8192)"),
        ("('0x1000', None, '16')", "(4096, 4112)"),
        ("('4000 + 96', None, '0x10')", "(4096, 4112)"),
    ],
)
def test_ranges(text, found):
    outcome = gdb(f"{EVALUATE}print(GdbTarget().range({text}))")
    assert (outcome.output.strip(), outcome.errors) == (found, "")


@pytest.mark.parametrize("text", ["0x2000..0x1000", "0x1000..0x1000", "$sp-$sp..0x0"])
def test_an_empty_range_is_refused(shared_machine, kernel_elf, text):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    line = one_line(gdb(connect, f"tinyos maps --range {text}", elf=kernel_elf))
    assert f'"{text}" is an empty range: END must be greater than START. Usage: tinyos maps' in line


def completions(text, *before, elf=None):
    outcome = gdb(*before, "echo \\n---\\n", f"complete {text}", "echo ---\\n", elf=elf)
    assert outcome.errors == ""
    return outcome.output.split("---\n")[1].splitlines()


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("tinyos la", ["lazy"]),
        ("tinyos lazy --", ["--asid", "--json", "--limit", "--state"]),
        ("tinyos lazy --li", ["--limit"]),
        ("tinyos lazy --state z", ["zero"]),
        ("tinyos s --j", ["--json"]),
        ("tinyos *", ["*c", "*d", "*e", "*l", "*p", "*r", "*s", "*t"]),
        ("tinyos *l", ["*l"]),
        ("tinyos lazy --state=p", ["--state=pending"]),
    ],
)
def test_completion_without_a_target(text, offered):
    head = text.rpartition(" ")[0]
    assert sorted(completions(text)) == [f"{head} {word}" for word in offered]


def test_completion_of_what_lives_in_the_target(shared_machine, kernel_elf):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    stacks = completions("tinyos stacks ", connect, elf=kernel_elf)
    assert "tinyos stacks 1" in stacks
    assert "tinyos stacks --json" in stacks
    assert "tinyos events --stack 1" in completions("tinyos events --stack ", connect, elf=kernel_elf)
    assert completions("tinyos events --kind StackG", connect, elf=kernel_elf) == [
        "tinyos events --kind StackGrowth"
    ]
    assert "tinyos lazy --asid 1" in completions("tinyos lazy --asid ", connect, elf=kernel_elf)
    assert completions("tinyos events --kind=StackG", connect, elf=kernel_elf) == [
        "tinyos events --kind=StackGrowth"
    ]
    assert completions("tinyos events --core ", connect, elf=kernel_elf) == [
        f"tinyos events --core {core}" for core in range(4)
    ]
    names = completions("tinyos lazy DEBUGGER_INTER", "set language c", connect, elf=kernel_elf)
    assert names == ["tinyos lazy DEBUGGER_INTERFACE"]


def test_words_that_the_target_knows_better_are_named_with_the_usage(shared_machine, kernel_elf):
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


@pytest.mark.parametrize(
    ("letter", "word"),
    [("s", "stats"), ("d", "stacks"), ("l", "lazy"), ("p", "pressure"), ("c", "context"), ("r", "report")],
)
def test_the_letters_of_the_kernels_shell(letter, word):
    outcome = gdb(f"tinyos {letter} --nonsense", f"tinyos *{letter} --nonsense", "tinyos e --nonsense")
    lines = outcome.errors.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"tinyos {word}", f"tinyos {word}", "tinyos events"]
    assert PLUGIN.exists()
