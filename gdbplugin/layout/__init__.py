"""How a program's types lie in memory, and how to decode bytes by it.

Pure: descriptions come from an ELF file's DWARF (`dwarf`, kept on disk by `cache`) or from a debugger;
both make the same dataclasses of `types`. Sizes and offsets are in bytes.
"""
