"""Runs inside GDB: gives commands in rounds, and writes down what came of each.

$TINYOS_ROUNDS names a JSON file: `rounds`, each with the `commands` to give, and optionally `ram` (the file
that is the guest's memory) with `changes`, pairs of an address and bytes in hexadecimal that are there for
the round, `registers` with values that every core is said to have in them then, and `connect`, an address to
connect to first. The `answer` goes to a file.
"""

import contextlib
import json
import mmap
import os
import time

import gdb

from gdbplugin.debugger import current
from gdbplugin.debugger.machine import GdbMachine

MARK = "qTinyOSRound"


@contextlib.contextmanager
def changed(memory, changes):
    """The guest's memory, changed behind GDB's back for the length of a `with`."""
    kept = []
    for address, content in changes:
        new = bytes.fromhex(content)
        kept.append((address, memory[address : address + len(new)]))
        memory[address : address + len(new)] = new
    current._state.changed(None)
    try:
        yield
    finally:
        for address, old in reversed(kept):
            memory[address : address + len(old)] = old


@contextlib.contextmanager
def said_to_hold(registers):
    """The guest's registers as if they held that, for the length of a `with`: nobody can set them."""
    read = GdbMachine.register

    def register(self, name, core):
        found = read(self, name, core)
        return found if found is None else registers.get(name, found)

    GdbMachine.register = register
    try:
        yield
    finally:
        GdbMachine.register = read


def mark():
    """Have the packets to come told from those before."""
    connection = gdb.selected_inferior().connection
    if isinstance(connection, gdb.RemoteTargetConnection) and connection.is_valid():
        # A target that runs takes no packet.
        with contextlib.suppress(gdb.error):
            connection.send_packet(MARK)


def give(command):
    """A command's output, error and time."""
    mark()
    start = time.monotonic()
    output, error = "", None
    try:
        output = gdb.execute(command, to_string=True)
    except gdb.error as raised:
        error = str(raised)
    seconds = time.monotonic() - start
    plain = None
    if error is None and "--json" in command:
        try:
            plain = isinstance(json.loads(output), dict)
        except ValueError:
            plain = False
    return {"command": command, "output": output[:4000], "error": error, "seconds": seconds, "json": plain}


def play(one, memory):
    """One round."""
    if "connect" in one:
        with contextlib.suppress(gdb.error):
            gdb.execute("disconnect", to_string=True)
        gdb.execute(f"target remote {one['connect']}", to_string=True)
    with changed(memory, one.get("changes", [])), said_to_hold(one.get("registers", {})):
        return [give(command) for command in one["commands"]]


with open(os.environ["TINYOS_ROUNDS"]) as file:
    plan = json.load(file)
with contextlib.ExitStack() as stack:
    ram = None
    if "ram" in plan:
        ram_file = stack.enter_context(open(plan["ram"], "r+b"))
        ram = stack.enter_context(mmap.mmap(ram_file.fileno(), 0))
    answers = [play(one, ram) for one in plan["rounds"]]
mark()
with open(plan["answer"], "w") as file:
    json.dump(answers, file)
