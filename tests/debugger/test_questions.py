"""Questions about lists on the real kernel: the same in GDB, GDB/MI and library; lines of Python that run."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys

import pytest

from gdbplugin.commands import COMMANDS, parsing
from gdbplugin.commands.descriptor import to_json
from gdbplugin.query.question import Table
from gdbplugin.session import CommandFailedError, TinyOS
from tests.commands.forms import OF_THE_PAST
from tests.debugger.conftest import gdb
from tests.schemas.validation import validate

pytestmark = pytest.mark.xdist_group("questions")

BY_WORD = {command.word: command for command in COMMANDS}
ASKED = (
    ("lazy", "where", 'state == "allocated" and access_count > 1', "sort", "-access_count,virtual_address"),
    ("lazy", "group", "owner,state", "sort", "-rows"),
    ("maps", "where", "size > 4K", "columns", "start,size,owner,permissions.EL0"),
    ("events", "group", "kind"),
    ("tasks", "where", 'startswith(name, "w")', "columns", "id,name,switch_count"),
    ("stacks", "sort", "-current_size"),
    ("context", "where", "asid in (1, 5)"),
)


def line_of(word, *words):
    """A question as a command line, and as the library's keywords."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    return " ".join([word, *(f"--{key} '{value}'" for key, value in given.items())]), given


@pytest.mark.parametrize(
    "asked", ASKED, ids=[" ".join(one[:2]) + str(place) for place, one in enumerate(ASKED)]
)
def test_gdb_mi_and_the_library_answer_the_same(shared_machine, asked):
    line, words = line_of(*asked)
    with shared_machine.stopped() as debugger:
        found = shared_machine.table(asked[0], **words)
        printed = shared_machine.json(line)
        mi = " ".join(
            ["-tinyos-" + asked[0], *(f'--{key} "{quoted(value)}"' for key, value in words.items())]
        )
        by_mi = json.loads(debugger.mi(mi).payload["json"])
        rows = list(csv.DictReader(io.StringIO(debugger.mi(f"{mi} --csv").payload["csv"])))
        text = debugger.execute(f"tinyos {line}")
    validate(printed)
    assert by_mi == printed
    path = (found.list,) if asked[0] != "context" else ("context", "spaces")
    inner = printed
    for step in ("rows",) if printed["schema"] == "tinyos.table/1" else path:
        inner = inner[step]
    assert [dict(row) for row in found] == inner
    assert len(rows) == len(found) > 0
    assert f"{found.total:,}" in text.splitlines()[0]


