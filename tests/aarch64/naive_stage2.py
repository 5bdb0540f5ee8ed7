"""Stage 2 in the manner of the naive walker, and both stages one behind the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.aarch64 import naive
from tests.aarch64.naive import PHYSICAL, TG0, WORDS, cut, digits, number

ROOTS = {
    "4": {"00": 2, "01": 1, "10": 0, "11": 3},
    "16": {"00": 3, "01": 2, "10": 1, "11": 0},
    "64": {"00": 3, "01": 2, "10": 1},
}
"""Level of the root by VTCR_EL2.SL0."""


class Stage2FaultError(Exception):
    """Stage 2 does not let a table of stage 1 be read."""

    def __init__(self, kind: str, level: int) -> None:
        super().__init__(kind, level)
        self.kind, self.level = kind, level


class Found(NamedTuple):
    """As `naive.Answer`, of the stage whose fault it is; the memory is device memory or not."""

    kind: str
    level: int = 0
    stage: int = 2
    output: int | None = None
    rights: tuple[str, str] = ("", "")
    device: bool = False


class Setting:
    """What the registers say of stage 2; `sensible` whether that goes together."""

    def __init__(self, registers: naive.Registers) -> None:
        vtcr, hypervisor = registers["VTCR_EL2"], registers["HCR_EL2"]
        model, more = registers["ID_AA64MMFR0_EL1"], registers["ID_AA64MMFR2_EL1"]
        first = {"4": cut(model, 31, 28), "16": cut(model, 23, 20), "64": cut(model, 27, 24)}
        second = {"4": cut(model, 43, 40), "16": cut(model, 35, 32), "64": cut(model, 39, 36)}
        there, long = {}, {}
        for size in ("4", "16", "64"):
            if second[size] == "0000":
                there[size] = first[size] != ("0000" if size == "16" else "1111")
                long[size] = first[size] == {"4": "0001", "16": "0010", "64": ""}[size]
            else:
                there[size] = second[size] != "0001"
                long[size] = second[size] == "0011"
        asked = TG0[cut(vtcr, 15, 14)]
        self.granule = asked if asked and there[asked] else next(size for size in there if there[size])
        self.long = cut(vtcr, 32, 32) == "1" and long[self.granule]
        self.lpa = self.granule == "64" and registers.physical == 52
        self.ps = cut(vtcr, 18, 16)
        self.outputs = min(PHYSICAL[self.ps], registers.physical, 52 if self.long or self.lpa else 48)
        self.inputs = 64 - number(cut(vtcr, 5, 0))
        small, large = cut(more, 31, 28) != "0000", cut(more, 19, 16) != "0000"
        widest = 52 if self.long or (self.granule == "64" and large) else 48
        widest = min(widest, registers.physical if self.long or self.lpa else min(48, registers.physical))
        narrowest = 64 - ({"4": 48, "16": 48, "64": 47}[self.granule] if small else 39)
        self.sensible = narrowest <= self.inputs <= widest
        start = cut(vtcr, 7, 6)
        if self.granule == "4" and self.long and cut(vtcr, 33, 33) == "1":
            self.root = -1 if start == "00" else None
        else:
            self.root = ROOTS[self.granule].get(start)
            least = {"4": 44, "16": 42, "64": 44}[self.granule]
            if (start == "10" and registers.physical < least) or (
                start == "11" and not {"4": small, "16": self.long, "64": False}[self.granule]
            ):
                self.root = None
        page = WORDS[self.granule]
        if self.root is None:
            self.sensible = False
        else:
            self.index = self.inputs - page - (3 - self.root) * (page - 3)
            self.sensible = self.sensible and 1 <= self.index <= page - 3 + 4
        updates = number(cut(registers["ID_AA64MMFR1_EL1"], 3, 0))
        self.ha = cut(vtcr, 21, 21) == "1" and updates >= 1
        self.hd = self.ha and cut(vtcr, 22, 22) == "1" and updates >= 2
        self.apart = cut(registers["ID_AA64MMFR1_EL1"], 31, 28) != "0000"
        self.big = cut(registers["SCTLR_EL2"], 25, 25) == "1"
        self.forced = cut(hypervisor, 46, 46) == "1"
        self.protected = cut(hypervisor, 2, 2) == "1"
        self.base = registers["VTTBR_EL2"]

    # The places of addresses and blocks are stage 1's.
    address_of = naive.Setting.address_of
    is_block = naive.Setting.is_block
    too_large = naive.Setting.too_large


def translate(registers: naive.Registers, memory: Callable[[int], bytes | None], address: int) -> Found:
    """Stage 2's answer for an intermediate address."""
    setting = Setting(registers)
    word = digits(address)
    if not setting.sensible or "1" in word[: 64 - setting.inputs]:
        return Found("translation")
    page, level = WORDS[setting.granule], setting.root
    relevant = word[-setting.inputs :]
    indices, rest = [relevant[: setting.index]], relevant[setting.index :]
    while len(rest) > page:
        indices.append(rest[: page - 3])
        rest = rest[page - 3 :]
    if setting.long or (setting.lpa and setting.ps in ("110", "111")):
        base = cut(setting.base, 5, 2) + cut(setting.base, 47, 6) + "000000"
    else:
        base = "0000" + cut(setting.base, 47, 1) + "0"
    if setting.too_large(base):
        return Found("address size")
    table = base
    for place, index in enumerate(indices):
        found = memory(number(table[: -len(index) - 3] + index + "000"))
        if found is None:
            return Found("external abort", level)
        descriptor = "".join(digits(byte, 8) for byte in (found if setting.big else found[::-1]))
        last = descriptor[-2:]
        leaf = (last == "11" and level == 3) or (last == "01" and setting.is_block(level))
        if not leaf and (last != "11" or level == 3):
            return Found("translation", level)
        below = "".join(indices[place + 1 :]) + rest
        table = setting.address_of(descriptor, len(below) if leaf else page)
        if setting.too_large(table):
            return Found("address size", level)
        if leaf:
            if cut(descriptor, 10, 10) == "0" and not setting.ha:
                return Found("access flag", level)
            return Found(
                "ok",
                level,
                output=number(table[: 52 - len(below)] + below),
                rights=rights(setting, descriptor),
                device=cut(descriptor, 4, 4) == "0" if setting.forced else cut(descriptor, 5, 4) == "00",
            )
        level += 1
    raise AssertionError("level 3 has leaves alone")


