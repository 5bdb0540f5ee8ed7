"""A guest corrupted behind GDB's back, and connections that end: never more than one line is said of it."""

import json
import random
import struct

import pytest

from gdbplugin.kernel.kernel import MANAGER, SCHEDULER
from gdbplugin.kernel.registers import REGISTERS
from gdbplugin.layout import cache
from gdbplugin.session import QemuOptions, TinyOS
from gdbplugin.session.qemu import ram_arguments
from gdbplugin.session.ram import RAM_BYTES
from tests.debugger.conftest import gdb
from tests.debugger.stub_proxy import StubProxy
from tests.unbreakable.commands import assert_unbroken, every_command, play

MARK = "qTinyOSRound"
ROUNDS = 260
WRITES = "MXGPZzcCsSv"
# 4,096 tables at most, two packets each, and the records of the kernel.
MOST_PACKETS = 9_000
TABLE_ADDRESS = 0x0000_FFFF_FFFF_F000

# Machines and GDBs in one worker, so that they do not slow each other down.
pytestmark = pytest.mark.xdist_group("unbreakable")


@pytest.fixture(scope="module")
def guest(kernel_elf, tmp_path_factory):
    """TinyOS with its memory in a file, its tasks held still."""
    ram = tmp_path_factory.mktemp("guest") / "ram"
    options = QemuOptions(kernel=kernel_elf, extra=ram_arguments(ram, RAM_BYTES), share_ram=False)
    with TinyOS.boot(kernel_elf, options=options) as machine:
        machine.shell("hold")
        yield machine, ram


@pytest.fixture
def proxy(guest, tmp_path):
    machine, _ = guest
    with StubProxy(tmp_path, machine.qemu.gdb_address, armed_by=MARK) as between:
        yield between


def records(elf):
    """Where the kernel's records lie in physical memory: where the virtual addresses say, less a base."""
    layout = cache.load(elf)
    found = [layout.static(name) for name in (MANAGER, SCHEDULER)]
    return [(static.address & 0xFFFF_FFFF, static.type.size) for static in found]


def tables(ram):
    """Physical addresses of all tables of tasks: those that the entries in the pool's first part lead to."""
    found = set()
    with ram.open("rb") as memory:
        memory.seek(0x0800_0000)
        for page in range(256):
            entries = struct.unpack("<512Q", memory.read(4096))
            leads = [entry & TABLE_ADDRESS for entry in entries if entry & 0xFFF == 3]
            if leads and all(0x0800_0000 <= address < 0x1000_0000 for address in leads):
                found |= {0x0800_0000 + 4096 * page, *leads}
    return sorted(found)


def corruptions(chance, elf, ram):
    """What a round changes: records, tables, or both; a few bytes, a word, or much."""
    places = records(elf)
    known = tables(ram)
    assert len(known) > 20
    while True:
        changes = []
        for _ in range(chance.choice((1, 1, 3, 12))):
            if chance.random() < 0.5:
                start, size = chance.choice(places)
                # The first fields matter most; the arrays behind them are long.
                address = start + chance.randrange(chance.choice((256, 4096, size)))
                content = chance.choice(
                    (chance.randbytes(1), chance.randbytes(8), b"\xff" * 64, bytes(64), chance.randbytes(512))
                )
            else:
                address = chance.choice(known) + 8 * chance.randrange(512)
                entry = chance.choice(
                    (chance.getrandbits(64), chance.choice(known) | 3, chance.getrandbits(44) & ~0xFFF | 3)
                )
                content = entry.to_bytes(8, "little") * chance.choice((1, 1, 8))
            changes.append((address, content.hex()))
        yield changes


def garbage(chance):
    """What registers hold in a round: nothing that is wrong, or a few of them anything."""
    if chance.random() < 0.6:
        return {}
    chosen = chance.sample(sorted({*REGISTERS, "CPSR"}), chance.choice((1, 2, 5)))
    return {name: chance.getrandbits(64) & chance.choice((~0, 0xFFFF, 1 << 31)) for name in chosen}


def between_marks(packets):
    """The packets of each command."""
    groups, current = [], None
    for packet in packets:
        if packet == MARK:
            current = []
            groups.append(current)
        elif current is not None:
            current.append(packet)
    return groups[:-1]


