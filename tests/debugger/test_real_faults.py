"""Real faults of a bare machine at every exception level: what `fault` says compared with what was done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from tests.aarch64 import qemu
from tests.debugger.conftest import gdb
from tests.schemas.validation import validate

# Virtual addresses, and their offsets in memory from the tables on.
CODE, READ_ONLY, UNMAPPED, READ_WRITE = 0x0, 0x1000, 0x2000, 0x3000
UNTOUCHED, PRIVILEGED, VECTORS = 0x4000, 0x5000, 0x8000
_AT = {
    CODE: 0x4000,
    READ_ONLY: 0x5000,
    READ_WRITE: 0x6000,
    UNTOUCHED: 0x7000,
    PRIVILEGED: 0x9000,
    VECTORS: 0x8000,
}
_NO_EXECUTE = 3 << 53
_PAGES = {
    CODE: 0x4C3,
    READ_ONLY: 0x4C3 | _NO_EXECUTE,
    READ_WRITE: 0x443 | _NO_EXECUTE,
    UNTOUCHED: 0x043 | _NO_EXECUTE,
    PRIVILEGED: 0x403 | _NO_EXECUTE,
    VECTORS: 0x4C3,
}
_SPIN = 0x1400_0000
_SYNCHRONOUS = {"same": 0x200, "lower": 0x400}
# MMU on, alignment checked, EL0 may use DC ZVA and cache maintenance.
_SCTLR = 0x30C5_0830 | 1 | 1 << 1 | 1 << 14 | 1 << 26 | 1 << 3 | 1 << 4


@dataclass(frozen=True)
class Place:
    """The faulting instruction runs at `level`; its exception is taken to `to`."""

    level: int
    to: int
    hypervisor: int = 1 << 31
    two_ranges: bool = True

    @property
    def levels(self) -> set[str]:
        return {f"EL{self.to}", *(["EL0"] if self.two_ranges else [])}


_VHE = 1 << 31 | 1 << 34 | 1 << 27
PLACES = {
    "EL0": Place(0, 1),
    "EL1": Place(1, 1),
    "EL2": Place(2, 2, two_ranges=False),
    "EL2 with VHE": Place(2, 2, _VHE),
    "EL0 with VHE": Place(0, 2, _VHE),
    "EL3": Place(3, 3, two_ranges=False),
}


@dataclass(frozen=True)
class Case:
    """An instruction, x1 when it runs, and what `fault` must say."""

    word: int
    x1: int
    access: str | None
    status: str
    level: int | None
    does: str | None
    address: int
    now: str | None = None
    """The kind of fault that the tables give afterwards."""
    contradictions: tuple[str, ...] = field(default=())


CASES = {
    "load": Case(
        0xF940_0022,
        UNMAPPED,
        "read",
        "translation fault",
        3,
        "load of 8 bytes at x1",
        UNMAPPED,
        "translation",
    ),
    "store": Case(
        0xF900_0422,
        READ_ONLY,
        "write",
        "permission fault",
        3,
        "store of 8 bytes at x1 + 8",
        READ_ONLY + 8,
        "permission",
    ),
    "pair": Case(
        0xA9BF_0C22,
        UNMAPPED + 32,
        "write",
        "translation fault",
        3,
        "store of 16 bytes at x1 - 16",
        UNMAPPED + 16,
        "translation",
    ),
    "byte load, access flag clear": Case(
        0x3940_0422,
        UNTOUCHED,
        "read",
        "access flag fault",
        3,
        "load of 1 byte at x1 + 1",
        UNTOUCHED + 1,
        "access flag",
    ),
    "zeroing": Case(
        0xD50B_7421,
        READ_ONLY + 0x40,
        "write",
        "permission fault",
        3,
        "store at x1",
        READ_ONLY + 0x40,
        "permission",
    ),
    "fetch": Case(0xD61F_0020, READ_WRITE, "execute", "permission fault", 3, None, READ_WRITE, "permission"),
    "fetch from nowhere": Case(
        0xD61F_0020, UNMAPPED, "execute", "translation fault", 3, None, UNMAPPED, "translation"
    ),
    "unaligned": Case(
        0xF940_0022, READ_WRITE + 4, "read", "alignment fault", None, "load of 8 bytes at x1", READ_WRITE + 4
    ),
    "unaligned exclusive": Case(
        0xC85F_7C22, READ_WRITE + 4, "read", "alignment fault", None, "load of 8 bytes at x1", READ_WRITE + 4
    ),
    "swap": Case(
        0xF822_8020,
        READ_ONLY,
        "write",
        "permission fault",
        3,
        "load and store of 8 bytes at x1",
        READ_ONLY,
        "permission",
    ),
}


def set_up(target, place, word, x1, start):
    """Registers and memory for one instruction at a place, and where its exception ends.

    Each instruction has a `start` of its own: QEMU keeps what it has translated, unaware of what is written.
    """
    base = target.base + qemu.TABLES
    words = {base + 0x1000 * level: base + 0x1000 * (level + 1) | 3 for level in range(3)}
    # The stub itself, which continues at its own address when EL3's MMU is turned on.
    words[base + 0x1000 + 8 * (target.base >> 30)] = target.base | 0x4C1
    for virtual, flags in _PAGES.items():
        words[base + 0x3000 + 8 * (virtual >> 12)] = base + _AT[virtual] | flags
    # ldr x1, .+0x20; the instruction; b .
    code = base + _AT[CODE] + start
    words.update({code: 0x5800_0101 | word << 32, code + 8: _SPIN | _SPIN << 32, code + 0x20: x1})
    words.update({base + _AT[VECTORS] + 0x80 * number: _SPIN | _SPIN << 32 for number in range(16)})
    to = place.to
    tcr = 16 | 16 << 16 | 2 << 30 | 5 << 32 if place.two_ranges else 16 | 5 << 16 | 1 << 31 | 1 << 23
    registers = {
        "SCR_EL3": 0x5B1,
        "HCR_EL2": place.hypervisor,
        f"SCTLR_EL{to}": _SCTLR,
        f"TCR_EL{to}": tcr,
        f"TTBR0_EL{to}": base,
        f"VBAR_EL{to}": VECTORS,
    }
    if place.two_ranges:
        registers[f"TTBR1_EL{to}"] = base
    if to < 3:
        registers[f"MAIR_EL{to}"] = 0xFF
    return registers, words, VECTORS + _SYNCHRONOUS["lower" if place.level < to else "same"]


def said(target):
    """The output of `fault` in a real GDB, as JSON and as text."""
    done = gdb(f"target remote {target.gdb_address}", "tinyos fault --json", "tinyos fault")
    assert "Python" not in done.errors
    content = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    validate(content)
    return content, done.output


@pytest.fixture(scope="module")
def board():
    with qemu.running(qemu.VIRT) as target:
        yield target


def vectors(target):
    """The physical address of the vectors, for exceptions of a level without an MMU."""
    return target.base + qemu.TABLES + _AT[VECTORS]


def guest(target, **registers):
    """A hypervisor, and its guest at EL1 whose stage 2 maps the machine's memory and nothing else."""
    base = target.base + qemu.TABLES
    values = {
        "SCR_EL3": 0x5B1,
        "HCR_EL2": 1 << 31 | 1,
        "SCTLR_EL2": 0x30C5_0830,
        "VBAR_EL2": vectors(target),
        "VTCR_EL2": 25 | 1 << 6 | 5 << 16 | 1 << 31,
        "VTTBR_EL2": base,
        "SCTLR_EL1": 0x30C5_0830,
        **registers,
    }
    words = {base + 8 * (target.base >> 30): target.base | 0x7FD}
    words.update({vectors(target) + 0x80 * number: _SPIN | _SPIN << 32 for number in range(16)})
    return values, words


