"""Of several statics that may be the memory manager, the user says which: in GDB and in Python."""

from __future__ import annotations

import re

import pytest

from gdbplugin.session import CommandFailedError, KernelUnusableError, SessionError, TinyOS
from tests.debugger.conftest import gdb
from tests.integration.designs import FIRST, SECOND, merged, told


def test_a_session_begins_without_the_choice_of_a_manager(variant, variant_elf):
    _, first, _ = variant
    with TinyOS.boot(variant_elf) as session:
        told(session)
        with pytest.raises(SessionError, match=r"2 statics look like [^\n]*set tinyos manager PATH"):
            session.stats()
        with pytest.raises(CommandFailedError, match=r"^tinyos stats: 2 statics [^\n]*$"):
            session.json("stats")
        assert session.json("maps")["mappings"]
        session.gdb(f"set tinyos manager {FIRST}")
        found = session.json("stats")["stats"]["context_switch_count"]
        assert found == merged(first["stats"])["context_switch_count"]


def test_of_two_managers_one_is_to_be_named(variant, variant_elf):
    session, first, second = variant
    with pytest.raises(
        KernelUnusableError, match=r"^\"orchard::nothing\" does not look like [^\n]*heart[^\n]*$"
    ):
        TinyOS.boot(variant_elf, manager="orchard::nothing")
    session.detach()
    done = gdb(
        f"target remote {session.address}",
        "tinyos stats",
        "complete set tinyos manager ",
        "complete set tinyos manager orchard::r",
        "show tinyos manager",
        f"set tinyos manager {FIRST}",
        "tinyos stats --json",
        "set tinyos manager reserve::DYNAMIC_MEMORY_MANAGER",
        "tinyos stats --json",
        "show tinyos manager",
        "set tinyos manager",
        "tinyos stats",
        elf=variant_elf,
    )
    lines = done.output.splitlines()
    assert "set tinyos manager auto" in lines
    assert lines.count(f"set tinyos manager {FIRST}") == 1
    assert lines.count(f"set tinyos manager {SECOND}") == 2
    counts = [int(number) for number in re.findall(r'"context_switch_count": (\d+)', done.output)]
    assert counts == [merged(kept["stats"])["context_switch_count"] for kept in (first, second)]
    assert 'Which static is TinyOS\'s memory manager: "auto".' in lines
    assert 'Which static is TinyOS\'s memory manager: "reserve::DYNAMIC_MEMORY_MANAGER".' in lines
    problems = done.errors.strip().splitlines()
    assert len(problems) == 2
    assert {problem.partition(":")[0].split()[0] for problem in problems} == {"2"}
    assert all(FIRST in problem and SECOND in problem for problem in problems)


def test_a_manager_that_is_none_is_refused_at_once(variant_elf):
    done = gdb(
        "set tinyos manager heart::DYNAMIC_MEMORY_MANAGER",
        "set tinyos manager nonsense",
        "show tinyos manager",
        "set tinyos manager DYNAMIC_MEMORY_MANAGER",
        "set tinyos manager auto",
        "show tinyos manager",
        "help set tinyos manager",
        elf=variant_elf,
    )
    unfit, unclear = done.errors.strip().splitlines()
    assert '"nonsense" does not look like TinyOS\'s memory manager' in unfit
    assert "2 statics look like" in unclear
    for problem in (unfit, unclear):
        assert FIRST in problem
        assert SECOND in problem
    told_lines = [line for line in done.output.splitlines() if line.startswith("Which static")]
    assert [line.rpartition(" ")[2] for line in told_lines] == ['"heart::DYNAMIC_MEMORY_MANAGER".', '"auto".']
    assert "[PATH | auto]" in done.output


def test_without_a_program_any_manager_is_kept():
    done = gdb("set tinyos manager nonsense", "show tinyos manager")
    assert '"nonsense".' in done.output
    assert "nonsense" not in done.errors


def test_the_ends_of_managers_paths_are_completed(variant_elf):
    last = FIRST.rpartition("::")[2]
    expected = {
        "heart": [f"heart::{last}"],
        "reserve": [f"reserve::{last}"],
        "heart::D": [f"heart::{last}"],
        "D": [FIRST, SECOND],
        "orchard::h": [FIRST],
        "a": ["auto"],
    }
    done = gdb(*(f"complete set tinyos manager {typed}" for typed in expected), elf=variant_elf)
    found = [line for line in done.output.splitlines() if line.startswith("set tinyos manager ")]
    assert found == [f"set tinyos manager {path}" for paths in expected.values() for path in paths]
