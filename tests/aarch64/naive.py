"""An independent table walker, slow and literal, to hold the real one against.

It follows the prose and the tables of DDI 0487 D8 with registers, addresses and descriptors as strings of
binary digits, cut and joined, so that it shares neither code nor arithmetic with `gdbplugin.aarch64`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

WORDS = {"4": 12, "16": 14, "64": 16}
TG0 = {"00": "4", "01": "64", "10": "16", "11": None}
TG1 = {"00": None, "01": "16", "10": "4", "11": "64"}
PHYSICAL = {"000": 32, "001": 36, "010": 40, "011": 42, "100": 44, "101": 48, "110": 52, "111": 52}


class Answer(NamedTuple):
    """`kind` is "ok" or the fault's; then its level, the output, and EL0's, EL1's and EL1's PAN rights."""

    kind: str
    level: int = 0
    output: int | None = None
    rights: tuple[str, str, str] | None = None


def digits(value: int, width: int = 64) -> str:
    return format(value, f"0{width}b")


def cut(word: str, high: int, low: int) -> str:
    """Digits `high` to `low` of a word of 64."""
    return word[63 - high : 64 - low]


def number(word: str) -> int:
    return int(word, 2) if word else 0


class Registers:
    """Registers as digits; the ID registers by what they say."""

    def __init__(self, values: dict[str, int]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return digits(self._values[name])

    def granule(self, encoded: str | None) -> str:
        """The granule asked for if it is there, else the smallest that is."""
        model = self["ID_AA64MMFR0_EL1"]
        there = {
            "4": cut(model, 31, 28) != "1111",
            "16": cut(model, 23, 20) != "0000",
            "64": cut(model, 27, 24) != "1111",
        }
        if encoded is not None and there[encoded]:
            return encoded
        return next(size for size in ("4", "16", "64") if there[size])

    def long_possible(self, granule: str) -> bool:
        model = self["ID_AA64MMFR0_EL1"]
        return {"4": cut(model, 31, 28) == "0001", "16": cut(model, 23, 20) == "0010", "64": False}[granule]

    @property
    def physical(self) -> int:
        return PHYSICAL[cut(self["ID_AA64MMFR0_EL1"], 2, 0)]


class Setting:
    """What one range's registers say."""

    def __init__(self, registers: Registers, owner: int, two: bool, upper: bool) -> None:
        tcr = registers[f"TCR_EL{owner}"]
        sctlr = registers[f"SCTLR_EL{owner}"]
        self.ttbr = registers[f"TTBR{int(upper)}_EL{owner}"]
        self.two, self.upper = two, upper
        self.wxn, self.big = cut(sctlr, 19, 19) == "1", cut(sctlr, 25, 25) == "1"
        self.epan = two and cut(sctlr, 57, 57) == "1"
        if two and upper:
            self.size, encoded = cut(tcr, 21, 16), TG1[cut(tcr, 31, 30)]
            places = (38, 42, 23, 56)
        elif two:
            self.size, encoded = cut(tcr, 5, 0), TG0[cut(tcr, 15, 14)]
            places = (37, 41, 7, 55)
        else:
            self.size, encoded = cut(tcr, 5, 0), TG0[cut(tcr, 15, 14)]
            places = (20, 24, None, None)
        flags = ["0" if place is None else cut(tcr, place, place) for place in places]
        hypervisor = registers["HCR_EL2"]
        self.nested = owner == 1 and cut(hypervisor, 43, 42) == "11"
        self.tbi, self.hpd, self.epd, self.e0pd = (flag == "1" for flag in flags)
        self.granule = registers.granule(encoded)
        self.ps = cut(tcr, 34, 32) if two else cut(tcr, 18, 16)
        long_asked = cut(tcr, 59, 59) if two else cut(tcr, 32, 32)
        self.long = long_asked == "1" and registers.long_possible(self.granule)
        self.lpa = self.granule == "64" and registers.physical == 52
        self.outputs = min(PHYSICAL[self.ps], registers.physical)
        if not self.long and not self.lpa:
            self.outputs = min(self.outputs, 48)
        updates = number(cut(registers["ID_AA64MMFR1_EL1"], 3, 0))
        asked = (cut(tcr, 39, 39), cut(tcr, 40, 40)) if two else (cut(tcr, 21, 21), cut(tcr, 22, 22))
        self.ha = asked[0] == "1" and updates >= 1
        self.hd = self.ha and asked[1] == "1" and updates >= 2
        more = registers["ID_AA64MMFR2_EL1"]
        least = 12 if self.long or (self.granule == "64" and cut(more, 19, 16) != "0000") else 16
        most = {"4": 48, "16": 48, "64": 47}[self.granule] if cut(more, 31, 28) != "0000" else 39
        self.sensible = least <= number(self.size) <= most

    def address_of(self, descriptor: str, low: int) -> str:
        """52 digits, the lowest `low` of them zero."""
        if self.long:
            whole = cut(descriptor, 9, 8) + cut(descriptor, 49, low)
        elif self.lpa:
            whole = cut(descriptor, 15, 12) + cut(descriptor, 47, low)
        else:
            whole = "0000" + cut(descriptor, 47, low)
        return whole + "0" * low

    def is_block(self, level: int) -> bool:
        return (
            level
            in {
                "4": (0, 1, 2) if self.long else (1, 2),
                "16": (1, 2) if self.long else (2,),
                "64": (1, 2) if self.lpa else (2,),
            }[self.granule]
        )

    def too_large(self, address: str) -> bool:
        return "1" in address[: 52 - self.outputs]


