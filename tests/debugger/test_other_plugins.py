"""Other plugins in the same GDB, loaded before or after this one: both work, and no names clash.

They are stand-ins (`tests/other_plugins`) that do what is known of pwndbg and gef, and register their names.
"""

import ast
import json
import os
import shutil
import string
from pathlib import Path

import pytest

from tests.debugger.conftest import PLUGIN, gdb
from tests.other_plugins import names

TOP = Path(__file__).resolve().parents[2]
OTHERS = TOP / "tests" / "other_plugins"
FILES = {"pwndbg": OTHERS / "pwndbg" / "gdbinit.py", "gef": OTHERS / "gef.py"}
BOTH_WAYS = [(name, order) for name in FILES for order in ("before", "after")]

# Commands whose objects are the same at any stop while the kernel's tasks are held.
STEADY = (
    "stacks",
    "maps --limit 40",
    "registers TCR_EL1",
    "registers VBAR_EL1",
    "translate 0xffff800000080000",
)
GOES_ON = {"time", "current_task", "tasks", "running"}
# GDB completes the names that a plugin may define after each of these.
PLACES = ("", "set ", "show ", "help function ", "info ", "maintenance ", "unset ")


def sourced(name, order):
    """Commands that load both plugins."""
    files = [PLUGIN, FILES[name]] if order == "after" else [FILES[name], PLUGIN]
    return [f"source {file}" for file in files]


def found(outcome):
    """The JSON objects that commands printed, without what changes while the tasks are held."""
    objects = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
    return [{key: value for key, value in one.items() if key not in GOES_ON} for one in objects]


@pytest.fixture(scope="module")
def held(shared_machine):
    """The address that GDB connects to; the kernel's tasks are held."""
    shared_machine.shell("hold")
    yield shared_machine.qemu.gdb_address
    shared_machine.shell("go")


@pytest.fixture(scope="module")
def alone(held, kernel_elf):
    """The objects without another plugin."""
    objects = found(
        gdb(f"target remote {held}", *(f"tinyos {command} --json" for command in STEADY), elf=kernel_elf)
    )
    assert len(objects) == len(STEADY)
    return objects


@pytest.mark.parametrize(("name", "order"), BOTH_WAYS)
def test_commands_show_the_same_with_another_plugin(held, kernel_elf, alone, name, order):
    commands = [f"tinyos {command} --json" for command in STEADY]
    outcome = gdb(*sourced(name, order), f"target remote {held}", *commands, elf=kernel_elf, plugin=None)
    assert outcome.errors == ""
    assert found(outcome) == alone


@pytest.mark.parametrize(("name", "order"), BOTH_WAYS)
def test_report_and_functions_work_with_another_plugin(held, kernel_elf, name, order):
    outcome = gdb(
        *sourced(name, order),
        f"target remote {held}",
        "tinyos report",
        "tinyos *s",
        "output/d $tinyos_level() + 100",
        'interpreter-exec mi "-tinyos-pressure"',
        "stepi",
        "tinyos report",
        elf=kernel_elf,
        plugin=None,
    )
    assert outcome.errors == ""
    assert outcome.output.count("TinyOS dynamic memory") == 2
    assert outcome.output.count("total_dynamic_stacks") == 1
    assert "\n100" in outcome.output
    assert '^done,json="{' in outcome.output


@pytest.mark.parametrize(("name", "order"), BOTH_WAYS)
def test_other_plugins_keep_their_names(name, order):
    theirs = names.read(name)
    functions = theirs["functions"]
    helps = [
        *theirs["commands"],
        *(f"function {one}" for one in functions),
        *(f"set {one}" for one in theirs["parameters"]),
    ]
    look = (
        f"python print('lost:', [one for one in {helps!r}"
        " if 'Of another plugin.' not in gdb.execute('help ' + one, to_string=True)])"
    )
    call = f"print ${functions[0]}(1, 2)"
    hook = "python print(gdb.prompt_hook(''))"
    outcome = gdb(*sourced(name, order), look, "vmmap here", call, hook, plugin=None)
    assert outcome.errors == ""
    assert "lost: []" in outcome.output
    assert "vmmap was given 'here'" in outcome.output
    assert f"{name}> " in outcome.output
    assert "= 1002" in outcome.output or "= 0x3ea" in outcome.output


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "command", "says"), [("pwndbg", "version", "Pwndbg"), ("gef", "theme", "table_heading")]
)
def test_the_real_plugin_works_too(held, kernel_elf, tmp_path, monkeypatch, name, command, says, order):
    variable = f"TINYOS_TEST_{name.upper()}"
    if variable not in os.environ:
        pytest.skip(f"the real {name} is not here: {variable} is to name its {FILES[name].name}")
    monkeypatch.setenv("HOME", str(tmp_path))
    files = [PLUGIN, Path(os.environ[variable])]
    if order == "before":
        files.reverse()
    sources = [f"source {file}" for file in files]
    outcome = gdb(*sources, f"target remote {held}", "tinyos report", command, elf=kernel_elf, plugin=None)
    shown, _, rest = outcome.output.partition("TinyOS dynamic memory")[2].partition(says)
    assert "Stacks" in shown
    assert rest


