"""The rules of translation: by records made here, and by kernels with a mistake planted in their code."""

import struct

import pytest

from gdbplugin.layout.elf import read_sections
from gdbplugin.recording.ring import (
    DATA_BARRIER,
    EXCEPTION_RETURN,
    STORE,
    SYSTEM_WRITE,
    TLB_INVALIDATE,
    Record,
)
from gdbplugin.recording.tlb import TlbModel
from gdbplugin.session import TinyOS
from tests.schemas.validation import validate

ROOT, OTHER, PAGE = 0x8001000, 0x8009000, 0x2000_0000_4000
ASID = 5
READ_WRITE = 0x60_0000_0000_0F43
SCTLR, TTBR0, TTBR1 = 0xD518_1000, 0xD518_2000, 0xD518_2020
VAE1, VAE1IS, ASIDE1, VMALLE1, VALE1 = 0xD508_8720, 0xD508_8320, 0xD508_8740, 0xD508_871F, 0xD508_87A0
DSB_NSH, DSB_NSHST, DSB_ISHLD, NOP = 0xD503_379F, 0xD503_369F, 0xD503_399F, 0xD503_201F


class Guest:
    """Makes records as a kernel's instructions would, and keeps what the model says of them."""

    def __init__(self):
        self.model = TlbModel()
        self.said = []
        self.count = 0
        for core in (0, 1):
            self.write(SCTLR, 1, core)
        self.write(TTBR0, ASID << 48 | ROOT)

    def record(self, kind, core, **fields):
        self.count += 1
        values = {**dict.fromkeys(Record._fields[:-2], 0), **fields}
        values |= {"instructions": self.count, "kind": kind, "core": core, "pc": self.count}
        for one in self.model.feed(Record(**values)):
            self.said.append((one.expected, one.found, one.change.pc, one.at.pc))

    def write(self, code, value, core=0):
        self.record(SYSTEM_WRITE, core, virtual=code, new=value)

    def store(self, old, new, address=PAGE, root=ROOT, level=3):
        self.record(STORE, 0, old=old, new=new, input=address, root=root, level=level + 1)

    def barrier(self, code=DSB_NSH, core=0):
        self.record(DATA_BARRIER, core, virtual=code)

    def invalidate(self, code=VAE1, address=PAGE, asid=ASID, core=0):
        self.record(TLB_INVALIDATE, core, virtual=code, new=asid << 48 | address >> 12)

    def forget(self, **what):
        """What invalidates a page properly."""
        self.barrier(DSB_NSHST)
        self.invalidate(**what)
        self.barrier()

    def leave(self, core=0):
        self.record(EXCEPTION_RETURN, core)


@pytest.fixture
def guest():
    return Guest()


def page(frame, attributes=READ_WRITE):
    return attributes | frame


OLD, NEW = page(0x8100000), page(0x8200000)
LATE = "invalidated in the TLB before"


def test_break_before_make_with_an_invalidation_is_right(guest):
    guest.store(OLD, 0)
    guest.forget()
    guest.store(0, NEW)
    guest.barrier()
    guest.leave()
    assert guest.said == []
    assert (guest.model.changes, guest.model.invalidations, guest.model.barriers) == (2, 1, 3)


def test_a_page_that_maps_something_else_at_once(guest):
    guest.store(OLD, NEW)
    assert [one[:2] for one in guest.said] == [("invalid in between (break before make)", "changed at once")]


@pytest.mark.parametrize(
    "steps",
    [
        (),
        ("invalidate",),
        ("invalidate", "barrier"),
        ("stores", "invalidate"),
        ("stores", "invalidate", "stores"),
        ("loads", "invalidate", "barrier"),
        ("stores", "other page", "barrier"),
        ("stores", "other space", "barrier"),
    ],
)
def test_each_step_of_an_invalidation_counts(guest, steps):
    guest.store(OLD, 0)
    changed = guest.count
    for step in steps:
        match step:
            case "stores" | "loads" | "barrier":
                guest.barrier({"stores": DSB_NSHST, "loads": DSB_ISHLD, "barrier": DSB_NSH}[step])
            case "other page":
                guest.invalidate(address=PAGE + 0x1000)
            case "other space":
                guest.invalidate(asid=6)
            case _:
                guest.invalidate()
    guest.store(0, NEW)
    assert guest.said == [(LATE, "valid again", changed, guest.count)]


@pytest.mark.parametrize("code", [ASIDE1, VMALLE1, VALE1, VAE1IS])
def test_other_invalidations_that_reach_the_page(guest, code):
    guest.store(OLD, 0)
    guest.forget(code=code)
    guest.store(0, NEW)
    assert guest.said == []


def test_the_space_is_used_too_early(guest):
    guest.store(OLD, 0)
    changed = guest.count
    guest.barrier()
    guest.leave()
    assert guest.said == [(LATE, "the space is used", changed, guest.count)]


def test_another_space_may_be_used_meanwhile(guest):
    guest.store(OLD, 0)
    guest.barrier()
    guest.write(TTBR0, 6 << 48 | OTHER)
    guest.leave()
    assert guest.said == []
    guest.write(TTBR0, ASID << 48 | ROOT)
    guest.leave()
    assert [one[1] for one in guest.said] == ["the space is used"]


def test_a_frame_is_mapped_elsewhere_too_early(guest):
    guest.store(OLD, 0)
    changed = guest.count
    guest.barrier()
    guest.store(0, OLD, address=PAGE + 0x8000)
    assert guest.said == [(LATE, "0x8100000 is mapped elsewhere", changed, guest.count)]


