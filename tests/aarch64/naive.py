"""An independent table walker, slow and literal, to hold the real one against.

It follows the prose of DDI 0487 D8.2 by cutting the address into strings of binary digits, so that it
shares neither code nor arithmetic with `gdbplugin.aarch64`.
"""

from __future__ import annotations


def digits(value: int, width: int = 64) -> str:
    return format(value, f"0{width}b")


def field(value: int, high: int, low: int) -> str:
    return digits(value)[63 - high : 64 - low]


def walk(memory, granule: str, input_bits: int, ttbr: int, address: int, output_bits: int):
    """("ok", output, descriptor, tables), or the kind of fault (or "abort") and its level."""
    index_bits = {"4K": 9, "16K": 11, "64K": 13}[granule]
    offset_bits = {"4K": 12, "16K": 14, "64K": 16}[granule]
    blocks = {"4K": (1, 2), "16K": (2,), "64K": (2,)}[granule]
    relevant = digits(address)[64 - input_bits :]
    upper, offset = relevant[:-offset_bits], relevant[-offset_bits:]
    indices = []
    while upper:
        indices.insert(0, upper[-index_bits:])
        upper = upper[:-index_bits]
    level = 4 - len(indices)
    align = len(indices[0]) + 3
    table = int(field(ttbr, 47, align) + "0" * align, 2)
    if table >= 2**output_bits:
        return ("address size", 0)
    parents = []
    while True:
        where = table + 8 * int(indices[0], 2)
        descriptor = memory(where)
        if descriptor is None:
            return ("abort", level)
        low = field(descriptor, 1, 0)
        is_leaf = (low == "11" and level == 3) or (low == "01" and level in blocks)
        if low[1] == "0" or (low == "01" and not is_leaf):
            return ("translation", level)
        if is_leaf:
            rest = "".join(indices[1:]) + offset
            base = field(descriptor, 47, len(rest))
            if int(base + "0" * len(rest), 2) >= 2**output_bits:
                return ("address size", level)
            if field(descriptor, 10, 10) == "0":
                return ("access flag", level)
            return ("ok", int(base + rest, 2), descriptor, parents)
        table = int(field(descriptor, 47, offset_bits) + "0" * offset_bits, 2)
        if table >= 2**output_bits:
            return ("address size", level)
        parents.append(descriptor)
        indices.pop(0)
        level += 1


def permissions(descriptor: int, parents: list[int], wxn: bool) -> tuple[str, str]:
    """Effective EL0 and EL1 permissions by table D8-63 and the hierarchical rules, as strings."""
    ap = field(descriptor, 7, 6)
    el0 = {"00": "", "01": "rw", "10": "", "11": "r"}[ap]
    el1 = {"00": "rw", "01": "rw", "10": "r", "11": "r"}[ap]
    for parent in parents:
        if field(parent, 61, 61) == "1":
            el0 = ""
        if field(parent, 62, 62) == "1":
            el0, el1 = el0.replace("w", ""), el1.replace("w", "")
    never0 = field(descriptor, 54, 54) == "1" or any(field(parent, 60, 60) == "1" for parent in parents)
    never1 = field(descriptor, 53, 53) == "1" or any(field(parent, 59, 59) == "1" for parent in parents)
    if "w" in el0 or (wxn and "w" in el1):
        never1 = True
    if wxn and "w" in el0:
        never0 = True
    if not never0:
        el0 += "x"
    if not never1:
        el1 += "x"
    return tuple("".join(letter if letter in have else "-" for letter in "rwx") for have in (el0, el1))
