"""How a program's types lie in memory, and how to decode bytes by it.

Pure: the descriptions (`types`) come from the DWARF of an ELF file (`dwarf`, cached on disk by `cache`) or
from a debugger. Sizes and offsets are in bytes.
"""
