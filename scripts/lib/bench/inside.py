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


def ranges(packets):
    """The memory that packets read, (address, length), in as few pieces as it can be had in."""
    pieces = []
    for address, length in sorted(
        tuple(int(number, 16) for number in packet[1:].split(",")) for packet in packets
    ):
        if pieces and sum(pieces[-1]) == address:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + length)
        else:
            pieces.append((address, length))
    return pieces


def transfer(pieces):
    """Read the pieces the fastest way that GDB has: in its native code, and nothing done with them."""
    inferior = gdb.selected_inferior()
    send = inferior.connection.send_packet
    found = send("qqemu.PhyMemMode")
    send("Qqemu.PhyMemMode:1")
    try:
        start = time.perf_counter()
        for address, length in pieces:
            inferior.read_memory(address, length)
        return time.perf_counter() - start
    finally:
        send(f"Qqemu.PhyMemMode:{found.decode()}")


def measure(command, packets, runs):
    """The times of a command: first of all, at new stops, at the same stop; and of the bare transfer."""
    first = timed(lambda: gdb.execute(command, to_string=True))
    again = [timed(lambda: gdb.execute(command, to_string=True)) for _ in range(runs)]
    times, floors = [], []
    pieces = ranges(packets)
    for _ in range(runs):
        # What was read is kept until the target runs: an instruction is enough of that.
        gdb.execute("stepi", to_string=True)
        floors.append(transfer(pieces))
        times.append(timed(lambda: gdb.execute(command, to_string=True)))
    return {"first": first, "again": again, "times": times, "floors": floors}


with open(os.environ["TINYOS_BENCH_PLAN"]) as file:
    plan = json.load(file)
measured = measure(plan["command"], plan["packets"], plan["runs"])
with open(plan["answer"], "w") as file:
    json.dump(measured, file)
