"""Run inside GDB on a program: what GDB knows of the instructions at `addresses`, as JSON."""

import json

import gdb

rows = []
for address in addresses:  # noqa: F821 (set by the test)
    place = gdb.find_pc_line(address)
    block, names = gdb.block_for_pc(address), []
    while block is not None and not block.is_static:
        if block.function is not None:
            names.append(block.function.name)
        block = block.superblock
    found = (place.line, place.symtab.filename) if place.symtab is not None else (None, None)
    rows.append([*found, names])
print(json.dumps(rows))
