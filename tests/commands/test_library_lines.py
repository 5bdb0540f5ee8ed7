"""The lines of Python that `--python` prints, and the library that they call, over the synthetic kernel."""

from __future__ import annotations

import contextlib

import pytest

import gdbplugin.session
from gdbplugin.commands import COMMANDS
from gdbplugin.commands.descriptor import to_json
from gdbplugin.commands.library import shown_path
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.target import Target
from gdbplugin.machine import MachineError, SelectionError
from gdbplugin.query.fields import fields_of
from gdbplugin.query.question import Table
from gdbplugin.session.errors import ReadFailedError
from gdbplugin.session.objects import Objects
from tests.aarch64.machines import el1_registers
from tests.commands.asking import BY_WORD, LISTS, NEEDS, asked, asked_json, rows_in, world
from tests.commands.forms import OF_THE_PAST
from tests.kernel.stopped import bare, stopped_world
from tests.kernel.synthetic import LAZY_BASE


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


@pytest.mark.parametrize("path", ["", "tinyos.elf", "..built/tinyos.elf", "a/../tinyos.elf", "../tinyos.elf"])
def test_a_path_is_relative_to_where_a_person_is_if_it_is_in_there(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(path) == path
    assert shown_path(f"{tmp_path}/{path}") == (path or ".")
    assert shown_path(f"{tmp_path}x/{path}") == f"{tmp_path}x/{path}"
