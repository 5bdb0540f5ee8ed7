"""Questions about the lists of commands, over the synthetic kernel: text, JSON, CSV, and lines of Python."""

from __future__ import annotations

import contextlib
import csv
import io
import json

import pytest

import gdbplugin.session
from gdbplugin.commands import COMMANDS, answers, library, parsing
from gdbplugin.commands.descriptor import to_json
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.lint_rules import RULES
from gdbplugin.kernel.target import Target
from gdbplugin.machine import MachineError, SelectionError
from gdbplugin.query.fields import fields_of
from gdbplugin.query.question import Table
from gdbplugin.render import Style
from gdbplugin.session.errors import ReadFailedError
from gdbplugin.session.objects import Objects
from tests.aarch64.machines import el1_registers
from tests.commands.forms import OF_THE_PAST
from tests.kernel.stopped import bare, stopped_world
from tests.kernel.synthetic import LAZY_BASE, World
from tests.schemas.validation import validate

BY_WORD = {command.word: command for command in COMMANDS}
NEEDS = {word: f"{word} {LAZY_BASE:#x}" for word in ("search", "translate", "where")}
LISTS = [
    NEEDS.get(command.word, command.word)
    for command in COMMANDS
    if command.form.rows is not None and not command.form.runs_target and command.word not in OF_THE_PAST
]
TITLES = {"context": "Spaces", "lazy": "Pages", "maps": "Mappings", "pressure": "Strategies"}


def world():
    """A kernel with something in every list."""
    found = World()
    found.manager["stack_manager"]["stacks"][1] |= {"policy": 77, "current_size": 1 << 60}
    found.registers = {"ESR_EL1": 0x9200_0007, "FAR_EL1": LAZY_BASE, "ELR_EL1": 0x80_0000, "SPSR_EL1": 0}
    return found


def asked(line, style=None, target=None):
    """What a command line prints."""
    word, _, rest = line.partition(" ")
    command, target = BY_WORD[word], target or stopped_world(world())
    values = parsing.parse(command, parsing.split(rest))
    if "python" in values:
        return library.lines(command, values, target)
    if not command.asks(values):
        return to_json(command.form.schema, command.read(target, values))
    question = answers.question(command, values)
    return answers.printed(question, values, command.read(target, values), style or Style("ascii"))


def asked_json(line):
    """The JSON object that a command line prints; it conforms to its schema."""
    found = json.loads(asked(f"{line} --json"))
    validate(found)
    return found


def rows_in(line, found):
    path = fields_of(BY_WORD[line.split()[0]].form.schema).path
    for step in path:
        found = found[step]
    return found


@pytest.mark.parametrize("line", LISTS)
def test_an_expression_that_is_always_true_changes_nothing(line):
    plain, found = asked_json(line), asked_json(f"{line} --where 1 == 1")
    rows = rows_in(line, plain)
    if line != "events":  # It shows the newest ones unless it is asked about all.
        assert found == plain
    assert rows_in(line, found)[-len(rows) :] == rows
    assert rows


@pytest.mark.parametrize("line", LISTS)
def test_one_that_is_never_true_leaves_a_valid_object(line):
    found = asked_json(f"{line} --where 1 == 2")
    assert rows_in(line, found) == []
    title = asked(f"{line} --where 1 == 2").splitlines()[0]
    assert "(0 of " in title


@pytest.mark.parametrize("line", LISTS)
def test_every_list_is_a_table_that_fits(line):
    columns = fields_of(BY_WORD[line.split()[0]].form.schema).columns
    for width in (40, 60, 80, 100, 200):
        text = asked(f"{line} --sort {columns[0].name}", Style("ascii", width=width))
        table = [row for row in text.splitlines() if row.startswith("  ")]
        names, rule = table[0].split(), table[1]
        assert set(rule) == {" ", "-"}
        if len(names) > 1:
            assert max(map(len, table)) <= max(width, 40)
        left_out = {field.name for field in columns} - set(names)
        assert (left_out != set()) == ("(too narrow for: " in text)


