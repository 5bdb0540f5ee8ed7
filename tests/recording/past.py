"""A machine that can go back, for tests."""

import contextlib
import hashlib
import os

from gdbplugin.kernel.kernel import MANAGER
from gdbplugin.layout import cache
from gdbplugin.layout.elf import read_image
from gdbplugin.layout.types import locate_path
from gdbplugin.programs import RAM_VARIABLE
from gdbplugin.recording.ring import STORE, Recording

FIRST = 1_100_100  # The first checkpoint is before it.
BLOCK = 1 << 16
PAGE = 4096
NOTHING = bytes(PAGE)


class Past:
    """A machine that can go back, with what is there as others than the recorder see it."""

    def __init__(self, machine):
        self.machine = machine
        self.recording = Recording(str(machine.qemu.recording))
        self.ram = os.open(machine.qemu.files[RAM_VARIABLE], os.O_RDONLY)
        self.end = 0
        self.stops = {}
        """What was there at stops on the way forward, by their positions."""

    def close(self):
        self.recording.close()
        os.close(self.ram)

    def memory(self):
        """A hash of all pages of the guest's RAM that are not zero, with their addresses."""
        found = hashlib.sha256()
        hole = 0
        with contextlib.suppress(OSError):  # No data after the last hole.
            while True:
                start = os.lseek(self.ram, hole, os.SEEK_DATA)
                hole = os.lseek(self.ram, start, os.SEEK_HOLE)
                for block in range(start, hole, BLOCK):
                    content = os.pread(self.ram, min(BLOCK, hole - block), block)
                    for page in range(0, len(content), PAGE):
                        if (there := content[page : page + PAGE]) != NOTHING:
                            found.update((block + page).to_bytes(8, "little") + there)
        return found.hexdigest()

    def registers(self):
        """The registers of all cores, as QEMU prints them."""
        return self.machine.qemu.monitor("info registers -a")

    def state(self):
        return self.memory(), self.registers()

    def go(self, position):
        """Go there; returns the state there."""
        self.recording.travel(position)
        assert self.recording.instructions[0] == position
        difference, moments = self.recording.header.difference, self.recording.checkpoints
        assert difference == 0, f"to {position}, differs at {difference}; {moments}"
        return self.state()

    def is_disturbed(self, position):
        """Whether it is after one of the `stops` on the way forward, and before the next checkpoint."""
        moments = [one.instructions for one in self.recording.checkpoints if one.is_automatic]
        later = [(stop, min((one for one in moments if one > stop), default=self.end)) for stop in self.stops]
        return any(stop < position < end for stop, end in later)

    def here(self):
        return self.recording.position

    def core_pc(self):
        return pc_of(self.registers())


def pc_of(registers):
    """The PC of core 0."""
    return registers.partition("PC=")[2].split()[0]


def counter(elf):
    """The virtual and the physical address of the number of events."""
    return field(elf, "events.recorded")


def field(elf, path):
    """The virtual and the physical address of a field of the manager."""
    image, layout = read_image(elf), cache.load(elf)
    manager = layout.static(MANAGER)
    offset = locate_path(manager.type, path).offset
    return manager.address + offset, image.physical(manager.address) + offset


def newest(machine):
    """The number of the newest event, by the kernel's ring."""
    return machine.events(n=1).events[-1].sequence


def stores_to(past, physical):
    """The recorded stores to a word, oldest first."""
    return [
        one for _, one in past.recording.records(lambda fields: fields[9] == STORE and fields[3] == physical)
    ]
