"""What lies in the guest, read without the plugin: by GDB's own expressions, raw reads and QEMU's walker."""

from __future__ import annotations

import re
import struct

from gdbplugin.session import mi
from gdbplugin.session.gdb import Gdb

_OUTPUT = 0x0000_FFFF_FFFF_F000
_VALID = 0b01
_TABLE_OR_PAGE = 0b10
_TASKS = "kernel::scheduler::SCHEDULER.value.value.tasks"
READ_ONLY = 1 << 7
"""AP[2] of a stage 1 descriptor (Arm ARM, "Stage 1 data accesses")."""
EL0_ACCESS = 1 << 6
"""AP[1]."""


def register(gdb: Gdb, core: int, *names: str) -> int:
    """A register of a core, by the one of its names that this QEMU has for it."""
    gdb.mi(f"-thread-select {core + 1}")
    (name,) = set(names) & set(gdb.mi("-data-list-register-names").payload["register-names"])
    text = gdb.mi(f'-data-evaluate-expression "${name}"').payload["value"]
    number = re.match(r"(?:\(.*?\) )?(0x[0-9a-f]+|-?\d+)", text)
    if number:
        return int(number[1], 0) & 0xFFFF_FFFF_FFFF_FFFF
    # A type of flags, as GDB 18 has for cpsr, prints as words.
    return int(gdb.execute(f"python print(int(gdb.parse_and_eval('${name}')))"))


def exception_level(gdb: Gdb, core: int) -> int:
    """CurrentEL, from bits 3:2 of PSTATE."""
    return register(gdb, core, "cpsr") >> 2 & 3


def expression(gdb: Gdb, text: str) -> int:
    """The number that a Rust expression has, unsigned."""
    return int(gdb.execute(f"output/x {text}"), 16)


def task(gdb: Gdb, number: int, field: str) -> int:
    """A field of a task's record: `context.x[0]`. Selects the second core, and Rust as GDB's language."""
    gdb.mi("-thread-select 2")  # The first may be at EL0, in assembly; a parked one is always in the kernel.
    gdb.execute("set language rust")
    return expression(gdb, f"{_TASKS}[{number}].{field}")


def static(gdb: Gdb, name: str, type_name: str) -> str:
    """An expression for a static, by its symbol: GDB 13 does not find those of libraries by their path."""
    address = re.search(r" at (?:address )?(0x[0-9a-f]+)", gdb.execute(f"info address {name}"))
    assert address, f"there is no {name}"
    # Named first, for GDB looks types up only in the units that it has read by then.
    gdb.execute(f"ptype {type_name}")
    return f"(*({address[1]} as *mut {type_name}))"


def read_physical(gdb: Gdb, address: int, length: int) -> bytes:
    """Bytes of physical memory, by QEMU's own packet for that."""
    assert "OK" in gdb.execute("maint packet Qqemu.PhyMemMode:1")
    try:
        answer = gdb.mi(f"-data-read-memory-bytes {mi.address(address)} {length}")
    finally:
        gdb.execute("maint packet Qqemu.PhyMemMode:0")
    return bytes.fromhex(answer.payload["memory"][0]["contents"])


def descriptor(gdb: Gdb, root: int, address: int) -> int:
    """The level 3 descriptor of an address (4 KiB granule, 48 bits); 0 where no table leads there."""
    table = root & _OUTPUT
    for level in range(4):
        index = address >> (39 - 9 * level) & 0x1FF
        (entry,) = struct.unpack("<Q", read_physical(gdb, table + 8 * index, 8))
        if level == 3 or entry & (_VALID | _TABLE_OR_PAGE) != (_VALID | _TABLE_OR_PAGE):
            return int(entry) if level == 3 else 0
        table = entry & _OUTPUT
    raise AssertionError("not reached")


def output_address(entry: int) -> int:
    """Where a level 3 descriptor leads."""
    assert entry & _VALID, f"{entry:#x} maps nothing"
    return entry & _OUTPUT


def gva2gpa(gdb: Gdb, core: int, address: int) -> int | None:
    """QEMU's own translation of an address, for a read at the core's exception level; None if unmapped."""
    gdb.mi(f"-thread-select {core + 1}")
    gdb.execute(f"monitor cpu {core}")
    said = gdb.execute(f"monitor gva2gpa {address:#x}").strip()
    if said == "Unmapped":
        return None
    assert said.startswith("gpa: "), said
    return int(said.removeprefix("gpa: "), 16)
