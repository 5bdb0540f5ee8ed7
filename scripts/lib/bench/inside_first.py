"""Runs inside a fresh GDB: times a command given first, and the same at the next stop.

$TINYOS_BENCH_PLAN names a JSON file: `command`, and the file that the `answer` goes to.
"""

import json
import os
import time

import gdb


def timed(command):
    """Seconds that a command takes: of the clock, and of this process's CPU time."""
    start, cpu = time.perf_counter(), time.process_time()
    gdb.execute(command, to_string=True)
    return time.perf_counter() - start, time.process_time() - cpu


with open(os.environ["TINYOS_BENCH_PLAN"]) as file:
    plan = json.load(file)
first = timed(plan["command"])
# What was read is kept until the target runs: an instruction is enough of that.
gdb.execute("stepi", to_string=True)
second = timed(plan["command"])
with open(plan["answer"], "w") as file:
    json.dump({"first": first, "second": second}, file)
