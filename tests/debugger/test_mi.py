"""GDB/MI: errors, and a large object. `test_commands.py` compares each object with the printed one."""

import json

import pytest

from gdbplugin.session.errors import CommandFailedError


def test_wrong_words_are_an_mi_error(shared_machine):
    with shared_machine.stopped() as gdb, pytest.raises(CommandFailedError, match="--jsn"):
        gdb.mi("-tinyos-report --jsn")


def test_a_report_of_thousands_of_pages_arrives_in_time(machine):
    machine.shell("spawn lazy 32768")
    machine.console.send("\r")
    with machine.stopped() as gdb:
        report = json.loads(gdb.mi("-tinyos-report", timeout=10).payload["json"])
    assert report["findings"] == []
    assert len(report["pages"]) == report["stats"]["total_lazy_pages"] > 32_768


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("physical 0 99999999999999999999", "a length is from 0 to 268,435,456 bytes"),
        ("physical 0 -1", "a length is from 0 to"),
        ("disassembled 99 0 0", "no core 99 (known: 0, 1, 2, 3)"),
        ("nonsense", 'no query "nonsense" (known: '),
        ("physical 0", "missing a required argument"),
    ],
)
def test_a_wrong_query_is_one_line(shared_machine, query, said):
    with shared_machine.stopped() as gdb, pytest.raises(CommandFailedError) as caught:
        gdb.mi(f"-tinyos-machine {query}")
    assert said in caught.value.reason
    assert "\n" not in caught.value.reason