@pytest.mark.xdist_group("real faults")
def test_a_guests_store_refused_by_stage_2(board):
    registers, words = guest(board)
    code, beyond = board.base + qemu.TABLES + _AT[CODE] + 0x800, 0x8000_1238
    # strb w2, [x1, #1]: the syndrome describes it (ISV).
    words.update({code: 0x5800_0101 | 0x3900_0422 << 32, code + 8: _SPIN | _SPIN << 32, code + 0x20: beyond})
    board.start(registers, words, state=0x3C5, at=code)
    board.run_to(vectors(board) + _SYNCHRONOUS["lower"])
    content, text = said(board)
    found = content["exceptions"][0]
    assert (found["taken_to"], found["taken_from"], found["address"]) == (2, 1, beyond + 1)
    assert (found["overwritten"], found["contradictions"]) == (False, []), text
    assert found["instruction"]["does"] == "store of 1 byte at x1 + 1"
    assert found["intermediate"] == beyond & ~0xFFF
    assert (found["now"]["fault"]["kind"], found["now"]["fault"]["stage"]) == ("translation", 2)
    assert "says translation fault, level 1 of stage 2, and so do the tables now" in " ".join(text.split())


@pytest.mark.xdist_group("real faults")
def test_a_guests_store_to_a_stage_2_read_only_page(board):
    registers, words = guest(board)
    code, refused = board.base + qemu.TABLES + _AT[CODE] + 0x840, 0x8000_1000
    words.update({code: 0x5800_0101 | 0xF900_0022 << 32, code + 8: _SPIN | _SPIN << 32, code + 0x20: refused})
    words[board.base + qemu.TABLES + 8 * 2] = board.base | 0x77D  # Read only, the same memory.
    board.start(registers, words, state=0x3C5, at=code)
    board.run_to(vectors(board) + _SYNCHRONOUS["lower"])
    content, text = said(board)
    found = content["exceptions"][0]
    assert (found["overwritten"], found["contradictions"], found["intermediate"]) == (False, [], None), text
    now = found["now"]
    assert (now["permissions"], now["stage2_permissions"]) == ({}, {"EL0": "r-x", "EL1": "r-x"})
    assert (now["fault"]["kind"], now["fault"]["stage"], now["mapped_to"]) == (
        "permission",
        2,
        board.base + 0x1000,
    )
    assert "MMU off; by stage 2 EL0 r-x, EL1 r-x" in " ".join(text.split())