def test_hundreds_of_corruptions_of_a_guest(guest, proxy, kernel_elf, tmp_path):
    _, ram = guest
    chance = random.Random(4444)
    commands = every_command()
    changes = corruptions(chance, kernel_elf, ram)
    rounds = [
        {
            "changes": next(changes),
            "registers": garbage(chance),
            "commands": [commands[number % len(commands)], chance.choice(commands)],
        }
        for number in range(ROUNDS)
    ]
    given, errors = play(rounds, tmp_path, f"target remote {proxy.address}", elf=kernel_elf, ram=ram)
    assert_unbroken(given, errors)
    sent = between_marks(proxy.packets)
    assert len(sent) == len(given) == 2 * ROUNDS
    assert sum(one["error"] is None for one in given) > ROUNDS
    for one, packets in zip(given, sent, strict=True):
        # A watch asks whether the stub has watchpoints: it sets them, and removes them again.
        of_watches = [packet for packet in packets if packet.startswith(("Z2,", "z2,"))]
        assert of_watches == [] or one["command"].startswith("tinyos watch translation"), one["command"]
        inserted, removed = (
            sorted(packet[1:] for packet in of_watches if packet[0] == kind) for kind in "Zz"
        )
        assert inserted == removed, one["command"]
        others = [packet for packet in packets if packet not in of_watches]
        assert [packet for packet in others if packet[0] in WRITES] == [], one["command"]
        assert len(packets) < MOST_PACKETS, one["command"]


def test_afterwards_the_guest_is_as_it_was(guest):
    machine, _ = guest
    machine.shell("go")
    try:
        assert machine.json("check")["findings"] == []
    finally:
        machine.detach()
        machine.shell("hold")


@pytest.mark.parametrize("lost_at", [1, 2, 4, 30])
def test_a_connection_lost_amid_every_command(proxy, kernel_elf, tmp_path, lost_at):
    commands = every_command()
    proxy.lose_at = lost_at
    rounds = [{"connect": proxy.address, "commands": [command]} for command in commands]
    given, errors = play(rounds, tmp_path, elf=kernel_elf)
    assert_unbroken(given, errors)
    lost = [one for one in given if one["error"] is not None]
    if lost_at == 1:
        # A function of a condition may be answered by what GDB itself has read of the registers already.
        assert len(lost) >= len(commands) - 4
    assert lost
    for one in lost:
        # Without a recording some commands need no connection to say so.
        words = ("connection", "there is no target", "is not recorded")
        assert any(word in one["error"] for word in words), one


def test_ctrl_c_is_told_as_such(guest, kernel_elf, tmp_path):
    """At moments all over a command, which reads registers by GDB's own `python` among others."""
    machine, _ = guest
    script = tmp_path / "interrupted.py"
    script.write_text(_INTERRUPTED)
    done = gdb(f"target remote {machine.qemu.gdb_address}", f"source {script}", elf=kernel_elf)
    told = [line.removeprefix("told ") for line in done.output.splitlines() if line.startswith("told ")]
    assert told, done
    said = json.loads(told[0])
    assert len(said) == 120
    # None: the command was over by then.
    assert {one for one in said if one is not None} <= {"KeyboardInterrupt", "Quit"}, said
    assert sum(one is not None for one in said) > 40
    assert "lost sys.stderr" not in done.errors


_INTERRUPTED = """
import json, os, signal, threading, time, gdb
def told(command, delay):
    gdb.execute("monitor info status", to_string=True)
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    # GDB's signals are for its own thread.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    timer.start()
    said = None
    try:
        # Inside: on a fast host the timer has rung by now.
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        gdb.execute(command, to_string=True)
        time.sleep(0.05)
    except KeyboardInterrupt:
        said = "KeyboardInterrupt"
    except gdb.error as error:
        said = str(error)
    try:
        timer.join()
        time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    return said
commands = ("tinyos context", "tinyos registers", "tinyos report", "tinyos translate $pc")
print("told", json.dumps([told(commands[n % 4], 0.0002 + 0.0004 * (n // 4)) for n in range(120)]))
"""