def translate(
    values: dict[str, int], memory: Callable[[int], bytes | None], level: int, address: int
) -> Answer:
    """The answer for exception level `level`; `memory` gives the 8 bytes at an address, or None."""
    registers = Registers(values)
    hypervisor = registers["HCR_EL2"]
    tge, host = cut(hypervisor, 27, 27) == "1", cut(hypervisor, 34, 34) == "1"
    owner = {0: 2 if tge and host else 1, 1: 1, 2: 2, 3: 3}[level]
    two = owner == 1 or (owner == 2 and host)
    word = digits(address)
    setting = Setting(registers, owner, two, two and cut(word, 55, 55) == "1")
    enabled = cut(registers[f"SCTLR_EL{owner}"], 0, 0) == "1"
    if owner == 1 and (cut(hypervisor, 12, 12) == "1" or (tge and not host)):
        enabled = False
    considered = word[8:] if setting.tbi else word
    if not enabled:
        if "1" in considered[: len(considered) - registers.physical]:
            return Answer("address size")
        return Answer("ok", 0, number(word[-52:]), ("rwx", "rwx", "rwx"))
    if not setting.sensible or setting.epd:
        return Answer("translation")
    used = 64 - number(setting.size)
    above = considered[: len(considered) - used]
    if above.strip("1" if setting.upper else "0"):
        return Answer("translation")
    return walk(setting, memory, word[-used:])


def walk(setting: Setting, memory: Callable[[int], bytes | None], relevant: str) -> Answer:
    page = WORDS[setting.granule]
    upper, offset = relevant[:-page], relevant[-page:]
    indices: list[str] = []
    while upper:
        indices.insert(0, upper[-(page - 3) :])
        upper = upper[: -(page - 3)]
    level = 4 - len(indices)
    if setting.long or (setting.lpa and setting.ps in ("110", "111")):
        base = cut(setting.ttbr, 5, 2) + cut(setting.ttbr, 47, 6) + "000000"
    else:
        base = "0000" + cut(setting.ttbr, 47, 1) + "0"
    if setting.too_large(base):
        return Answer("address size")
    align = len(indices[0]) + 3
    table = base[:-align] + "0" * align
    parents: list[str] = []
    while True:
        where = number(table[: -len(indices[0]) - 3] + indices[0] + "000")
        found = memory(where)
        if found is None:
            return Answer("external abort", level)
        descriptor = "".join(digits(byte, 8) for byte in (found if setting.big else found[::-1]))
        last = descriptor[-2:]
        leaf = (last == "11" and level == 3) or (last == "01" and setting.is_block(level))
        if not leaf and (last != "11" or level == 3):
            return Answer("translation", level)
        rest = "".join(indices[1:]) + offset
        target = setting.address_of(descriptor, len(rest) if leaf else page)
        if setting.too_large(target):
            return Answer("address size", level)
        if leaf:
            if cut(descriptor, 10, 10) == "0" and not setting.ha:
                return Answer("access flag", level)
            output = number(target[: 52 - len(rest)] + rest)
            return Answer("ok", level, output, rights(setting, descriptor, parents))
        parents.append(descriptor)
        table, indices, level = target, indices[1:], level + 1


def rights(setting: Setting, descriptor: str, parents: list[str]) -> tuple[str, str, str]:
    """What EL0 may do, what EL1 may, and what EL1 may with PAN: as `r-x`."""
    parents = [] if setting.hpd else parents
    if (
        setting.nested
    ):  # AP[1] and APTable[0] count as 0; bits 54 and 60 are PXN and PXNTable, the lower ones none.
        descriptor = descriptor[:9] + "0" + descriptor[9] + descriptor[11:57] + "0" + descriptor[58:]
        parents = [p[:2] + "0" + "0" + p[3] + p[5:] for p in parents]

    def above(bit: int) -> bool:
        return any(cut(parent, bit, bit) == "1" for parent in parents)

    ap = cut(descriptor, 7, 6)
    if setting.hd and cut(descriptor, 51, 51) == "1":
        ap = "0" + ap[1]
    if setting.two:
        el0 = {"00": "", "01": "rw", "10": "", "11": "r"}[ap]
        el1 = {"00": "rw", "01": "rw", "10": "r", "11": "r"}[ap]
    else:
        el0, el1 = "", "rw" if ap[0] == "0" else "r"
    if above(61):
        el0 = ""
    if above(62):
        el0, el1 = el0.replace("w", ""), el1.replace("w", "")
    uxn = cut(descriptor, 54, 54) == "1" or above(60)
    pxn = cut(descriptor, 53, 53) == "1" or above(59)
    never0, never1 = uxn or (setting.wxn and "w" in el0), setting.wxn and "w" in el1
    if setting.two:
        never1 = never1 or pxn or "w" in el0
        el0 += "" if never0 else "x"
    else:
        never1 = never1 or uxn
    el1 += "" if never1 else "x"
    forbidden = setting.two and not setting.nested and ("r" in el0 or (setting.epan and "x" in el0))
    pan = el1.replace("r", "").replace("w", "") if forbidden else el1
    if setting.e0pd:
        el0 = ""
    return tuple("".join(letter if letter in have else "-" for letter in "rwx") for have in (el0, el1, pan))
