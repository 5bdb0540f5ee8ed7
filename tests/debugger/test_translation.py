"""The walker compared with QEMU's own, on the running kernel's tables."""

import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("inside_translate.py")


def test_the_walker_agrees_with_qemu(machine):
    machine.console.send("faults 2000000\r")
    for _ in range(200):
        with machine.stopped():
            machine.gdb("thread 1")
            state = int(machine.gdb("python print(int(gdb.parse_and_eval('$cpsr')))"))
            # At EL0 QEMU answers for EL0; the shell's own space has no lower mappings.
            if state >> 2 & 3 != 1 or machine.json("report")["cores"][0]["ttbr0"]["asid"] == 0:
                continue
            compared = json.loads(machine.gdb(f"source {SCRIPT}"))
        assert [row for row in compared if row[1] != row[2]] == []
        assert sum(output is not None for _, output, _ in compared) > 100
        assert sum(output is None for _, output, _ in compared) > 50
        return
    pytest.fail("no stop in 200 was in the kernel for a task")