def rights(setting: Setting, descriptor: str) -> tuple[str, str]:
    """What EL0 may do and what EL1 may, as `r-x`."""
    write = cut(descriptor, 7, 7) == "1" or (setting.hd and cut(descriptor, 51, 51) == "1")
    data = ("r" if cut(descriptor, 6, 6) == "1" else "-") + ("w" if write else "-")
    xn = cut(descriptor, 54, 53)
    if not setting.apart:
        xn = xn[0] + "0"
    el0, el1 = {"00": "xx", "01": "x-", "10": "--", "11": "-x"}[xn]
    return data + el0, data + el1


def both(
    values: dict[str, int], memory: Callable[[int], bytes | None], level: int, address: int
) -> tuple[naive.Answer, Found | None]:
    """Stage 1's answer, and stage 2's to its output; where one of its tables is not to be had, that alone."""
    registers = naive.Registers(values)
    setting = Setting(registers)

    def seen_by_stage1(where: int) -> bytes | None:
        found = translate(registers, memory, where)
        if found.kind != "ok":
            raise Stage2FaultError(found.kind, found.level)
        if found.rights[1][0] != "r" or (setting.protected and found.device):
            raise Stage2FaultError("permission", found.level)
        return memory(found.output)

    try:
        first = naive.translate(values, seen_by_stage1, level, address)
    except Stage2FaultError as fault:
        return naive.Answer("stage 2"), Found(fault.kind, fault.level)
    return first, translate(registers, memory, first.output) if first.kind == "ok" else None
