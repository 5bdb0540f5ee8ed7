"""The walker against QEMU's own on TinyOS, stopped in the kernel and in a task."""

from __future__ import annotations

import random
import time

import pytest

from gdbplugin.aarch64.access import Access, access_fault
from gdbplugin.aarch64.maps import MappedRange, leaf_runs, mapped_ranges
from gdbplugin.aarch64.regime import current_regime
from gdbplugin.aarch64.registers import bits, exception_level
from gdbplugin.aarch64.walk import translate
from gdbplugin.machine import CachedMachine, PhysicalReadError
from gdbplugin.session.errors import CommandFailedError
from tests.aarch64 import qemu
from tests.integration import guest
from tests.integration.load import tasks_at_el0

# As QEMU names them: the one or the other.
SPELLED = {"CPSR": {"cpsr"}, "SCTLR_EL1": {"SCTLR", "SCTLR_EL1"}}
STOPS = 3
RANGES = 12
MEMORY_BYTES = 2 << 30


class SessionMachine:
    """What GDB and QEMU tell of one stop; satisfies `gdbplugin.machine.Machine`. The plugin has no part."""

    cores = (0, 1, 2, 3)

    def __init__(self, gdb):
        self._gdb = gdb
        self._names = set(gdb.mi("-data-list-register-names").payload["register-names"])

    def read_physical(self, address, length):
        if address + length > MEMORY_BYTES:
            raise PhysicalReadError(address, length)
        try:
            return guest.read_physical(self._gdb, address, length)
        except CommandFailedError as error:
            raise PhysicalReadError(address, length) from error

    def register(self, name, core):
        spelled = SPELLED.get(name, {name}) & self._names
        return guest.register(self._gdb, core, *spelled) if spelled else None


def probes_of(machine, regime, chosen):
    """Both ends of some ranges of the map and what is beside them, and addresses at random."""
    addresses = [0, (1 << 48) - 1, 1 << 48, 1 << 55, (1 << 64) - 1, (1 << 64) - (1 << 48) - 1]
    for control in regime.controls:
        found = list(mapped_ranges(regime, leaf_runs(machine, control)))
        assert all(isinstance(entry, MappedRange) for entry in found)
        entries = [piece for entry in found for piece in entry.pieces()]
        for entry in chosen.sample(entries, min(RANGES, len(entries))):
            addresses += [entry.start, chosen.randrange(entry.start, entry.end), entry.end - 1, entry.end]
            addresses.append(entry.start - 1)
        addresses += [control.first_address + chosen.getrandbits(control.input_bits) for _ in range(10)]
    return [address & (1 << 64) - 1 for address in addresses]


def compare(gdb, core, chosen):
    """Hold every probe against QEMU; returns the exception level, and how many were mapped and not."""
    machine = CachedMachine(SessionMachine(gdb))
    regime = current_regime(machine, core)
    level = exception_level(machine, core)
    pan = bool(bits(machine.register("CPSR", core), 22, 22))
    counts, permissions = {True: 0, False: 0}, qemu.Permissions()
    for address in probes_of(machine, regime, chosen):
        found = translate(machine, regime, address)
        fault = access_fault(regime, found, Access.READ, level, pan=pan)
        asked = guest.gva2gpa(gdb, core, address)
        assert permissions.agree(asked, found.output, fault is None), f"{address:#x} at EL{level}: {found}"
        counts[fault is None] += 1
    return level, counts


@pytest.mark.parametrize("level", [0, 1])
def test_translations_of_a_running_system(machine, level):
    chosen = random.Random(level)
    moments = random.Random(4)
    if level == 0:
        assert tasks_at_el0(machine) > RANGES
    else:
        machine.console.send("faults 2000000\r")
    compared = 0
    deadline = time.monotonic() + 30
    while compared < STOPS:
        assert time.monotonic() < deadline, f"core 0 was hardly ever stopped at EL{level}"
        # Not a wait for anything: what makes the moment arbitrary.
        time.sleep(moments.uniform(0, 0.02))
        with machine.stopped() as gdb:
            if guest.exception_level(gdb, 0) != level:
                continue
            reached, counts = compare(gdb, 0, chosen)
            compared += 1
            assert reached == level
            # Three in each range of the half that has so many: the task's at EL0, the kernel's at EL1.
            assert counts[True] >= 3 * RANGES
            # What the other half has is not EL0's; and most of 20 addresses at random are nobody's.
            assert counts[False] >= (3 * RANGES if level == 0 else 20)


def test_the_other_cores(shared_machine):
    with shared_machine.stopped() as gdb:
        for core in (1, 2, 3):
            compare(gdb, core, random.Random(core))
