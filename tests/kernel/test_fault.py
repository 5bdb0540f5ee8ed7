"""The last exception of a core: what is known, what lies there, and what is of a later exception."""

import pytest

from gdbplugin.kernel.fault import read_fault
from gdbplugin.machine import BytesMachine, MachineGoneError, PhysicalReadError, SelectionError
from tests.aarch64.machines import BLOCK, TABLE, el1_registers
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import Names, bare, stopped_machine, stopped_world
from tests.kernel.synthetic import LAZY_BASE, STACK_BASE, World

GUARD = STACK_BASE + 0x20_0000 - 0x1_1000
CODE = 0x8000
STORE, SVC_5, BRK_9, NOP, DC_ZVA = 0xF900_0000, 0xD400_00A1, 0xD420_0120, 0xD503_201F, 0xD50B_7420
DATA_ABORT, SAME_LEVEL_ABORT, SVC, BRK, FETCH = (
    0x9200_0047,
    0x9600_0047,
    0x5600_0005,
    0xF200_0009,
    0x8200_0007,
)


def exception(esr, *, far=0, elr=CODE, spsr=0x3C0, level=1, word=None, **others):
    """A bare machine that took an exception: an identity map of 1 GiB, with an instruction at `CODE`."""
    registers = el1_registers(ttbr0=0x1000, CPSR=0x3C0 | level << 2 | 1, MAIR_EL1=0xFF)
    registers.update(ESR_EL1=esr, FAR_EL1=far, ELR_EL1=elr, SPSR_EL1=spsr, **others)
    code = bytearray(0x1000)
    for at, value in (word or {}).items():
        code[at - CODE : at - CODE + 4] = value.to_bytes(4, "little")
    memory = {
        0x1000: (0x2000 | TABLE).to_bytes(8, "little") + bytes(4088),
        0x2000: (BLOCK | 0x40).to_bytes(8, "little") + bytes(4088),
        CODE: code,
    }
    return stopped_machine(BytesMachine(memory, {0: registers}))


def disassemble(_core, address, word):
    return f"<{word:#x} at {address:#x}>"


def first(stopped, **words):
    return read_fault(stopped, Names(), disassemble, **words).reports[0]


def test_a_data_abort_is_explained_with_its_instruction():
    found = first(exception(DATA_ABORT, far=0x3000_0000, word={CODE: STORE}))
    assert (found.record.level, found.record.from_level, found.overwritten) == (1, 0, False)
    assert found.record.address == 0x3000_0000
    assert found.instruction.text == f"<{STORE:#x} at {CODE:#x}>"
    assert found.now.fault is None
    assert "is being handled, or it is over" in found.remarks[0]


@pytest.mark.parametrize(
    ("esr", "words", "address"),
    [
        (SVC, {CODE: NOP}, None),
        (SVC, {CODE: SVC_5}, CODE),
        (SVC, {CODE: SVC_5 + 32}, None),
        (BRK, {CODE: BRK_9}, CODE),
        (BRK, {CODE: NOP}, None),
        (DATA_ABORT, {CODE: STORE}, CODE),
        (DATA_ABORT, {CODE: DC_ZVA}, CODE),
        (DATA_ABORT, {CODE: 0x8B00_0000}, None),
    ],
)
def test_an_unfitting_instruction_is_of_a_later_exception(esr, words, address):
    after = 4 if esr == SVC else 0
    found = first(exception(esr, elr=CODE + after, word=words))
    assert found.overwritten == (address is None)
    assert (found.instruction and found.instruction.address) == address
    assert ("later exception" in found.remarks[0]) == (address is None)


@pytest.mark.parametrize(
    ("esr", "spsr", "overwritten"),
    [
        (DATA_ABORT, 0x3C0, False),
        (DATA_ABORT, 0x3C5, True),
        (SAME_LEVEL_ABORT, 0x3C5, False),
        (SAME_LEVEL_ABORT, 0x3C0, True),
    ],
)
def test_a_saved_state_of_another_level_is_of_a_later_exception(esr, spsr, overwritten):
    assert first(exception(esr, spsr=spsr, word={CODE: STORE})).overwritten == overwritten


def test_a_fetch_that_failed_is_where_the_address_says():
    found = first(exception(FETCH, far=1 << 45, elr=1 << 45))
    assert not found.overwritten
    assert (found.instruction.address, found.instruction.word) == (1 << 45, None)
    assert first(exception(FETCH, far=1 << 45, elr=CODE, word={CODE: STORE})).overwritten


@pytest.mark.parametrize(
    ("level", "words"),
    [(0, "this exception is over"), (1, "is being handled, or it is over"), (2, "above the level")],
)
def test_what_is_known_of_when_it_was_is_said(level, words):
    found = read_fault(
        exception(DATA_ABORT, far=0x1000, level=level, word={CODE: STORE}), Names(), disassemble
    )
    assert found.level == level
    report = next(entry for entry in found.reports if entry.record.level == 1)
    assert words in report.remarks[0]


