"""`tinyos watch translation` and `tinyos during` on another kernel: a program whose every store is known."""

import json
import re

import pytest

from tests.debugger import table_writer as program
from tests.debugger.conftest import gdb, stopped

LIST = "tinyos watch --json"


@pytest.fixture
def run(tmp_path):
    """Run GDB commands once the program has switched the MMU on."""
    with stopped(tmp_path, *program.arguments(tmp_path)) as address:

        def commands(*words):
            begin = ("set architecture aarch64", f"target remote {address}")
            begin += (f"hbreak *{program.PLACES['start']:#x}", "continue", "delete")
            done = gdb(*begin, *words)
            assert "Traceback" not in done.errors
            assert "Python" not in done.errors
            return done

        yield commands


def lists(done):
    """The watches, as each listing had them."""
    return [json.loads(line)["watches"] for line in done.output.splitlines() if line.startswith("{")]


def test_each_change_of_a_translation_stops_and_no_other_write(run):
    done = run(
        f"tinyos watch translation {program.WATCHED:#x}",
        *(["continue", LIST] * 3),
        f"hbreak *{program.PLACES['end']:#x}",
        *("continue", LIST),
    )
    (mapped,), (executable,), (unmapped,), (last,) = lists(done)
    assert [one["hit_count"] for one in (mapped, executable, unmapped, last)] == [1, 2, 3, 3]
    writers = [one["last"]["writer"]["pc"] for one in (mapped, executable, unmapped)]
    assert writers == [program.PLACES[name] for name in ("map", "executable", "unmap")]
    # Only the first descriptor was read before; the other tables are followed, also to the copy.
    assert mapped["tables"] == [program.L1, program.OTHER_L2, program.L3]
    assert executable["tables"] == unmapped["tables"] == [program.L1, program.OTHER_L2, program.COPY]
    assert mapped["watchpoints"] == executable["watchpoints"] == 3
    assert [one["level"] for one in mapped["last"]["descriptors"]] == [1, 2, 3]
    (changed,) = executable["last"]["descriptors"]
    assert changed["before"] == program.WRITES["age"][1]
    assert changed["after"] == program.WRITES["executable"][1]
    assert "EL1 rw-" in executable["last"]["before"]
    assert "EL1 rwx" in executable["last"]["after"]
    assert "access flag clear" in changed["before_meaning"]
    assert "translation fault at level 3" in done.output
    assert f"written by core 0: {program.PLACES['unmap']:#x}" in done.output
    assert re.search(r"Old value = 0x\w+\nNew value = 0x0\n", done.output)


def test_flags_stop_too_if_they_are_asked_for(run):
    done = run(f"tinyos watch translation {program.WATCHED:#x} --flags", *(["continue", LIST] * 2))
    assert [one["last"]["writer"]["pc"] for (one,) in lists(done)] == [
        program.PLACES["map"],
        program.PLACES["age"],
    ]


def test_a_page_that_becomes_writable_and_executable_stops(run):
    done = run("tinyos watch translation --any w+x", "continue", LIST, "tinyos maps")
    ((watch,),) = lists(done)
    assert watch["hit_count"] == 1
    change = watch["last"]
    assert (change["address"], change["size"]) == (program.WATCHED, 4096)
    assert change["writer"]["pc"] == program.PLACES["executable"]
    assert set(watch["tables"]) == {program.L1, program.L2, program.OTHER_L2, program.COPY}
    assert "any page that becomes writable and executable" in done.output
    assert "Old value = a translation table\n" in done.output
    # What `maps` shows agrees.
    assert re.search(r"0x0080000000 .* rwx ", done.output)