@pytest.mark.parametrize("line", LISTS)
def test_csv_has_the_rows_of_json(line):
    fields = fields_of(BY_WORD[line.split()[0]].form.schema)
    names = ",".join(field.name for field in fields.all)
    expected = asked_json(f"{line} --columns {names}")["rows"]
    found = list(csv.DictReader(io.StringIO(asked(f"{line} --columns {names} --csv"))))
    assert len(found) == len(expected) > 0
    for row, one in zip(found, expected, strict=True):
        for name, value in one.items():
            if value is None or isinstance(value, str):
                assert row[name] == (value or "")
            else:
                assert json.loads(row[name]) == value
    assert asked(f"{line} --csv").splitlines()[0] == ",".join(field.name for field in fields.columns)


@pytest.mark.parametrize("line", LISTS)
def test_every_list_can_be_grouped(line):
    field = fields_of(BY_WORD[line.split()[0]].form.schema).columns[0].name
    found = asked_json(f"{line} --group {field}")
    assert found["schema"] == "tinyos.table/1"
    assert sum(row["rows"] for row in found["rows"]) == found["matching"] == found["total"] > 0
    assert found["columns"][:2] == [field, "rows"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lazy --where 'state == \"zero\"'", ["zero"]),
        ("lazy --where state != 'zero' and owner == 1 --limit 3", ["pending", "pending", "allocated"]),
        ("lazy --sort -state --limit 1", ["zero"]),
        ("lazy --state pending --where access_count > 0", ["pending"]),
    ],
)
def test_a_limit_counts_the_rows_that_match(line, expected):
    assert [page["state"] for page in asked_json(line)["pages"]] == expected


def test_the_count_of_an_object_is_that_of_the_rows_that_match():
    assert asked_json("lazy --where 'state == \"allocated\"' --limit 1")["matching"] == 2


def test_the_newest_events_that_match():
    assert [event["kind"] for event in asked_json("events 1 --where core == 0")["events"]] == ["StackGrowth"]
    assert [event["kind"] for event in asked_json("events 1 --where kind == 'TaskStarted'")["events"]] == [
        "TaskStarted"
    ]


def test_a_table_has_units_names_and_a_title_that_counts():
    said = asked("stacks --where id == 1 --columns id,current_size,base_address,is_active,policy")
    assert said.splitlines()[:4] == [
        "Stacks (1 of 2)",
        "  id  current_size    base_address  is_active  policy",
        "  --  ------------  --------------  ---------  ------------",
        "   1          12 K  0x700000400000  yes        Conservative",
    ]
    assert asked("lazy --where owner == 1 --limit 1").splitlines()[0] == "Pages (1 of 5 that match, of 5)"
    assert asked("lazy --group state,owner").splitlines()[0] == "Pages by state, owner (5)"
    assert asked("lazy --limit 2 --sort state").splitlines()[0] == "Pages (2 of 5)"


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("events --group core", "Events by core (2)"),
        ("events 1 --group core", "Events by core (1 of 2)"),
        ("events 1 --group core --where core == 0", "Events by core (1 of 2 that match, of 2)"),
        ("lazy --group virtual_address --limit 2", "Pages by virtual_address (2 of 5 groups, of 5)"),
        ("lazy --group state --limit 3", "Pages by state (5)"),
        ("lazy --group state --where owner == 1", "Pages by state (5 of 5)"),
        (
            "lazy --group state --where state != 'zero' --limit 1",
            "Pages by state (1 of 2 groups, of 4 that match, of 5)",
        ),
    ],
)
def test_a_title_says_what_groups_leave_out(line, title):
    assert asked(line).splitlines()[0] == title


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lazy --group state --columns virtual_address", "virtual_address does not add up: with --group, "),
        ("stacks --group policy --columns id", "id does not add up"),
        (f"{NEEDS['search']} --group region.name --columns address", "address does not add up"),
    ],
)
def test_addresses_and_ids_are_not_summed(line, said):
    with pytest.raises(SelectionError) as caught:
        asked(line)
    assert said in str(caught.value)