def test_a_table_is_not_forgotten_by_an_invalidation_of_the_last_level(guest):
    for code, late in ((VAE1, 0), (VALE1, 1)):
        guest.said.clear()
        guest.store(0x8300003, 0, level=2)
        guest.forget(code=code, address=PAGE + 0x1000)
        guest.leave()
        assert len(guest.said) == late


def test_a_new_page_needs_a_barrier_before_its_use(guest):
    guest.store(0, NEW)
    changed = guest.count
    guest.leave()
    assert guest.said == [("a DSB before", "the space is used", changed, guest.count)]
    guest.store(0, NEW, address=PAGE + 0x1000)
    guest.barrier(DSB_NSHST)
    guest.leave()
    assert len(guest.said) == 1


def test_a_permission_that_is_taken_away_is_to_be_forgotten(guest):
    for new, late in ((OLD | 1 << 7, 1), (OLD & ~(1 << 6), 1), (OLD & ~(1 << 10), 0), (OLD & ~(1 << 54), 0)):
        guest.said.clear()
        guest.store(OLD, new)
        guest.barrier()
        guest.leave()
        assert len(guest.said) == late, hex(new)


def test_an_asid_goes_to_other_tables_only_after_an_invalidation(guest):
    guest.write(TTBR0, 6 << 48 | OTHER)
    guest.write(TTBR0, ASID << 48 | 0x800A000)
    changed = guest.count
    guest.leave()
    assert guest.said == [(f"ASID {ASID} invalidated before", "the space is used", changed, guest.count)]
    guest.write(TTBR0, 6 << 48 | OTHER)
    guest.invalidate(ASIDE1)
    guest.barrier()
    guest.write(TTBR0, ASID << 48 | 0x800B000)
    guest.leave()
    assert len(guest.said) == 1


def test_spaces_that_are_not_known_are_no_reuse(guest):
    """With the clock of instructions, other cores' boot is recorded as the first core's."""
    guest.write(TTBR0, OTHER)
    guest.write(TTBR0, ROOT)
    guest.model.forget_spaces()
    guest.write(TTBR0, ROOT)
    guest.leave()
    assert not guest.said
    # From then on the rule holds again.
    guest.write(TTBR0, OTHER)
    guest.leave()
    assert [expected for expected, *_ in guest.said] == ["ASID 0 invalidated before"]


def test_what_no_tlb_may_hold_needs_no_invalidation(guest):
    guest.store(OLD, NEW, root=0x800C000)  # Never in TTBR0.
    guest.write(TTBR0, 6 << 48 | OTHER)
    guest.invalidate(ASIDE1)
    guest.store(OLD, NEW)  # Forgotten, and not used since.
    assert guest.said == []


def test_every_core_that_used_the_space_is_to_forget(guest):
    guest.write(TTBR0, ASID << 48 | ROOT, core=1)
    for code, late in ((VAE1, 1), (VAE1IS, 0)):
        guest.said.clear()
        guest.store(OLD, 0)
        guest.forget(code=code)
        guest.store(0, OLD)
        guest.barrier()
        assert len(guest.said) == late


def test_the_kernels_half_is_global(guest):
    upper = 0xFFFF_8000_0008_0000
    guest.write(TTBR1, 0xAD000)
    guest.store(OLD, 0, address=upper, root=0xAD000)
    guest.forget(code=ASIDE1)
    guest.store(0, OLD, address=upper, root=0xAD000)
    assert [one[1] for one in guest.said] == ["valid again"]
    guest.store(OLD, 0, address=upper, root=0xAD000)
    guest.forget(address=upper & (1 << 56) - 1, asid=9)
    guest.store(0, OLD, address=upper, root=0xAD000)
    assert len(guest.said) == 1


def test_tinyos_keeps_the_rules(boot):
    machine = boot(record=True)
    machine.shell("*t")
    found = machine.tlb()
    assert found.findings == []
    assert found.changes > 5000
    assert found.invalidations > 300
    validate(machine.json("tlb"))
    with machine.stopped():
        assert machine.gdb("tinyos tlb --strict").endswith("0 broken rules\n")


def planted(elf, path, mask, code):
    """A copy of a kernel whose instructions of a kind do nothing."""
    data, count = bytearray(elf.read_bytes()), 0
    text = read_sections(elf).find(".text")
    for place in range(text.offset, text.offset + text.size, 4):
        (word,) = struct.unpack_from("<I", data, place)
        if word & mask == code:
            struct.pack_into("<I", data, place, NOP)
            count += 1
    assert count
    path.write_bytes(data)
    return path


MISTAKES = {
    "no TLBI of a page": (0xFFFF_FFE0, 0xD508_8720),
    "no TLBI of an ASID": (0xFFFF_FFE0, 0xD508_8740),
    "no DSB before a TLBI": (0xFFFF_FFFF, DSB_NSHST),
    "no DSB after a TLBI": (0xFFFF_FFFF, DSB_NSH),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_named_with_both_instructions(mistake, kernel_elf, tmp_path):
    elf = planted(kernel_elf, tmp_path / "kernel.elf", *MISTAKES[mistake])
    with TinyOS.boot(elf, record=True) as machine:
        found = machine.tlb()
        assert found.broken_count
        assert {one.expected for one in found.broken} & {LATE, "a DSB before"}
        assert all(one.change.function and one.at.function for one in found.broken)
        assert found.findings