@pytest.mark.xdist_group("real faults")
def test_a_guests_table_that_stage_2_does_not_map(board):
    root = 0x8000_0000
    registers, words = guest(
        board,
        SCTLR_EL1=_SCTLR,
        TCR_EL1=16 | 16 << 16 | 2 << 30 | 5 << 32,
        TTBR0_EL1=root,
        TTBR1_EL1=root,
        MAIR_EL1=0xFF,
    )
    board.start(registers, words, state=0x3C5, at=0x40_0000)
    board.run_to(vectors(board) + _SYNCHRONOUS["lower"])
    content, text = said(board)
    found = content["exceptions"][0]
    assert (found["taken_to"], found["taken_from"], found["address"]) == (2, 1, 0x40_0000)
    assert (found["overwritten"], found["contradictions"]) == (False, []), text
    assert "on a stage 1 table walk" in found["syndrome"]["text"]
    assert found["intermediate"] == root
    assert found["now"]["fault"]["on_walk"]


@pytest.mark.xdist_group("real faults")
def test_a_page_mapped_since_is_a_contradiction(board):
    where, wanted = PLACES["EL1"], CASES["load"]
    start = CODE + 0x900
    registers, words, end = set_up(board, where, wanted.word, UNMAPPED, start)
    board.start(registers, words, state=0x3C5, at=start)
    board.run_to(end)
    board.write(board.base + qemu.TABLES + 0x3000 + 8 * (UNMAPPED >> 12), 0x4400_0443)
    content, text = said(board)
    (contradiction,) = content["exceptions"][0]["contradictions"]
    assert contradiction.startswith(
        "ESR_EL1 says translation fault, level 3, but the tables allow the access now"
    )
    assert "Contradiction: " in text
    assert content["exceptions"][0]["now"]["output"] == 0x4400_0000


