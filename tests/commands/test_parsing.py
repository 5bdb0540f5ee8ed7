"""Parsing and completing what is typed after a command. Nothing is started for it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.commands import COMMANDS, parsing
from gdbplugin.commands.descriptor import Argument, Command, Option
from gdbplugin.commands.parsing import EXPRESSION, WordError

BY_WORD = {command.word: command for command in COMMANDS}
ASKING = ["--columns", "--csv", "--group", "--sort", "--where"]
ASKED = "[--where EXPRESSION] [--sort FIELDS] [--group FIELDS] [--columns FIELDS] [--csv] [--python] [--json]"
LAZY_USAGE = f"Usage: tinyos lazy [ADDRESS] [--state STATE] [--asid N] [--limit N] {ASKED}"


def parse(line):
    word, _, rest = line.partition(" ")
    return parsing.parse(BY_WORD[word], parsing.split(rest))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lazy --state busy", ('"busy" is not one of pending, zero, allocated', LAZY_USAGE)),
        ("lazy --limit", ("--limit needs a value, N", LAZY_USAGE)),
        ("lazy --limit --json", ("--limit needs a value, N", LAZY_USAGE)),
        ("lazy --limit=", ('"" is not a number', LAZY_USAGE)),
        ("lazy --limit -5", ('"-5" is not a number', LAZY_USAGE)),
        ("lazy --limit 0x_", ('"0x_" is not a number', LAZY_USAGE)),
        ("registers ''", ("NAME is empty", "Usage: tinyos registers")),
        ("maps --owner=", ("TEXT is empty", "Usage: tinyos maps")),
        ("lazy --limit 0xzz", ('"0xzz" is not a number', LAZY_USAGE)),
        ("lazy --json=yes", ("--json takes no value", LAZY_USAGE)),
        ("lazy --json --json", ("--json is given twice", LAZY_USAGE)),
        ("lazy --stats", ('"--stats" is not an option (did you mean --state?)', LAZY_USAGE)),
        ("lazy --nonsense", ('"--nonsense" is not an option', LAZY_USAGE)),
        ("stacks 1 2", ('"2" is one word too many', f"Usage: tinyos stacks [ID] {ASKED}")),
        ("stacks one", ('"one" is not a number', f"Usage: tinyos stacks [ID] {ASKED}")),
        ("events --since-stop=5", ("--since-stop takes no value",)),
        ("translate", ("ADDRESS is missing", "Usage: tinyos translate ADDRESS")),
        ("translate 0 --ttbr 99999999999999999999999", ("has more than 64 bits", "--ttbr VALUE")),
        ("translate 0 --el 0x4", ('"0x4" is not one of 0, 1, 2, 3',)),
        ("translate 0 --el 4", ('"4" is not one of 0, 1, 2, 3', "Usage: tinyos translate")),
        ("maps --stage 3", ('"3" is not one of 1, 2', "Usage: tinyos maps")),
        ("translate 0x1_0000_0000_0000_0000", ("has more than 64 bits", "Usage: tinyos translate ADDRESS")),
        ("maps --range 0..99999999999999999999", ("has more than 64 bits", "Usage: tinyos maps")),
        ("maps --range 5", ('"5" is not a range: give START..END or START+SIZE', "Usage: tinyos maps")),
        (
            "context --test --last-test",
            ("--test goes with no other word but --json", "Usage: tinyos context"),
        ),
        ("lazy --csv --json", ("--csv does not go with --json", LAZY_USAGE)),
        ("lazy --python --csv", ("--python does not go with --csv", LAZY_USAGE)),
        ("lazy --where --json", ("--where needs a value, EXPRESSION", LAZY_USAGE)),
        ("lazy --where ''", ("EXPRESSION is empty", LAZY_USAGE)),
        ("stats --where x", ('"--where" is not an option', "Usage: tinyos stats [--python] [--json]")),
        ("check --strict --nothing", ('"--nothing" is not an option', "[--strict]")),
    ],
)
def test_a_wrong_word_is_named_with_the_usage(line, said):
    with pytest.raises(WordError) as caught:
        parse(line)
    assert str(caught.value).startswith(f"tinyos {line.split()[0]}: ")
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("stats", {}),
        ("stats --json", {"json": True}),
        ("stacks 0x1f", {"id": 31}),
        ("lazy kernel_main + 4 --state Zero", {"address": "kernel_main + 4", "state": "zero"}),
        ("lazy --limit=1_000 'a b'[1]", {"limit": 1000, "address": "'a b'[1]"}),
        ("translate $pc --el 0", {"address": "$pc", "el": 0}),
        ("translate 0x1_000", {"address": 0x1000}),
        ("maps --find-physical &x", {"find_physical": "&x"}),
        ("maps --owner 'kernel text'", {"owner": "kernel text"}),
        ("maps --range 0x1000..$sp", {"range": (0x1000, "$sp")}),
        ("maps --range 0xf000..0x10000000000000000", {"range": (0xF000, 1 << 64)}),
        ("translate 0x_", {"address": "0x_"}),
        ("maps --range 0x1000+16", {"range": (0x1000, None, 16)}),
        ("maps --range a+b+0x10", {"range": ("a+b", None, 16)}),
        ("events 5 --core 1 --since-stop", {"n": 5, "core": 1, "since_stop": True}),
        ("context --test --json", {"test": True, "json": True}),
        # An expression takes all words up to the next option; quotes around all of it are not part of it.
        ("lazy --where 'state == \"zero\"' --csv", {"where": 'state == "zero"', "csv": True}),
        ('lazy --where state == "zero" --csv', {"where": 'state == "zero"', "csv": True}),
        ("lazy --where=owner == 1 and state == 'zero'", {"where": "owner == 1 and state == 'zero'"}),
        ("lazy --where 'a' == state", {"where": "'a' == state"}),
        (
            "events 5 --where core > -1 --sort -core,kind",
            {"n": 5, "where": "core > -1", "sort": "-core,kind"},
        ),
        ("stacks --group owner --columns current_size", {"group": "owner", "columns": "current_size"}),
    ],
)
def test_values_by_their_keys(line, values):
    assert parse(line) == values


@pytest.mark.parametrize("text", ["0x1000", "..5", "5..", "+5", "5+", "..", "+", ""])
def test_what_is_not_a_range(text):
    with pytest.raises(WordError, match="is not a range"):
        parse(f"maps --range={text}")


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_as_python_and_gdb_write_them(number):
    for text in (str(number), hex(number), f"{number:_}", f"{number:#_x}", hex(number).replace("x", "X")):
        assert parse(f"lazy --limit {text}") == {"limit": number}


@given(st.sampled_from(sorted(BY_WORD)), st.text())
def test_any_text_is_parsed_or_refused_in_one_line(word, text):
    command, values, said = BY_WORD[word], {}, BY_WORD[word].usage
    try:
        values = parse(f"{word} {text}")
    except WordError as error:
        said = str(error)
    assert said.endswith(command.usage)
    assert values.keys() <= {parameter.key for parameter in (*command.arguments, *command.options)}


def complete(line, offered=()):
    word, _, rest = line.partition(" ")
    asked = []

    def values(parameter):
        asked.append(parameter.name)
        return [*parameter.choices, *offered]

    found = parsing.complete(BY_WORD[word], rest, values)
    return found if found is EXPRESSION else sorted(found), asked


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lazy --", sorted(["--asid", "--json", "--limit", "--python", "--state", *ASKING])),
        ("lazy --li", ["--limit"]),
        ("lazy --json --", sorted(["--asid", "--limit", "--state", *{*ASKING} - {"--csv"}])),
        ("lazy --state ", ["allocated", "pending", "zero"]),
        ("lazy --state z", ["zero"]),
        ("lazy --state zero --st", []),
        ("lazy --state=", ["--state=allocated", "--state=pending", "--state=zero"]),
        ("lazy --state=p", ["--state=pending"]),
        ("events --since", ["--since-stop"]),
        ("check --st", ["--strict"]),
        ("stacks ", sorted(["--json", "--python", *ASKING])),
        ("stats --j", ["--json"]),
        ("translate 0 --el ", ["0", "1", "2", "3"]),
    ],
)
def test_completion_of_options_and_choices(line, offered):
    assert complete(line)[0] == offered


@pytest.mark.parametrize(
    ("line", "parameter", "offered"),
    [
        ("stacks ", "ID", sorted(["--json", "--python", *ASKING, "1", "12"])),
        ("stacks 1", "ID", ["1", "12"]),
        ("stacks --json 12", "ID", ["12"]),
        ("events --stack ", "--stack", ["1", "12"]),
        ("events --stack=1", "--stack", ["--stack=1", "--stack=12"]),
        ("events 5 --core 12", "--core", ["12"]),
    ],
)
def test_values_that_the_target_has_now_are_asked_for(line, parameter, offered):
    assert complete(line, ("1", "12")) == (offered, [parameter])


@pytest.mark.parametrize("line", ["lazy ", "lazy ker", "lazy 1 + ", "maps --range $", "translate 0 + "])
def test_an_address_is_completed_by_gdb(line):
    assert complete(line) == (EXPRESSION, [])


@pytest.mark.parametrize("line", ["stacks 1 2", "events 5 1", "stats ", "fault "])
def test_nothing_more_is_offered_than_the_options(line):
    found, asked = complete(line)
    assert asked == []
    assert all(word.startswith("--") for word in found)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.word)
def test_help_has_the_usage_and_every_parameter(command):
    lines = command.help.splitlines()
    assert lines[0] == command.summary
    assert lines[2] == f"Usage: {command.usage}"
    assert "[--json]" in command.usage
    for parameter in (*command.arguments, *command.options):
        assert any(line.startswith(f"  {parameter.name}") for line in lines)
    assert max(map(len, lines[3:])) <= 120


def test_words_and_letters_are_unique():
    words = [command.word for command in COMMANDS]
    letters = [command.letter for command in COMMANDS if command.letter]
    assert words == sorted(set(words))
    assert len(letters) == len(set(letters))


def test_no_option_has_a_name_that_gdb_mi_reserves():
    reserved = {"--thread", "--frame", "--language", "--thread-group", "--all"}
    # As `-tinyos-backtrace all` means the same.
    reserved_by = {command.word: reserved for command in COMMANDS} | {"backtrace": reserved - {"--all"}}
    for command in COMMANDS:
        assert not reserved_by[command.word] & {option.name for option in command.options}
        assert all(re.fullmatch("--[a-z-]+", option.name) for option in command.options)


def test_a_command_is_parsed_by_its_descriptor_alone():
    command = Command(
        "paint",
        BY_WORD["stats"].form,
        help="Paint.\n\nIt paints.",
        arguments=(Argument("WHERE", "the place", "text", required=True),),
        options=(Option("--colour", "the colour", "text", choices=("red", "blue")),),
    )
    assert command.usage == "tinyos paint WHERE [--colour COLOUR] [--python] [--json]"
    assert parsing.parse(command, ["wall", "--colour", "RED"]) == {"where": "wall", "colour": "red"}


DURING = BY_WORD["during"]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("next", {"command": "next"}),
        ("next 3", {"command": "next 3"}),
        ("next --json", {"command": "next", "json": True}),
        ("--json next", {"command": "next", "json": True}),
        ("--limit 3 print --x", {"limit": 3, "command": "print --x"}),
        ("print --json + 1", {"command": "print --json + 1"}),
        ('print "a  b"', {"command": 'print "a  b"'}),
        ("--kind stacks --kind=lazy continue", {"kind": ("stacks", "lazy"), "command": "continue"}),
    ],
)
def test_a_command_of_gdb_takes_all_words_after_it(typed, values):
    assert parse(f"during {typed}") == values


def test_a_command_of_gdb_is_completed_by_gdb():
    assert parsing.complete(DURING, "ne", lambda _: []) is parsing.COMMAND
    assert parsing.complete(DURING, "info br", lambda _: []) is parsing.COMMAND
    assert "--kind" in parsing.complete(DURING, "--", lambda _: [])
    assert parsing.complete(DURING, "--kind st", lambda parameter: parameter.choices) == ["stacks"]
    assert DURING.usage.endswith("[--json] COMMAND")
