"""Instructions as GDB's disassembler has them."""

from __future__ import annotations

import gdb

from gdbplugin.debugger import stop


def disassemble(core: int, address: int, word: int) -> str | None:
    """The text of the instruction `word` at a virtual address, as seen from a core.

    None where GDB cannot read it there, or reads another: the core may be in another address space now.
    """
    try:
        with stop.seen_from(core):
            inferior = gdb.selected_inferior()
            if int.from_bytes(bytes(inferior.read_memory(address, 4)), "little") != word:
                return None
            (found,) = inferior.architecture().disassemble(address, count=1)
    except (gdb.error, gdb.MemoryError):
        return None
    return str(found["asm"]).replace("\t", " ")