def test_the_columns_of_a_list_are_a_rows_own_fields_and_a_few_within_them():
    names = {
        word: [field.name for field in fields_of(BY_WORD[word].form.schema).columns]
        for word in ("search", "history", "lint")
    }
    assert names["search"] == [
        "found",
        "address",
        "physical",
        "text",
        "section",
        "field",
        "device",
        "alias_count",
    ]
    assert "event.kind" in names["history"]
    assert names["lint"] == ["rule", "section", "object", "found"]


def test_columns_without_a_value_are_left_out_first():
    command = BY_WORD["tasks"]
    question = answers.question(command, {"sort": "id"})
    shown = command.read(stopped_world(world()), {})
    plain = json.loads(to_json(command.form.schema, shown))
    for task in plain["tasks"]:
        task.update(state=None, function="f" * 3, line=1)
    wide = answers._text(question, question.answer(plain, shown.diagnostics), Style("ascii", width=150))
    assert "state" not in wide.splitlines()[1].split()
    assert "switch_count" in wide.splitlines()[1].split()


def test_only_a_rows_own_fields_are_summed():
    found = fields_of("tinyos.search/1")
    line = f"{NEEDS['search']} --group section"
    assert asked_json(line)["columns"] == ["section", "rows", "alias_count"]
    nested = f"{line} --columns stack.current_size"
    assert found.field("stack.current_size").adds_up
    assert asked_json(nested)["columns"] == ["section", "rows", "stack.current_size"]


def test_a_mistyped_name_lists_a_few_fields():
    with pytest.raises(SelectionError) as caught:
        asked(f"{NEEDS['search']} --columns qqqq")
    said = str(caught.value)
    assert said.startswith('no field "qqqq" (known: found, address, physical, text, ')
    assert said.count(",") <= 12
    assert " more)" in said


def test_what_is_asked_about_is_left_out_last():
    said = asked("lazy --where allocation_time >= 0 --sort access_count", Style("ascii", width=62))
    assert said.splitlines()[1].split() == ["virtual_address", "access_count", "allocation_time"]


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize(
    "line",
    [
        "lint --columns rule,object,found",
        "lint --columns object,rule",
        "lazy --columns virtual_address,physical_address,allocation_time,access_count,owner",
        "lazy --group virtual_address,physical_address,state --columns access_count",
    ],
)
def test_columns_that_are_asked_for_are_never_left_out(line, width):
    said = asked(line, Style("ascii", width=width))
    expected = asked_json(line)["columns"]
    assert f"\n  {expected[0]}" in said  # The title may take several lines.
    assert said.partition(f"\n  {expected[0]}")[2].split()[: len(expected) - 1] == expected[1:]
    assert "too narrow" not in said
    for row in asked_json(line)["rows"]:
        for value in row.values():
            assert all(word in said for word in str(value).split()) or isinstance(value, int)


def test_texts_become_several_lines_before_a_column_is_left_out():
    said = asked("check --where true", Style("ascii", width=80))
    assert said.splitlines()[1].split() == ["object", "expected", "found"]
    assert max(map(len, said.splitlines())) <= 80


def test_findings_are_rows_and_are_not_shown_twice():
    said = asked("check --where 'startswith(object, \"stack\")'")
    assert said.startswith("Findings (")
    assert "Findings:" not in said
    assert "Note: " in said
    assert "Findings: " in asked("stacks --sort id")


def test_what_lint_finds_is_called_findings_and_is_shown_once():
    said = asked("lint --where rule == 'wxn'")
    assert said.startswith("Findings (1 of 3)\n")
    assert "Findings:" not in said
    assert "expected" not in said
    assert asked("lint --group rule").startswith("Findings by rule (3)\n")
    assert asked_json("lint --columns rule")["list"] == "broken"


