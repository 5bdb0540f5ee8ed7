"""Run inside GDB, stopped: what `tinyos translate`, `tinyos maps` and QEMU's own walker say, as JSON."""

import json
import random

import gdb

from gdbplugin.debugger.guards import printed

random.seed(20_261_122)
MASK = (1 << 64) - 1


def qemu(address):
    """QEMU's translation: None where it has none. It prints physical 0 without its prefix."""
    said = printed(f"monitor gva2gpa {address & MASK:#x}").strip()
    return int(said.removeprefix("gpa: "), 16) if said.startswith("gpa: ") else None


def tinyos(command):
    return json.loads(printed(f"tinyos {command} --json"))


def output(found, address):
    """Our translation. QEMU's walker on a debugger's behalf is blind to the access flag; so is this."""
    if found["fault"] is None or found["fault"]["kind"] != "access flag":
        return found["output"]
    leaf = found["levels"][-1]
    offset_bits = 12 + 9 * (3 - leaf["level"])
    return leaf["descriptor"] & (1 << 48) - (1 << offset_bits) | address & (1 << offset_bits) - 1


def qemu_here(address, ours):
    """QEMU's translation for the level that the machine stands at, EL0 or EL1.

    At EL0, QEMU 11 goes on to answer for EL1 what EL0 may not read. That is left out, where we agree with it.
    """
    said = qemu(address)
    if ours is None and answers_for_el1 and said == tinyos(f"translate {address:#x} --el 1")["output"]:
        return None
    return said


level = int(gdb.parse_and_eval("$cpsr")) >> 2 & 3
# The kernel's image.
answers_for_el1 = level == 0 and qemu(0xFFFF_8000_0008_0000) is not None
mappings = tinyos("maps")["mappings"]
edges = [mapping["start"] for mapping in mappings] + [mapping["end"] for mapping in mappings]
probes = edges + [edge - 1 for edge in edges]
probes += [random.randrange(mapping["start"], mapping["end"]) for mapping in mappings for _ in range(3)]
probes = random.sample(probes, min(len(probes), 400))
probes += [random.getrandbits(bits) for bits in (64, 48, 47, 32) for _ in range(25)]
translated = []
for address in (probe & MASK for probe in probes):
    found = tinyos(f"translate {address:#x}")
    ours = output(found, address)
    theirs = qemu_here(address, ours)
    translated.append([address, ours, theirs, found["fault"], len(found["levels"])])

mapped = []
for mapping in mappings:
    for _ in range(4):
        page = random.randrange(mapping["start"], mapping["end"]) & ~0xFFF
        mapped.append([page, page - mapping["start"] + mapping["physical"], qemu(page), mapping["el0"]])
gaps = []
ends = [0] + [mapping["end"] for mapping in mappings]
starts = [mapping["start"] for mapping in mappings] + [1 << 64]
for low, high in zip(ends, starts, strict=True):
    if low < high:
        gaps += [[address, qemu(address)] for address in (low, high - 1, random.randrange(low, high))]
answer = {"level": level, "translated": translated, "mapped": mapped, "gaps": gaps}
print(json.dumps({**answer, "answers_for_el1": answers_for_el1}))
