"""Runs inside GDB: times a command and, in turns with it, the bare transfer of the memory that it reads.

$TINYOS_BENCH_PLAN names a JSON file: `command`, `packets`, `runs`, and the file that the `answer` goes to.
"""

import json
import os
import time

import gdb


def timed(action):
    """Seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def transfer(packets):
    """Send the packets one by one; what comes back is only seen to be there."""
    send = gdb.selected_inferior().connection.send_packet
    found = send("qqemu.PhyMemMode")
    send("Qqemu.PhyMemMode:1")
    try:
        start = time.perf_counter()
        answers = [send(packet) for packet in packets]
        took = time.perf_counter() - start
    finally:
        send(f"Qqemu.PhyMemMode:{found.decode()}")
    if any(len(answer or b"") < 4 for answer in answers):
        raise gdb.GdbError("the target does not answer the packets of the command any more")
    return took


def measure(command, packets, runs):
    """The times of a command: first of all, at new stops, at the same stop; and of the bare transfer."""
    first = timed(lambda: gdb.execute(command, to_string=True))
    again = [timed(lambda: gdb.execute(command, to_string=True)) for _ in range(runs)]
    times, floors = [], []
    for _ in range(runs):
        # What was read is kept until the target runs: an instruction is enough of that.
        gdb.execute("stepi", to_string=True)
        floors.append(transfer(packets))
        times.append(timed(lambda: gdb.execute(command, to_string=True)))
    return {"first": first, "again": again, "times": times, "floors": floors}


with open(os.environ["TINYOS_BENCH_PLAN"]) as file:
    plan = json.load(file)
measured = measure(plan["command"], plan["packets"], plan["runs"])
with open(plan["answer"], "w") as file:
    json.dump(measured, file)
