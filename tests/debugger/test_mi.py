"""The objects by GDB/MI: one field of JSON, the same as the command prints."""

import json

import pytest

from gdbplugin.session.errors import CommandFailedError


@pytest.mark.parametrize("word", ["report", "check"])
def test_the_object_is_what_the_command_prints(shared_machine, word):
    with shared_machine.stopped() as gdb:
        result = gdb.mi(f"-tinyos-{word}")
        printed = gdb.execute(f"tinyos {word} --json")
    assert set(result.payload) == {"json"}
    assert json.loads(result.payload["json"]) == json.loads(printed)


def test_words_that_are_not_understood_are_an_mi_error(shared_machine):
    with shared_machine.stopped() as gdb, pytest.raises(CommandFailedError, match="--jsn"):
        gdb.mi("-tinyos-report --jsn")


def test_thousands_of_lazy_pages_are_told_in_time(machine):
    machine.shell("spawn lazy 32768")
    machine.console.send("\r")
    with machine.stopped() as gdb:
        report = json.loads(gdb.mi("-tinyos-report", timeout=10).payload["json"])
    assert report["findings"] == []
    assert len(report["pages"]) == report["stats"]["total_lazy_pages"] > 32_768
