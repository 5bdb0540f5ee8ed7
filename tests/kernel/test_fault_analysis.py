"""What `fault` says of an exception, against each piece of evidence on its own, and against any at random."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.fault import read_fault
from gdbplugin.machine import BytesMachine
from gdbplugin.render import Style
from tests.aarch64.machines import BLOCK, TABLE, el1_registers
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import Names, stopped_machine
from tests.schemas.validation import validate

CODE, VECTORS, FAR = 0x8000, 0x1_0000, 0x3000
LOAD, STORE, LOAD_BYTE, LOAD_SIGNED = 0xF940_0022, 0xF900_0022, 0x3940_0022, 0x3980_0022
LOAD_ORDERED, SWAP, PAIR, CIVAC, NOP, ADD = (
    0xC8DF_FC22,
    0xF822_8020,
    0xA940_0C22,
    0xD50B_7E21,
    0xD503_201F,
    0x8B02_0020,
)
MRS, STORE_SP, WFI = 0xD538_0002, 0xF900_03E2, 0xD503_207F
SAME, LOWER = 0x25 << 26 | 1 << 25, 0x24 << 26 | 1 << 25
WRITE, CM, S1PTW, EA, FNV, VNCR, ISV = 1 << 6, 1 << 8, 1 << 7, 1 << 9, 1 << 10, 1 << 13, 1 << 24
VHE = 1 << 31 | 1 << 34 | 1 << 27


def registers_of(level, hypervisor):
    """The registers of a level's regime over one identity block, which EL0 may not use."""
    found = {
        name if name[:2] == "ID" else name.replace("_EL1", f"_EL{level}"): value
        for name, value in el1_registers(ttbr0=0x1000, MAIR_EL1=0xFF).items()
    }
    if level == 3 or (level == 2 and not hypervisor >> 34 & 1):
        found[f"TCR_EL{level}"] = 16 | 4 << 16 | 1 << 31 | 1 << 23
    return {**found, "HCR_EL2": hypervisor, "SCR_EL3": 0x5B1, f"VBAR_EL{level}": VECTORS}


def stopped(
    esr, word=LOAD, *, level=1, source=1, hypervisor=1 << 31, vector=0x200, elr=CODE, more=None, **others
):
    """A core at the first instruction of a vector of `level`, come from `source`."""
    registers = registers_of(1, hypervisor) | registers_of(level, hypervisor)
    registers |= {
        "CPSR": 0x3C0 | level << 2 | 1,
        f"ESR_EL{level}": esr,
        f"FAR_EL{level}": FAR,
        f"ELR_EL{level}": elr,
        f"SPSR_EL{level}": 0x3C0 | source << 2 | (source > 0),
        "PC": VECTORS + vector,
        "X1": FAR,
        "SP": FAR,
        **others,
    }
    registers.update(more or {})
    code = bytearray(0x1000)
    code[:4] = word.to_bytes(4, "little")
    memory = {
        0x1000: (0x2000 | TABLE).to_bytes(8, "little") + bytes(4088),
        0x2000: BLOCK.to_bytes(8, "little") + bytes(4088),
        CODE: code,
    }
    return stopped_machine(BytesMachine(memory, {0: registers}))


def report(esr, word=LOAD, **words):
    return read_fault(stopped(esr, word, **words), Names()).reports[0]


def test_where_all_agrees_nothing_is_contradicted():
    found = report(SAME | 0x10, LOAD)
    assert (found.overwritten, found.contradictions, found.from_level) == (False, (), 1)
    assert str(found.instruction.operation) == "load of 8 bytes at x1"