def test_a_text_of_the_target_cannot_control_the_terminal():
    bad = stopped_world(world())
    command = BY_WORD["tasks"]
    question = answers.question(command, {"columns": "name"})
    shown = command.read(bad, {})
    changed = json.loads(to_json(command.form.schema, shown))
    changed["tasks"][0]["name"] = "\033[2Jx\n"
    said = answers._text(question, question.answer(changed, shown.diagnostics), Style("ascii"))
    assert "\033" not in said
    assert ".[2Jx." in said


def test_a_long_table_says_how_to_see_the_rest(monkeypatch):
    monkeypatch.setattr(answers, "_ROWS_SHOWN", 2)
    said = asked("lazy --sort state")
    assert len([line for line in said.splitlines() if "0x2000" in line]) == 2
    assert "the first 2 are shown; narrow it with --where, or use --json or --csv for all" in said


def test_a_kernel_without_the_list_has_no_rows():
    bare = world()
    command = BY_WORD["context"]
    shown = command.read(stopped_world(bare), {})
    plain = json.loads(to_json(command.form.schema, shown))
    plain["context"]["spaces"] = None
    question = answers.question(command, {"where": "asid == 1"})
    answer = question.answer(plain, shown.diagnostics)
    assert (len(answer), answer.total) == (0, 0)
    assert json.loads(answers.as_json(question, plain, answer)) == plain


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rule == 'wxm'", 'at character 9 of the expression: rule is never "wxm" (did you mean "wxn"?)'),
        ("rule in ('wxn', 'none')", 'rule is never "none", but "writable-executable", "el0-kernel", '),
    ],
)
def test_a_rule_that_there_is_not_is_an_error(expression, said):
    with pytest.raises(SelectionError) as caught:
        asked(f"lint --where {expression}")
    assert said in str(caught.value)


def test_the_rules_of_lint_are_those_of_its_schema():
    assert fields_of("tinyos.lint/1").field("rule").choices == tuple(rule.name for rule in RULES)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("events --where kind == 'StackGroth'", 'no row has kind "StackGroth" (did you mean "StackGrowth"?)'),
        ("tasks --where state != 'Sleping'", 'no row has state "Sleping"; the rows have "Ready"'),
        ("stacks --where 'Conserative' == policy", 'no row has policy "Conserative" (did you mean "Conserv'),
        ("stacks --where policy in ('Conservative', 'x')", 'no row has policy "x"; the rows have "Conserv'),
        ("stacks --where policy == 'Conservative'", ""),
        ("events --where 'Growth' in kind", ""),
        ("events --where kind == '\033'", ""),
    ],
)
def test_a_text_that_no_row_has_is_a_note(line, said):
    assert ("Note: no row has" in asked(line)) == bool(said)
    assert said in asked(line)
    for options in ("", " --columns core"):
        if "core" in options and "events" not in line:
            continue
        found = asked_json(line + options)
        assert any(note.startswith(said) for note in found["notes"]) or not said


@pytest.mark.parametrize("word", [command.word for command in COMMANDS if command.form.rows is not None])
def test_a_mistake_is_found_before_anything_is_read(word):
    command = BY_WORD[word]
    with pytest.raises(SelectionError, match='no field "nonsense"'):
        answers.question(command, {"columns": "nonsense"})


class Session(Objects):
    """The library over a target that is always the same."""

    def __init__(self):
        self.target = stopped_world(world())

    @classmethod
    def boot(cls):
        return cls()

    @contextlib.contextmanager
    def stopped_target(self):
        try:
            yield self.target
        except SelectionError as error:
            raise ReadFailedError(str(error)) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