@pytest.mark.xdist_group("real faults")
def test_an_instruction_changed_since_is_not_used(board):
    where, wanted = PLACES["EL1"], CASES["store"]
    start = CODE + 0xA00
    registers, words, end = set_up(board, where, wanted.word, READ_ONLY, start)
    board.start(registers, words, state=0x3C5, at=start)
    board.run_to(end)
    board.write(board.base + qemu.TABLES + _AT[CODE] + start, 0x5800_0101 | 0xF940_0422 << 32)
    content, _ = said(board)
    found = content["exceptions"][0]
    assert (found["overwritten"], found["instruction"]) == (True, None)
    assert found["remarks"][0].startswith(
        "ESR_EL1 says a write (WnR), but the instruction at ELR_EL1 is a load of 8 bytes at x1 + 8: "
    )


@pytest.mark.xdist_group("real faults")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_is_explained_as_it_was_made(board, place, case):
    where, wanted = PLACES[place], CASES[case]
    start = CODE + 0x40 * list(CASES).index(case)
    registers, words, end = set_up(board, where, wanted.word, wanted.x1, start)
    board.start(registers, words, state=0x3C0 | where.level << 2 | (where.level > 0), at=start)
    board.run_to(end)
    content, text = said(board)
    found = content["exceptions"][0]
    assert (found["taken_to"], found["taken_from"]) == (where.to, where.level)
    assert not found["overwritten"], text
    assert found["contradictions"] == [], text
    syndrome = found["syndrome"]
    assert (syndrome["access"], syndrome["status_name"], syndrome["status_level"]) == (
        wanted.access,
        wanted.status,
        wanted.level,
    )
    assert found["address"] == wanted.address
    instruction = found["instruction"]
    assert instruction["does"] == wanted.does
    if wanted.access == "execute":
        assert instruction["address"] == wanted.address
    else:
        assert (instruction["address"], instruction["word"]) == (start + 4, wanted.word)
    now = found["now"]
    assert (now["fault"] and now["fault"]["kind"]) == wanted.now, text
    mapped = wanted.address & ~0xFFF != UNMAPPED
    assert set(now["permissions"]) == (where.levels if mapped else set())
    assert ("and so do the tables now" in text) == (wanted.now is not None)


def only_here(board, place, word, x1, start, more=0):
    """The exception of one instruction at one place, as JSON and as text; `more` are bits of PSTATE."""
    where = PLACES[place]
    registers, words, end = set_up(board, where, word, x1, start)
    board.start(registers, words, state=0x3C0 | where.level << 2 | (where.level > 0) | more, at=start)
    board.run_to(end)
    content, text = said(board)
    return content["exceptions"][0], " ".join(text.split())


@pytest.mark.xdist_group("real faults")
@pytest.mark.parametrize("place", ["EL1", "EL2 with VHE"])
def test_with_pan_what_el0_may_read_is_refused(board, place):
    found, text = only_here(board, place, 0xF940_0022, READ_ONLY, CODE + 0xB00, more=1 << 22)
    assert (found["overwritten"], found["contradictions"]) == (False, []), text
    assert found["now"]["fault"]["kind"] == "permission"
    assert "says permission fault, level 3, and so do the tables now" in text


@pytest.mark.xdist_group("real faults")
@pytest.mark.parametrize("place", ["EL1", "EL2 with VHE"])
def test_an_unprivileged_load_is_checked_as_el0(board, place):
    found, text = only_here(board, place, 0xF840_0822, PRIVILEGED, CODE + 0xB40)
    assert (found["overwritten"], found["contradictions"]) == (False, []), text
    assert found["instruction"]["does"] == "load of 8 bytes as EL0 at x1"
    assert found["now"]["fault"]["reason"].startswith("EL0 may not read there")


@pytest.mark.xdist_group("real faults")
@pytest.mark.parametrize("place", PLACES)
def test_cache_maintenance_is_named(board, place):
    # dc cvap, x1
    found, text = only_here(board, place, 0xD50B_7C21, UNMAPPED + 0x40, CODE + 0xB80)
    assert not found["overwritten"], text
    assert found["address"] == UNMAPPED + 0x40
    assert found["instruction"]["does"] == "cache maintenance or address translation at x1"
    # QEMU has CM clear; the architecture has it set.
    assert [entry.partition(", ")[0] for entry in found["contradictions"]] in (
        [],
        [f"ESR_EL{PLACES[place].to} says a load or store (CM clear)"],
    )
    assert found["now"]["fault"]["kind"] == "translation"