def test_the_current_levels_own_exception_comes_first():
    stopped = exception(SVC, level=2, ESR_EL2=0x5A00_0001, ELR_EL2=0, SPSR_EL2=0x3C5, ESR_EL3=0)
    found = read_fault(stopped, Names())
    assert [report.record.level for report in found.reports] == [2, 1]
    assert found.silent == ("EL3 has taken no synchronous exception since reset (ESR_EL3 is 0)",)


def test_a_core_in_the_vectors_is_seen_there():
    stopped = exception(DATA_ABORT, word={CODE: STORE}, VBAR_EL1=0x4_0000, PC=0x4_0000 + 0x480)
    assert read_fault(stopped).entering == "IRQ from a lower level in AArch64"
    stopped = exception(DATA_ABORT, word={CODE: STORE}, VBAR_EL1=0x4_0000, PC=0x4_0000 + 0x3FC)
    assert read_fault(stopped).entering == "SError from the same level"
    stopped = exception(DATA_ABORT, word={CODE: STORE}, VBAR_EL1=0x4_0000, PC=0x4_0800)
    assert read_fault(stopped).entering is None


def test_a_target_that_gives_nothing_is_told_so():
    found = read_fault(bare({}))
    assert found.reports == ()
    assert found.level is None
    assert len(found.silent) == 3
    assert "ESR_EL1 cannot be read from this target" in text_of("fault", found)
    with pytest.raises(SelectionError, match="no core 7"):
        read_fault(bare({}), core=7)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (GUARD + 8, "guard of stack 1 of task 1"),
        (LAZY_BASE + 0x1000, "lazy range 0 of task 1, page 1 of 5, pending"),
        (LAZY_BASE + 0x9000, "unreserved, among the lazy pages"),
        (0x8, "null"),
    ],
)
def test_on_tinyos_what_lies_at_the_address_is_told(address, text):
    world = World()
    world.registers.update(ESR_EL1=DATA_ABORT, FAR_EL1=address, ELR_EL1=0x40_0000, SPSR_EL1=0x3C0)
    found = read_fault(stopped_world(world))
    assert found.reports[0].where.text == text
    shown = text_of("fault", found)
    assert f"{address:#018x}, {text}" in shown
    assert "translation fault" in shown


def test_only_tasks_that_an_exception_ended_are_shown():
    world = World()
    world.scheduler["tasks"][1].update(
        state="Ended", end_reason="StackOverflow", end_syndrome=DATA_ABORT, end_address=GUARD
    )
    world.scheduler["tasks"][2].update(state="Ended", end_reason="Exited", end_syndrome=DATA_ABORT)
    found = read_fault(stopped_world(world))
    (end,) = found.ended
    assert (end.task.id, end.where.text) == (1, "guard of stack 1 of task 1")
    assert "StackOverflow: data abort" in text_of("fault", found)


def test_a_stack_reused_since_is_not_the_ended_tasks():
    world = World()
    world.scheduler["tasks"][1].update(
        state="Ended", end_reason="StackOverflow", end_syndrome=DATA_ABORT, end_address=GUARD
    )
    world.manager["stack_manager"]["stacks"][0]["owner"] = 2
    (end,) = read_fault(stopped_world(world)).ended
    assert end.where.text == "among the stacks; its stack 1 now belongs to another task"
    assert end.where.object is None


def test_a_stack_that_is_not_on_record_any_more_is_nobodys():
    world = World()
    world.scheduler["tasks"][1].update(
        state="Ended", end_reason="StackOverflow", end_syndrome=DATA_ABORT, end_address=GUARD, stack=77
    )
    (end,) = read_fault(stopped_world(world)).ended
    assert end.where.text == "among the stacks; its stack 77 is not on record"


def test_an_undefined_instruction_that_ended_a_task_is_located():
    world = World()
    world.scheduler["tasks"][1].update(
        state="Ended", end_reason="StackOverflow", end_syndrome=0x0200_0000, end_address=0x40_0010
    )
    found = read_fault(stopped_world(world))
    (end,) = found.ended
    assert "programs" in end.where.text
    assert "    at 0x400010, programs" in text_of("fault", found)


def test_unreadable_records_are_noted_and_the_rest_is_shown():
    world = World()
    world.registers.update(ESR_EL1=DATA_ABORT, FAR_EL1=LAZY_BASE + 0x1000, ELR_EL1=0x40_0000, SPSR_EL1=0x3C0)
    stopped = stopped_world(world)
    kernel = stopped.required_kernel()
    read = kernel.memory.read

    def broken(address, length):
        if length < 100:
            return read(address, length)
        raise PhysicalReadError(address, length)

    kernel.memory.read = broken
    found = read_fault(stopped)
    assert found.reports[0].record.address == LAZY_BASE + 0x1000
    assert "TinyOS's records could not be read" in stopped.diagnostics.notes[0]

    def gone(_address, _length):
        raise MachineGoneError("the connection to the target was lost")

    kernel.memory.read = gone
    with pytest.raises(MachineGoneError):
        read_fault(stopped)


def test_every_syndrome_has_a_text():
    for esr in range(0, 1 << 32, 0x3FF_F001):
        found = read_fault(exception(esr | 1 << 25, far=0x10))
        assert text_of("fault", found).isascii()
        json_of("fault", found)