@pytest.mark.parametrize(
    ("esr", "word", "said"),
    [
        (
            SAME | WRITE | 0x10,
            LOAD,
            "ESR_EL1 says a write (WnR), but the instruction at ELR_EL1 is a load of 8",
        ),
        (
            SAME | 0x10,
            STORE,
            "ESR_EL1 says a read (WnR clear), but the instruction at ELR_EL1 is a store of 8",
        ),
        (SAME | CM | WRITE | 0x10, STORE, "ESR_EL1 says cache maintenance or address translation (CM), but"),
        (SAME | 0x10, ADD, "ESR_EL1 says a memory access, but the instruction at ELR_EL1 makes none"),
        (
            SAME | ISV | 3 << 22 | 1 << 15 | 2 << 16 | 0x10,
            PAIR,
            "an access of one general-purpose register (ISV)",
        ),
        (SAME | ISV | 2 << 22 | 1 << 15 | 2 << 16 | 0x10, LOAD, "an access of 4 bytes (SAS)"),
        (SAME | ISV | 3 << 22 | 1 << 15 | 5 << 16 | 0x10, LOAD, "register 5 (SRT)"),
        (SAME | ISV | 0 << 22 | 1 << 21 | 2 << 16 | 0x10, LOAD_BYTE, "a sign-extended load (SSE)"),
        (SAME | ISV | 0 << 22 | 1 << 15 | 2 << 16 | 0x10, LOAD_SIGNED, "not a sign-extended load (SSE)"),
        (SAME | ISV | 3 << 22 | 2 << 16 | 0x10, LOAD, "not an access of a 64-bit register (SF)"),
        (
            SAME | ISV | 3 << 22 | 1 << 15 | 1 << 14 | 2 << 16 | 0x10,
            LOAD,
            "a load-acquire or store-release (AR)",
        ),
        (
            SAME | ISV | 3 << 22 | 1 << 15 | 2 << 16 | 0x10,
            LOAD_ORDERED,
            "not a load-acquire or store-release (AR)",
        ),
        (0x26 << 26 | 1 << 25, STORE, "that SP was not aligned"),
        (0x01 << 26 | 1 << 25, NOP, "ESR_EL1 says WFI or WFE"),
        # mrs x2, midr_el1, and not x3.
        (0x18 << 26 | 1 << 25 | 3 << 20 | 3 << 5 | 1, MRS, "an access to S3_0_C0_C0_0"),
        (0x22 << 26 | 1 << 25, LOAD, "FAR_EL1 has the PC 0x3000, but ELR_EL1 has 0x8000"),
    ],
)
def test_an_instruction_that_contradicts_esr_is_not_the_one(esr, word, said):
    found = report(esr, word)
    assert (found.overwritten, found.instruction) == (True, None)
    assert said in found.remarks[0]
    assert "later exception" in found.remarks[0]


@pytest.mark.parametrize(
    ("esr", "word"),
    [
        (SAME | ISV | 3 << 22 | 1 << 15 | 2 << 16 | 0x10, LOAD),
        (SAME | ISV | 2 << 16 | 0x10, LOAD_BYTE),
        (SAME | ISV | 1 << 21 | 1 << 15 | 2 << 16 | 0x10, LOAD_SIGNED),
        (SAME | ISV | 3 << 22 | 1 << 15 | 1 << 14 | 2 << 16 | 0x10, LOAD_ORDERED),
        (SAME | CM | WRITE | 0x10, CIVAC),
        (SAME | WRITE | 0x10, STORE),
        (SAME | WRITE | 0x10, SWAP),
        (SAME | 0x10, SWAP),
        (0x26 << 26 | 1 << 25, STORE_SP),
        (0x01 << 26 | 1 << 25, WFI),
        (0x18 << 26 | 1 << 25 | 3 << 20 | 2 << 5 | 1, MRS),
    ],
)
def test_an_instruction_that_fits_esr_is_shown(esr, word):
    found = report(esr, word)
    assert (found.overwritten, found.contradictions) == (False, ())
    assert found.instruction.word == word


@pytest.mark.parametrize(
    ("esr", "words", "said", "source"),
    [
        (
            LOWER | 0x10,
            {},
            "ESR_EL1 says that the exception came from a level below EL1, but SPSR_EL1 says EL1",
            0,
        ),
        (
            SAME | 0x10,
            {"source": 0},
            "ESR_EL1 says that the exception came from EL1 itself, but SPSR_EL1 says EL0",
            1,
        ),
        (SAME | 0x10, {"source": 2}, "SPSR_EL1 says EL2, but EL1 takes no exceptions from EL2", 1),
        (SAME | 0x10, {"vector": 0x280}, "the core is in the vector of an IRQ", 1),
        (LOWER | 0x10, {"level": 2, "source": 2, "hypervisor": VHE}, "SPSR_EL2 says EL2", 0),
        (LOWER | 0x10, {"level": 2, "source": 2}, "SPSR_EL2 says EL2", None),
    ],
)
def test_a_level_that_contradicts_the_class_is_not_guessed(esr, words, said, source):
    found = report(esr, **words)
    assert found.overwritten
    assert said in found.remarks[0]
    assert found.from_level == source


def test_nested_virtualization_at_el1_as_el2_does_not_contradict():
    assert not report(SAME | 0x10, source=2, hypervisor=1 << 31 | 1 << 42).overwritten


@pytest.mark.parametrize(
    ("esr", "words", "said"),
    [
        (SAME | 0x10, {"X1": FAR + 64}, "FAR_EL1 is 0x3000, but the load of 8 bytes at x1 computes 0x3040"),
        (SAME | 0x21, {}, "ESR_EL1 says an alignment fault, but FAR_EL1 is aligned"),
        (
            SAME & ~(1 << 25) | 0x10,
            {},
            "ESR_EL1 says a 16-bit instruction (IL clear), but SPSR_EL1 says AArch64",
        ),
        (SAME | S1PTW | 0x10, {}, "ESR_EL1 has S1PTW set"),
        (SAME | VNCR | 0x10, {}, "ESR_EL1 has VNCR set"),
        (
            SAME | EA | 0x21,
            {"X1": FAR + 4, "FAR_EL1": FAR + 4},
            "ESR_EL1 has EA set, which only external aborts",
        ),
        (SAME | 0x07, {}, "ESR_EL1 says translation fault, level 3, but the tables allow the access now"),
        (
            SAME | 0x0D,
            {"FAR_EL1": 1 << 45, "X1": 1 << 45},
            "the tables now give a translation fault, level 0",
        ),
        (
            SAME | 0x10,
            {"word": CIVAC},
            "ESR_EL1 says a load or store (CM clear), but the instruction is cache",
        ),
    ],
)
def test_what_contradicts_is_said_with_what_it_is_seen_by(esr, words, said):
    found = report(esr, words.pop("word", LOAD), more=words)
    assert [entry for entry in found.contradictions if said in entry], found.contradictions
    assert not found.overwritten