def test_every_name_begins_with_tinyos():
    # By first letters, because GDB ignores a space at the end of a line.
    starts = [place + letter for place in PLACES for letter in f"{string.ascii_letters}_-$"]
    completed = "gdb.execute('complete ' + start, to_string=True).splitlines()"
    asked = f"{{name for start in {starts} for name in {completed}}}"
    lists = "[len(gdb.pretty_printers), len(gdb.type_printers), len(gdb.frame_unwinders), len(gdb.xmethods)]"
    outcome = gdb(
        "set max-completions unlimited",
        "python import gdb.printing",  # Has printers of its own.
        f"python before, lists_before = {asked}, {lists}",
        f"source {PLUGIN}",
        f"python after, lists_after = {asked}, {lists}",
        "python print(*sorted(after - before), sep='\\n')",
        "python print([now - then for then, now in zip(lists_before, lists_after)])",
        "python print(gdb.pretty_printers[0].name)",
        plugin=None,
    )
    *taken, lists, printer = outcome.output.splitlines()
    functions = [
        f"help function tinyos_{word}" for word in ("asid", "lazy", "level", "stack", "task", "translate")
    ]
    assert taken == [*functions, "set tinyos", "show tinyos", "tinyos"]
    assert lists == "[1, 0, 0, 0]"
    assert printer == "tinyos"


def test_the_first_command_adds_only_hooks(held, kernel_elf):
    completed = "gdb.execute('complete ' + letter, to_string=True).splitlines()"
    asked = f"python print([word for letter in {string.ascii_letters!r} for word in {completed}])"
    connect = f"target remote {held}"
    without, with_it = (
        ast.literal_eval(gdb(connect, *given, asked, elf=kernel_elf).output.splitlines()[-2])
        for given in ((), ("tinyos report",))
    )
    hooks = {f"hookpost-{command}" for command in ("monitor", "restore", "load", "flash-erase")}
    assert set(with_it) - set(without) == hooks


def test_hooks_of_others_stay(held, kernel_elf):
    define = "python gdb.execute('define hookpost-monitor\\necho theirs\\\\n\\nend')"
    outcome = gdb(define, f"target remote {held}", "tinyos stats", "monitor info status", elf=kernel_elf)
    assert outcome.errors == "VM status: paused\n"
    # The plugin's own monitor command calls the hook too.
    assert outcome.output.rstrip().splitlines()[-2:][0] == "theirs"


def test_the_users_python_gets_no_names(held, kernel_elf):
    outcome = gdb(
        "python r = w = 1; mine = set(globals())",
        f"source {PLUGIN}",
        f"target remote {held}",
        "tinyos report",
        "tinyos translate $pc",
        "tinyos translate ($pc)",
        "python print('new:', sorted(set(globals()) - mine - {'mine'}), r, w)",
        elf=kernel_elf,
        plugin=None,
    )
    assert outcome.errors == ""
    assert "new: [] 1 1" in outcome.output


def test_others_find_their_own_modules_first():
    ask = "python import elftools, sys; print(elftools.__version__, sys.path[0])"
    for order in ("before", "after"):
        outcome = gdb(*sourced("pwndbg", order), ask, plugin=None)
        assert outcome.output.split()[:1] == ["0.29"]
        assert outcome.errors == ""


def test_only_the_package_becomes_importable():
    beside = ("docs", "kernel", "scripts", "tests")
    ask = f"python import importlib.util as u; print([name for name in {beside} if u.find_spec(name)])"
    assert gdb(ask).output == "[]\n"


def test_an_old_pyelftools_of_another_plugin_is_an_error(held, kernel_elf, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # GDB finds no symbol then, so the DWARF is read.
    blind = "python gdb.lookup_global_symbol = gdb.lookup_static_symbol = lambda *_: None"
    outcome = gdb(
        *sourced("pwndbg", "before"),
        blind,
        f"target remote {held}",
        "tinyos stats",
        elf=kernel_elf,
        plugin=None,
    )
    (line,) = outcome.errors.splitlines()
    assert "pyelftools 0.29, which comes first on Python's path" in line
    assert str(OTHERS / "pwndbg" / "site-packages" / "elftools") in line


def test_loading_twice_changes_nothing(held, kernel_elf):
    outcome = gdb(f"source {PLUGIN}", f"target remote {held}", "tinyos stats", "tinyos s", elf=kernel_elf)
    assert outcome.errors == ""
    assert outcome.output.count("total_dynamic_stacks") == 2


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_of_two_copies_stays(held, kernel_elf, tmp_path, first):
    copied = shutil.copytree(PLUGIN.parent, tmp_path / "copy" / "gdbplugin")
    files = [PLUGIN, copied / "tinyos.py"]
    if first:
        files.reverse()
    outcome = gdb(
        *(f"source {file}" for file in files),
        f"target remote {held}",
        "tinyos stats",
        elf=kernel_elf,
        plugin=None,
    )
    assert outcome.output.count("total_dynamic_stacks") == 1
    assert (
        outcome.errors
        == f"tinyos: {files[0].parent} is loaded already, and stays; {files[1].parent} needs another GDB\n"
    )


@pytest.mark.parametrize("file", ["gdbplugin.py", "gdbplugin/__init__.py", "gdbplugin/debugger/__init__.py"])
def test_another_package_named_gdbplugin_is_an_error(tmp_path, file):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("")
    theirs = f"python import sys; sys.path.insert(0, {str(tmp_path)!r}); import gdbplugin"
    outcome = gdb(theirs, f"source {PLUGIN}", "echo after", plugin=None)
    assert outcome.output == "after"
    (line,) = outcome.errors.splitlines()
    assert line.startswith(f"tinyos: not loaded, beside the gdbplugin of {tmp_path}")


def test_an_unloaded_package_named_gdbplugin_is_ignored(tmp_path):
    (tmp_path / "gdbplugin").mkdir()
    (tmp_path / "gdbplugin" / "__init__.py").write_text("")
    theirs = f"python import sys; sys.path.insert(0, {str(tmp_path)!r})"
    outcome = gdb(theirs, f"source {PLUGIN}", "help tinyos stats", plugin=None)
    assert outcome.errors == ""
    assert "Usage: tinyos stats" in outcome.output
