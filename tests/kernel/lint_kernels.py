"""A small kernel made right, as tables and registers, and what breaks each rule of `tinyos lint` in it.

The same images are read here as bytes and booted in QEMU.
"""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.target import Target
from tests.aarch64.images import Image, Page, Setting
from tests.kernel.stopped import Names, not_tinyos

KERNEL, LINEAR, DEVICES = 0xFFFF_8000_0000_0000, 0xFFFF_0000_0000_0000, 0xFFFF_9000_0000_0000
TEXT, DATA, STACK = KERNEL, KERNEL + 0x10000, KERNEL + 0x20000
FREE = KERNEL + 0x30000
"""Where nothing is mapped."""
USER_TEXT, USER_DATA = 0x40_0000, 0x60_0000
SECTIONS = ((TEXT, TEXT + 0x2000, ".text"), (DATA, DATA + 0x2000, ".data"), (STACK, STACK + 0x4000, ".stack"))
DEVICE, NORMAL, UNCACHED = 0, 1, 2
"""Indices of MAIR_EL1."""

_TEXT = Page(ap=2, pxn=0, index=NORMAL)
_READ_ONLY = Page(ap=2, index=NORMAL)
READ_WRITE = Page(index=NORMAL)
_USER_TEXT = Page(ap=3, uxn=0, index=NORMAL, not_global=1)
USER_READ_WRITE = Page(ap=1, index=NORMAL, not_global=1)
PXN_TABLE = 1 << 59


class Kernel:
    """Tables and registers of the kernel; frames from `base` on, text in those at `text`."""

    def __init__(self, base: int = 0x4000_0000, text: int | None = None) -> None:
        setting = Setting("EL1&0", 5, wxn=True, mair=(0x04, 0xFF, 0x44, 0, 0, 0, 0, 0))
        self.image = Image(setting, (12, 48), (12, 48), window=(base + 0x20_0000, base + 0x80_0000))
        self.lower, self.upper = self.image.ranges
        self.base = base
        self.text_frames = base + 0x12_0000 if text is None else text
        self.text = [
            self.upper.add(TEXT + 0x1000 * n, self.text_frames + 0x1000 * n, _TEXT) for n in range(2)
        ]
        for number in range(2):
            self.upper.add(DATA + 0x1000 * number, base + 0x101_0000 + 0x1000 * number, READ_WRITE)
        for number in range(4):
            self.upper.add(STACK + 0x1000 * number, base + 0x102_0000 + 0x1000 * number, READ_WRITE)
        # The kernel may write its programs' text: EL0 cannot.
        for where in (0x100_0000, 0x120_0000, 0x180_0000):
            self.upper.add(LINEAR + base + where, base + where, READ_WRITE, level=2)
        self.upper.add(DEVICES, 0x900_0000, Page(index=DEVICE))
        # Executable, but not below this table.
        self.upper.add(
            KERNEL + (8 << 30), base + 0x1A0_0000, Page(ap=2, pxn=0, index=NORMAL), limits=PXN_TABLE
        )
        self.lower.add(USER_TEXT, base + 0x180_0000, _USER_TEXT)
        self.lower.add(USER_DATA, base + 0x181_0000, USER_READ_WRITE)
        registers = self.image.registers()
        registers["SCTLR_EL1"] &= ~(1 << 23)  # SPAN
        registers["TCR_EL1"] |= 1 << 56  # E0PD1
        registers["ID_AA64MMFR1_EL1"] |= 1 << 20  # PAN
        self.registers = {**registers, "VBAR_EL1": TEXT, "PC": TEXT + 0x1000}

    def page(self, address: int, frame: int, page: Page = READ_WRITE) -> None:
        """Map one more page to a frame of the base."""
        one = self.upper if address >> 63 else self.lower
        one.add(address, self.base + frame, page)

    def change(self, leaf, page: Page) -> None:
        """Map a leaf of the upper range in another way."""
        self.upper.leaves.remove(leaf)
        self.upper.add(leaf.start, leaf.output, page)

    def clear(self, name: str, bit: int) -> None:
        self.registers[name] &= ~(1 << bit)

    def set(self, name: str, bit: int) -> None:
        self.registers[name] |= 1 << bit