def test_a_new_watch_is_shown_alone_and_says_whose_pages_it_watches(run):
    done = run(
        f"tinyos watch translation {program.WATCHED:#x}",
        "tinyos watch translation --any w+x",
        f"tinyos watch translation --any w+x --ttbr {program.L1:#x}",
        "echo @@",
        "tinyos watch",
    )
    for part in done.output.split("@@"):
        titles = re.findall(r"^Watch (\d): (.*)$", part, re.MULTILINE)
        assert [number for number, _ in titles] == ["1", "2", "3"]
        assert titles[1][1] == "any page that becomes writable and executable"
        assert (
            titles[2][1]
            == f"any page by TTBR0_EL1's table {program.L1:#x} that becomes writable and executable"
        )


def test_a_deleted_watch_stops_no_more(run):
    done = run(
        f"tinyos watch translation {program.WATCHED:#x}",
        "continue",
        "tinyos watch --delete 1",
        "tinyos watch --delete 1",
        f"hbreak *{program.PLACES['end']:#x}",
        "continue",
        "maintenance info breakpoints",
        "tinyos watch",
    )
    assert f"{program.PLACES['end']:#x} in ?? ()" in done.output.replace("0x00000000", "0x")
    assert "watchpoint" not in done.output.rpartition("Num ")[2]
    assert "No translation is watched" in done.output
    assert "no watch 1 (known: none)" in done.errors


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("set remote hardware-watchpoint-limit 2", "no hardware watchpoint for level 3's descriptor"),
        ("set can-use-hw-watchpoints 0", "`set can-use-hw-watchpoints 1` allows them"),
    ],
)
def test_no_software_watchpoint_is_used_when_there_are_none_left(run, setting, said):
    where = f"hbreak *{program.PLACES['copy']:#x}"
    words = (f"tinyos watch translation {program.WATCHED:#x}", "maintenance info breakpoints", "tinyos watch")
    done = run(where, "continue", setting, *words)
    assert said in done.errors
    assert "watchpoint" not in done.output.rpartition("Num ")[2]
    assert "No translation is watched" in done.output


def test_watchpoints_that_run_out_on_the_way_stop_and_say_so(run):
    done = run(
        "set remote hardware-watchpoint-limit 2",
        *(f"tinyos watch translation {program.WATCHED:#x}", "continue", LIST),
    )
    ((watch,),) = lists(done)
    assert watch["problem"].startswith("it cannot go on: no hardware watchpoint for level 3's descriptor")
    assert "it cannot go on: no hardware watchpoint" in done.output


def test_what_no_watchpoint_saw_is_noticed_at_the_next_stop(run):
    # The debugger itself writes, as a device would: the map's descriptor, before the program does.
    done = run(
        f"tinyos watch translation {program.WATCHED:#x}",
        f"set *(unsigned long *) {program.L3:#x} = {program.WRITES['leaf'][1]:#x}",
        f"set *(unsigned long *) {program.OTHER_L2:#x} = {program.WRITES['table'][1]:#x}",
        f"set *(unsigned long *) {program.L1 + 16:#x} = {program.WRITES['map'][1]:#x}",
        "stepi",
        LIST,
    )
    ((watch,),) = lists(done)
    assert (watch["hit_count"], watch["last"]["writer"]) == (1, None)
    assert "No watchpoint saw the write" in done.output


def test_during_a_command_the_mappings_that_changed_are_shown(run):
    done = run(
        f"hbreak *{program.PLACES['copy']:#x}",
        "tinyos during continue",
        "tinyos during nonsense",
        "tinyos during continue&",
        "tinyos during --limit 1 stepi --json",
    )
    row = f"{program.WATCHED:#x}   4 K  not mapped  {program.FRAME:#x}, EL0 ---, EL1 rw-, Normal write-back"
    assert row in done.output
    assert "Mappings that changed during `continue` (1)" in done.output
    assert '`nonsense` failed: Undefined command: "nonsense".' in done.output
    assert "`continue&` would go on in the background" in done.errors
    (found,) = (json.loads(line) for line in done.output.splitlines() if line.startswith("{"))
    assert (found["command"], found["error"], found["mappings"]) == ("stepi", None, [])
    assert f"{program.PLACES['copy'] + 4:#018x} in ?? ()" in done.output