PLAIN = [
    NEEDS.get(command.word, command.word)
    for command in COMMANDS
    if command.only_reads and command.word not in OF_THE_PAST
]
LINES = [
    *PLAIN,
    *(f"{line} --where 1 == 1" for line in LISTS),
    "stacks 1",
    "lazy --state zero",
    "lazy 0x200000003008",
    "lazy --where 'state == \"allocated\"' --sort -access_count",
    "lazy --group state --sort -rows",
    "lazy --state pending --limit 1 --sort owner",
    "lazy --columns virtual_address,owner --where \"owner == 1 and state != 'zero'\"",
    "events 1 --core 0",
    "events 1 --where core == 0",
    "tasks worker",
    "backtrace --all",
    "maps --range 0x200000000000+0x5000",
    "maps --find-physical 0x8003000 --where task == 1",
    "maps --permissions rw- --owner stack",
    "registers TTBR --core 0",
    f"translate {LAZY_BASE:#x} --el 0",
    "check --strict",
]


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_python_give_the_same(line, monkeypatch):
    monkeypatch.setattr(gdbplugin.session, "TinyOS", Session)
    names = {}
    exec(asked(f"{line} --python"), names)
    found = names["found"]
    assert isinstance(found, Diagnosed)
    word = line.split()[0]
    if isinstance(found, Table):
        printed = asked_json(line)
        expected = printed["rows"] if printed["schema"] == "tinyos.table/1" else rows_in(line, printed)
        assert [dict(row) for row in found] == expected
        assert (found.of, found.list) == (BY_WORD[word].form.schema, fields_of(found.of).name)
    else:
        assert to_json(BY_WORD[word].form.schema, found) == asked(line)


def test_a_core_that_is_not_the_first_is_in_the_lines():
    target = stopped_world(world(), core=1)
    assert "tinyos.maps(core=1)" in asked("maps --python", target=target)
    assert "tinyos.maps(core=0)" in asked("maps --core 0 --python", target=target)
    assert "core" not in asked("stacks --python", target=target)
    assert "core" not in asked("backtrace 1 --python", target=target)


class Nothing(Target):
    """No target."""

    def __init__(self):
        super().__init__(None, None, Diagnostics(), lambda: None)

    @property
    def core(self):
        raise MachineError("there is no target")


def test_lines_can_be_asked_for_without_a_target():
    assert "tinyos.maps(asid=5)" in asked("maps --asid 5 --python", target=Nothing())


def test_another_kernel_can_be_asked_about_too():
    target = bare({**el1_registers(), "CPSR": 0x3C5}, cores=2)
    chosen = "startswith(name, 'TTBR') and endswith(name, 'EL1')"
    said = asked(f"registers --where {chosen} --csv", target=target)
    assert said.splitlines() == ["name", "TTBR0_EL1", "TTBR1_EL1"]
    assert asked("maps --el 1 --where size > 0", target=bare({**el1_registers(), "SCTLR_EL1": 0})).startswith(
        "Mappings (0 of 0)"
    )


def test_the_lines_are_the_documented_ones():
    assert asked("lazy --where 'state == \"allocated\"' --python") == (
        "from gdbplugin.session import TinyOS\n\n"
        "with TinyOS.boot() as tinyos:\n"
        '    found = tinyos.table("lazy", where=\'state == "allocated"\')\n'
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.word)
def test_what_only_reads_is_a_method_of_the_library(command):
    assert not command.only_reads or hasattr(gdbplugin.session.TinyOS, command.word)
    assert command.only_reads == any(option.name == "--python" for option in command.options)


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("lazi", {}, r"no list lazi \(did you mean lazy\?\) \(known: backtrace, check,"),
        ("stats", {}, "no list stats"),
        ("lazy", {"where": "own == 1"}, r"no field \"own\" \(did you mean owner\?\)"),
        ("lazy", {"limit": -1}, "-1 is not a number"),
        ("lazy", {"state": "x", "sort": "y"}, 'no field "y"'),
    ],
)
def test_a_mistake_in_the_library_is_one_line(command, words, said):
    with pytest.raises(ReadFailedError, match=said):
        Session().table(command, **words)