def test_once_the_handler_runs_its_registers_prove_nothing():
    found = report(SAME | 0x07, more={"X1": 0x5000, "PC": VECTORS + 0x204})
    assert found.contradictions == ()
    assert "is being handled, or it is over" in found.remarks[0]
    assert "the tables allow the access now" in found.remarks[1]
    fresh = report(SAME | 0x07, more={"X1": 0x5000})
    assert len(fresh.contradictions) == 2
    assert "is being taken" in fresh.remarks[0]


def test_a_far_that_is_not_valid_is_told():
    found = report(SAME | FNV | 0x10)
    assert (found.record.address, found.now) == (None, None)
    assert "FAR_EL1 does not hold the address of this exception (FnV)" in found.remarks


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        ({}, ["EL0", "EL1"]),
        ({"level": 2, "source": 2}, ["EL2"]),
        ({"level": 2, "source": 2, "hypervisor": VHE}, ["EL0", "EL2"]),
        ({"level": 3, "source": 3}, ["EL3"]),
    ],
)
def test_permissions_now_are_those_of_the_regime(words, levels):
    found = read_fault(stopped(SAME | 0x10, **words), Names())
    assert list(found.reports[0].now.permissions) == levels
    text = text_of("fault", found)
    (line,) = [line for line in text.splitlines() if line.startswith("  now") and "mapped" in line][:1]
    assert re.findall("EL[0-3](?= [r-][w-][x-])", line) == levels


WORDS = st.one_of(
    st.integers(0, (1 << 32) - 1),
    st.sampled_from(
        [LOAD, STORE, LOAD_BYTE, LOAD_SIGNED, LOAD_ORDERED, PAIR, CIVAC, NOP, MRS, STORE_SP, WFI]
    ),
)
CLASSES = st.one_of(
    st.integers(0, 63), st.sampled_from([0x20, 0x21, 0x22, 0x24, 0x25, 0x26, 0x15, 0x18, 0x3C])
)
NAMED = re.compile(
    "ESR_EL|ELR_EL|SPSR_EL|FAR_EL|HPFAR_EL2|vector|core|exception level it was taken from|EL[0-3]"
)
VALUES = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, FAR, CODE, FAR + 4]))


@settings(max_examples=400, deadline=None)
@given(
    exception_class=CLASSES,
    syndrome=st.integers(0, (1 << 25) - 1),
    second=st.integers(0, (1 << 24) - 1),
    word=WORDS,
    level=st.integers(1, 3),
    state=st.one_of(st.integers(0, (1 << 32) - 1), st.sampled_from([0x3C0, 0x3C5, 0x3C9, 0x3CD])),
    hypervisor=st.one_of(st.sampled_from([0, 1 << 31, VHE, 1 << 31 | 1]), st.integers(0, (1 << 64) - 1)),
    far=VALUES,
    vector=st.integers(0, 0x7FF),
    mmu=st.booleans(),
    missing=st.sets(st.sampled_from(["SPSR", "FAR", "ELR", "HCR_EL2", "X1", "SP", "VBAR", "PC", "TCR"])),
)
def test_any_record_is_shown_and_statements_name_their_evidence(
    exception_class, syndrome, second, word, level, state, hypervisor, far, vector, mmu, missing
):
    esr = second << 32 | exception_class << 26 | syndrome
    more = {f"SPSR_EL{level}": state, f"FAR_EL{level}": far, "HPFAR_EL2": far, f"SCTLR_EL{level}": int(mmu)}
    more |= {"VTCR_EL2": 25 | 1 << 6 | 5 << 16, "VTTBR_EL2": 0x2000, "SCTLR_EL2": int(mmu)}
    more |= dict.fromkeys([name for stem in missing for name in (stem, f"{stem}_EL{level}")])
    machine = stopped(esr, word, level=level, hypervisor=hypervisor, vector=vector, more=more)
    found = read_fault(machine, Names())
    for style in (Style("ascii", width=40), Style()):
        assert text_of("fault", found, style).endswith("\n")
    validate(json_of("fault", found))
    for entry in found.reports:
        assert entry.overwritten <= (entry.instruction is None)
        for statement in (*entry.remarks, *entry.contradictions):
            assert NAMED.search(statement), statement
        if entry.now is not None and entry.now.permissions:
            assert list(entry.now.permissions)[-1] != "EL0"