def _writable_and_executable(kernel):
    kernel.clear("SCTLR_EL1", 19)
    kernel.page(FREE, 0x1C0_0000, Page(pxn=0, index=NORMAL))


def _executable_by_another_level(kernel):
    kernel.page(FREE, 0x1C0_0000, Page(uxn=0, index=NORMAL))
    kernel.clear("TCR_EL1", 56)


def _open_to_el0(kernel):
    kernel.clear("TCR_EL1", 56)
    kernel.page(FREE, 0x1C0_0000, Page(ap=3, index=NORMAL))


def _table_open_to_el0(kernel):
    kernel.page(USER_DATA + 0x1000, kernel.upper.root.address - kernel.base, USER_READ_WRITE)


def _no_lower_tables(kernel):
    kernel.registers["TTBR0_EL1"] = 0


def _unreadable_lower_tables(kernel):
    kernel.registers["TTBR0_EL1"] = 0xFF_0000_0000


BROKEN = {
    "writable and executable": (_writable_and_executable, {"writable-executable", "wxn"}),
    "written by EL1, executed by EL0": (
        _executable_by_another_level,
        {"writable-executable", "el0-kernel", "e0pd"},
    ),
    "open to EL0": (_open_to_el0, {"el0-kernel", "e0pd"}),
    "executable device": (
        lambda kernel: kernel.page(FREE, 0x1C0_0000, Page(ap=2, pxn=0, index=DEVICE)),
        {"executable-device"},
    ),
    "writable text": (lambda kernel: kernel.change(kernel.text[0], READ_WRITE), {"writable-text"}),
    "a table open to EL0": (_table_open_to_el0, {"writable-table"}),
    "two memory types": (
        lambda kernel: kernel.page(FREE, 0x101_0000, Page(index=UNCACHED)),
        {"mismatched-alias"},
    ),
    "two kinds of shareability": (
        lambda kernel: kernel.page(FREE, 0x101_0000, Page(index=NORMAL, share=0)),
        {"mismatched-alias"},
    ),
    "text writable elsewhere": (
        lambda kernel: kernel.page(FREE, kernel.text_frames - kernel.base + 0x1000),
        {"writable-alias"},
    ),
    "a program's text writable to it elsewhere": (
        lambda kernel: kernel.page(USER_DATA + 0x1000, 0x180_0000, USER_READ_WRITE),
        {"writable-alias"},
    ),
    "no guard page": (lambda kernel: kernel.page(STACK - 0x1000, 0x1C0_0000), {"missing-guard"}),
    "WXN clear": (lambda kernel: kernel.clear("SCTLR_EL1", 19), {"wxn"}),
    "SPAN set": (lambda kernel: kernel.set("SCTLR_EL1", 23), {"pan"}),
    "EPD0 clear without tables": (_no_lower_tables, {"epd"}),
    "EPD0 clear and tables that are not there": (_unreadable_lower_tables, {"epd"}),
    "E0PD1 clear": (lambda kernel: kernel.clear("TCR_EL1", 56), {"e0pd"}),
    "HPD1 set": (lambda kernel: kernel.set("TCR_EL1", 42), {"hierarchy"}),
    "HCR_EL2.DC set": (lambda kernel: kernel.set("HCR_EL2", 12), {"mmu-override"}),
    "HCR_EL2.TGE set": (lambda kernel: kernel.set("HCR_EL2", 27), {"mmu-override"}),
}
"""By what is done: how, and the rules that it breaks."""


class ProgramTarget(Target):
    """A stopped machine with a program of some sections."""

    def __init__(self, machine, sections=SECTIONS):
        super().__init__(machine, 0, Diagnostics(), not_tinyos)
        self._names = Names(sections=sections)

    @property
    def symbols(self):
        return self._names


def stopped_kernel(kernel, sections=SECTIONS):
    """The kernel as a target that can be read."""
    return ProgramTarget(kernel.image.machine(**kernel.registers), sections)
