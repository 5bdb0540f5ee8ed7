"""scripts/mutate: its list of faults, and what it refuses. The faults themselves are for a person to try."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.setup_sandbox import TOP, library

mutate = library("mutate")
FAULTS = mutate.read_faults((TOP / "tests/mutations.toml").read_text())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_applies_to_the_sources_and_its_tests_exist(fault) -> None:
    content = (TOP / fault.file).read_text()
    assert mutate.mutated(content, fault) != content
    assert fault.tests
    for tests in fault.tests:
        assert tests == "host" or (TOP / tests.split()[0]).exists(), tests


def test_the_names_of_faults_differ() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("content", ["", "needle needle"])
def test_a_text_that_does_not_stand_there_once_is_refused(content: str) -> None:
    fault = mutate.Fault("a", "b", "c.rs", "needle", "", ("host",))
    with pytest.raises(mutate.MutationError, match=r"stands [02] times in c\.rs"):
        mutate.mutated(content, fault)


def test_a_fault_that_lacks_something_is_named() -> None:
    with pytest.raises(mutate.MutationError, match="fault half"):
        mutate.read_faults('[[fault]]\nname = "half"\ntests = ["host"]\n')


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (["host: a::b", "c.py::d"], 0, "c.py::d"),
        (["host: a::b", ""], 1, "NOT NOTICED by tests/c.py -k d"),
    ],
    ids=["all", "one not"],
)
def test_each_test_of_a_fault_must_notice(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr(mutate, "Copy", lambda _folder: SimpleNamespace(try_fault=lambda _fault: found))
    fault = mutate.Fault("name", "what", "file", "find", "replace", ("host", "tests/c.py -k d"))
    assert mutate._try([fault]) == status
    table = capsys.readouterr().out
    assert "host: a::b" in table
    assert said in table


def test_an_unknown_name_changes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [TOP / "scripts/mutate", "--list", "no-such-fault"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tinyos: error: no fault no-such-fault; --list shows them\n"