def quoted(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


def test_a_question_of_the_real_kernel_is_right(shared_machine):
    with shared_machine.stopped():
        pages = [page for page in shared_machine.lazy() if page.is_allocated and page.access_count > 1]
        groups = {row["owner"]: row for row in shared_machine.table("lazy", group="owner")}
        found = shared_machine.table("lazy", where='state == "allocated" and access_count > 1')
        owned = {page.owner for page in shared_machine.lazy()}
        sums = {
            owner: sum(p.access_count for p in shared_machine.lazy() if p.owner == owner) for owner in owned
        }
    assert [row["virtual_address"] for row in found] == [page.virtual_address for page in pages]
    assert {owner: row["access_count"] for owner, row in groups.items()} == sums


COMPLETED = {
    "tinyos lazy --where ow": ["tinyos lazy --where owner"],
    "tinyos lazy --where 'ow": ["tinyos lazy --where 'owner"],
    "tinyos lazy --where=ow": ["tinyos lazy --where=owner"],
    "tinyos lazy --where (ow": ["tinyos lazy --where (owner"],
    "tinyos lazy --where owner == 1 and acc": ["tinyos lazy --where owner == 1 and access_count"],
    "tinyos lazy --where 'owner == 1 and acc": ["tinyos lazy --where 'owner == 1 and access_count"],
    'tinyos lazy --where state == "al': ['tinyos lazy --where state == "allocated"'],
    "tinyos lazy --where 'state == \"al": ['tinyos lazy --where \'state == "allocated"'],
    "tinyos lazy --sort state,-acc": ["tinyos lazy --sort state,-access_count"],
    "tinyos lazy --group=st": ["tinyos lazy --group=state"],
    "tinyos lazy --columns is_": ["tinyos lazy --columns is_allocated", "tinyos lazy --columns is_zero_page"],
    "tinyos lazy --whe": ["tinyos lazy --where"],
}


def test_completion_in_gdb_without_a_target():
    done = gdb(*(word for line in COMPLETED for word in ("echo @@\\n", f"complete {line}")))
    assert done.errors == ""
    # Newer GDBs close the quote.
    parts = [[line.rstrip("'") for line in part.splitlines()[1:]] for part in done.output.split("@@")[1:]]
    assert dict(zip(COMPLETED, parts, strict=True)) == COMPLETED


WRONG = {
    "tinyos lazy --where ownr == 1": 'at character 1 of the expression: no field "ownr" (did you mean',
    "tinyos lazy --where 'state == \"alocated\"'": "at character 10 of the expression: state is never",
    "tinyos lazy --where __import__('os')": 'no function "__import__"',
    "tinyos lazy --where 9**9**9 == 1": "cannot be computed",
    "tinyos lint --where rule == 'wxm'": 'rule is never "wxm" (did you mean "wxn"?)',
    "tinyos maps --group owner --columns start": "start does not add up",
    "tinyos lazy --sort nonsense": 'no field "nonsense" (known: virtual_address',
    "tinyos lazy --group state --sort owner": "groups have no owner to be sorted by (known: state, rows",
    "tinyos lazy --csv --json": "--csv does not go with --json",
    "tinyos stats --sort x": '"--sort" is not an option',
}


@pytest.mark.parametrize(("line", "said"), WRONG.items())
def test_a_mistake_is_one_line(shared_machine, line, said):
    with shared_machine.stopped() as debugger, pytest.raises(CommandFailedError) as caught:
        debugger.execute(line)
    reason = caught.value.reason.strip()
    assert said in reason
    assert "Usage: tinyos " in reason
    assert "\n" not in reason


def test_a_kind_of_event_that_there_is_not_is_a_note(shared_machine):
    with shared_machine.stopped() as debugger:
        said = debugger.execute("tinyos events --where kind == 'LazyAlocate'")
        groups = debugger.execute("tinyos events 3 --group core").splitlines()[0]
        found = shared_machine.table("search", value=1, size=1, in_="mapped", group="section")
    assert 'Note: no row has kind "LazyAlocate" (did you mean "LazyAllocate"?)' in said
    assert groups.startswith("Events by core (3 of ")
    assert found.matching > 50


@pytest.fixture(scope="module")
def dump(kernel_elf, tmp_path_factory):
    """A dump of the kernel after its boot."""
    path = tmp_path_factory.mktemp("questions") / "kernel.dump"
    with TinyOS.boot(kernel_elf) as machine:
        machine.dump(path)
    return path


_NEEDS = {
    "search": "search 0x200000004000 --limit 5",
    "translate": "translate 0x200000004000 --asid 5",
    "where": "where 0x200000004000 --asid 5",
}
LINES = [
    *(
        _NEEDS.get(command.word, command.word)
        for command in COMMANDS
        if command.only_reads and command.word not in OF_THE_PAST
    ),
    *(line_of(*one)[0] for one in ASKED),
    "stacks 1",
    "lazy 0x200000004000",
    "lazy --state zero --limit 3",
    "maps --range 0xffff800000080000+0x2000 --permissions r-x",
    "backtrace all",
    "diff now now --kind stacks",
]


def test_what_python_prints_gives_what_the_command_gives(dump, kernel_elf, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = [f"tinyos {line}{end}" for line in LINES for end in (" --json", " --python")]
    marked = [word for place, one in enumerate(words) for word in (f"echo @@{place}\\n", one)]
    done = gdb(f"core-file {dump}", *marked, elf=kernel_elf)
    assert done.errors == ""
    parts = [part.partition("\n")[2] for part in done.output.split("@@")[1:]]
    # One session for all: each of the programs opens the same dump.
    with TinyOS.open_dump(dump, kernel_elf) as session:
        opened = []

        def open_dump(*words, **named):
            opened.append((words, named))
            return Shared(session)

        monkeypatch.setattr(TinyOS, "open_dump", open_dump)
        for line, printed, program in zip(LINES, parts[::2], parts[1::2], strict=True):
            names = {}
            exec(program, names)
            assert_same(line, json.loads(printed), names["found"])
    assert set(map(repr, opened)) == {repr(((str(dump), str(kernel_elf)), {}))}


class Shared:
    """A session in a `with` that does not end it."""

    def __init__(self, session):
        self._session = session

    def __enter__(self):
        return self._session

    def __exit__(self, *_):
        pass


def assert_same(line, printed, found):
    """What the library gives is what the command printed."""
    if isinstance(found, Table):
        rows = printed.get("rows") if printed["schema"] == "tinyos.table/1" else printed
        for step in () if printed["schema"] == "tinyos.table/1" else path_of(line):
            rows = rows[step]
        assert [dict(row) for row in found] == rows, line
    else:
        command = BY_WORD[line.split()[0]]
        assert json.loads(to_json(command.form.schema, found)) == printed, line


def path_of(line):
    from gdbplugin.query.fields import fields_of

    return fields_of(BY_WORD[line.split()[0]].form.schema).path


def test_the_program_runs_as_it_is_printed(dump, kernel_elf, tmp_path):
    done = gdb(f"core-file {dump}", "tinyos lazy --where 'state == \"zero\"' --python", elf=kernel_elf)
    program = tmp_path / "program.py"
    lines = done.output[done.output.index("from gdbplugin") :]
    program.write_text(lines + "print(len(found), found.total)\n")
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert re.fullmatch(r"168 336\n", ran.stdout)


def test_a_session_says_how_it_was_begun(shared_machine):
    with shared_machine.stopped() as debugger:
        said = debugger.execute("tinyos stacks --python")
    assert 'with TinyOS.boot("' in said
    assert "found = tinyos.stacks()" in said


def test_every_option_about_lists_is_parsed_in_gdb_as_here():
    for one in ASKED:
        line, words = line_of(*one)
        word, _, rest = line.partition(" ")
        assert parsing.parse(BY_WORD[word], parsing.split(rest)) == words
