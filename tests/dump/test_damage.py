"""Dumps of the real kernel with damage: each command gives an answer, or one line; never a traceback."""

import contextlib
import functools
import random
import time

from gdbplugin.dump.core_file import DumpError
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.kernel.backtrace import read_backtraces
from gdbplugin.kernel.call_frames import read_call_frames
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import read_tasks
from gdbplugin.layout import cache
from gdbplugin.machine import CachedMachine, MachineError
from tests.commands.forms import FORMS, json_of, text_of, words
from tests.schemas.validation import validate

SECONDS = 6.0
WORDS = words("report", "check", "maps")  # These take longer, and show what the others read.


class DumpTarget(Target):
    """A dump without GDB: the kernel's own file says what is where."""

    def __init__(self, machine, elf):
        diagnostics = Diagnostics()
        cached = CachedMachine(machine)
        super().__init__(cached, 0, diagnostics, lambda: Kernel(cached, layout_of(elf), diagnostics))
        self.elf = elf

    code = property(lambda self: code_of(self.elf))
    call_frames = property(lambda self: call_frames_of(self.elf))


code_of = functools.cache(cache.load_code)
call_frames_of = functools.cache(read_call_frames)
layout_of = functools.cache(cache.load)


def test_the_whole_dump_answers_without_gdb(whole, kernel_elf):
    target = DumpTarget(DumpMachine(whole), kernel_elf)
    for word in words():
        validate(json_of(word, FORMS[word].read(DumpTarget(target.machine, kernel_elf))))
    found = read_backtraces(target, every=True)
    assert [one.broken for one in found if one.broken] == []
    alive = [task.id for task in read_tasks(target.kernel).tasks if task.is_alive]
    assert [one.task for one in found if one.task is not None] == alive


class Damaged:
    """A machine some of whose words and registers are others."""

    def __init__(self, machine, words, registers):
        self.machine, self.words, self.registers = machine, words, registers
        self.cores = machine.cores

    def read_physical(self, address, length):
        data = bytearray(self.machine.read_physical(address, length))
        for place, value in self.words.items():
            if address <= place < address + length - 8:
                data[place - address : place - address + 8] = value
        return bytes(data)

    def register(self, name, core):
        return self.registers.get(name, self.machine.register(name, core))


def interesting(target):
    """Physical words that commands read: of contexts, stacks, tables, and the manager."""
    kernel = target.kernel
    memory = kernel.memory
    places = []
    for name in ("kernel::scheduler::SCHEDULER", "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER"):
        static = kernel.static(name)
        (start, size), *_ = memory.physical_ranges(static.address, min(static.type.size, 0x8000))
        places += range(start, start + size - 8, 8)
    for frame in read_backtraces(target, every=True):
        for one in frame.frames:
            if one.stack_pointer is not None and one.stack_pointer >> 55:
                # The stack of a parked core is empty: what lies above is not mapped.
                with contextlib.suppress(MachineError):
                    (start, size), *_ = memory.physical_ranges(one.stack_pointer & ~0xFF, 256)
                    places += range(start, start + size - 8, 8)
    return places


def test_damaged_memory_and_registers_give_an_answer_or_one_line(whole, kernel_elf):
    numbers = random.Random(20_261_129)
    machine = DumpMachine(whole)
    places = interesting(DumpTarget(machine, kernel_elf))
    names = ("X29", "X30", "SP", "PC", "CPSR", "TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "SCTLR_EL1")
    began, refusals, answered = time.monotonic(), [], 0
    while time.monotonic() - began < SECONDS:
        damage = {}
        for _ in range(numbers.choice((1, 4, 64))):
            value = numbers.choice(
                (0, 1, 1 << 63, (1 << 64) - 1, numbers.getrandbits(64), numbers.choice(places))
            )
            damage[numbers.choice(places)] = value.to_bytes(8, "little")
        registers = {numbers.choice(names): numbers.getrandbits(64)} if numbers.random() < 0.2 else {}
        word = numbers.choice(WORDS)
        target = DumpTarget(Damaged(machine, damage, registers), kernel_elf)
        try:
            found = FORMS[word].read(target)
        except MachineError as error:
            refusals.append(str(error))
            continue
        answered += 1
        text_of(word, found)
        validate(json_of(word, found))
    assert [refusal for refusal in refusals if "\n" in refusal] == []
    assert answered > len(refusals)


def test_a_dump_cut_anywhere_gives_an_answer_or_one_line(whole, kernel_elf, tmp_path):
    numbers = random.Random(20_261_129)
    head = whole.open("rb").read(1 << 20)
    path, refusals = tmp_path / "dump", []
    for length in sorted(numbers.sample(range(len(head)), 40)):
        path.write_bytes(head[:length])
        try:
            found = read_backtraces(DumpTarget(DumpMachine(path), kernel_elf), every=True)
        except (DumpError, MachineError) as error:
            refusals.append(str(error))
            continue
        assert all(one.frames or one.broken for one in found)
    assert [refusal for refusal in refusals if "\n" in refusal] == []
