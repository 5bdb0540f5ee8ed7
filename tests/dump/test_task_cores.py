"""Tasks as cores of their own, without GDB."""

import pytest

from gdbplugin.dump import task_cores
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.dump.task_cores import read_task_cores
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.layout import cache
from gdbplugin.machine import CachedMachine


class WithoutMemory:
    """A machine's registers. Its memory would be many packets."""

    def __init__(self, machine):
        self.cores, self.register = machine.cores, machine.register

    def read_physical(self, address, length):
        raise AssertionError(f"{length} bytes at {address:#x} are read from the debug stub")


def test_memory_that_is_a_file_is_not_read_from_the_stub(whole, kernel_elf):
    machine, layout = DumpMachine(whole), cache.load(kernel_elf)
    kernel = Kernel(WithoutMemory(machine), layout)
    by_file = read_task_cores(kernel, machine)
    assert by_file == read_task_cores(Kernel(CachedMachine(machine), layout), machine)
    assert [core.task for core in by_file][:3] == [0, 1, 2]


def held(core, segment):
    """The memory of a segment, where what a core does not hold is zero."""
    found = bytearray(segment.size)
    for address, data in core.memory:
        for place in range(0, len(data), 4096):
            offset = address + place - segment.physical
            if 0 <= offset < segment.size:
                found[offset : offset + 4096] = data[place : place + 4096]
    return bytes(found)


@pytest.mark.parametrize(("fast", "most"), [(True, 0), (False, 64), (False, 0)])
def test_a_core_has_its_stack_and_no_page_of_zeros(fast, most, whole, kernel_elf, monkeypatch):
    monkeypatch.setattr(task_cores, "_MOST_TASKS_BY_PACKETS", most)
    machine = DumpMachine(whole)
    found = read_task_cores(Kernel(CachedMachine(machine), cache.load(kernel_elf)), machine if fast else None)
    for core in found:
        (thread,) = core.contents.threads
        stack_pointer = thread.registers[31]
        # A stack that is empty ends where the stack pointer is.
        (segment,) = {
            one for one in core.contents.segments if one.virtual < stack_pointer <= one.virtual + one.size
        }
        assert held(core, segment) == machine.read_physical(segment.physical, segment.size)
        assert all(any(data) for _, data in core.memory)
    assert sum(any(held(core, segment)) for core in found for segment in core.contents.segments) > len(found)
