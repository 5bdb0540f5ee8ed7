"""The unwinder over made-up stacks: chains of frame records, call frame information, and corrupt memory."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.aarch64.unwind import (
    FRAME_POINTER,
    LINK_REGISTER,
    PROGRAM_COUNTER,
    STACK_POINTER,
    Row,
    Rule,
    Unwinder,
)
from gdbplugin.machine import MachineError

TEXT = 0x40_0000
STACK = 0x7000_0000_0000
SIZE = 0x1_0000


class Memory:
    """Ranges of bytes by virtual address."""

    def __init__(self, **ranges):
        self.ranges = {int(start.lstrip("_"), 16): bytearray(data) for start, data in ranges.items()}

    def read(self, address, length):
        for start, data in self.ranges.items():
            if start <= address and address + length <= start + len(data):
                return bytes(data[address - start :][:length])
        raise MachineError(f"{address:#x} is not mapped")

    def store(self, address, value):
        for start, data in self.ranges.items():
            if start <= address < start + len(data):
                data[address - start : address - start + 8] = value.to_bytes(8, "little")
                return
        raise AssertionError(hex(address))


def stack_memory():
    return Memory(**{f"_{STACK:x}": bytes(SIZE)})


def chain(memory, returns, places):
    """Frame records at ascending places: each leads to the next, the last to none. Returns the first."""
    for place, following, target in zip(places, [*places[1:], 0], returns, strict=True):
        memory.store(place, following)
        memory.store(place + 8, target)
    return places[0]


@st.composite
def chains(draw):
    places = sorted(draw(st.sets(st.integers(0, SIZE // 16 - 1), min_size=1, max_size=40)))
    returns = draw(
        st.lists(st.integers(TEXT, TEXT + 0xFFFF), min_size=len(places), max_size=len(places), unique=True)
    )
    return [STACK + 16 * place for place in places], returns


@given(chains())
def test_frame_records_lead_to_every_caller(made):
    places, returns = made
    memory = stack_memory()
    first = chain(memory, returns, places)
    found = Unwinder(memory).unwind({PROGRAM_COUNTER: TEXT - 8, FRAME_POINTER: first, STACK_POINTER: STACK})
    assert [frame.pc for frame in found.frames] == [TEXT - 8, *returns]
    assert found.broken == ""
    assert [frame.is_exact for frame in found.frames] == [True] + [False] * len(returns)
    assert [frame.instruction for frame in found.frames[1:]] == [target - 1 for target in returns]


def test_a_chain_that_goes_down_or_around_is_broken():
    memory = stack_memory()
    first = chain(memory, [TEXT, TEXT + 4], [STACK + 0x100, STACK + 0x80])
    found = Unwinder(memory).unwind({PROGRAM_COUNTER: TEXT, FRAME_POINTER: first, STACK_POINTER: STACK})
    assert len(found.frames) == 2
    assert f"the frame record at {STACK + 0x80:#x}" in found.broken
    assert "lies below" in found.broken
    memory.store(STACK + 0x100, STACK + 0x100)
    around = Unwinder(memory).unwind({PROGRAM_COUNTER: TEXT, FRAME_POINTER: first})
    assert around.broken == f"the frame at {TEXT:#x} is its own caller"


@pytest.mark.parametrize(
    ("pointer", "why"),
    [
        (STACK + 4, "is not a multiple of 8"),
        (0x10, "0x10 is not mapped"),
        (STACK + 0x40, "lies below"),
        (None, "x29 of the frame at 0x400000 is not known"),
    ],
)
def test_a_broken_chain_says_where_and_why(pointer, why):
    registers = {PROGRAM_COUNTER: TEXT, STACK_POINTER: STACK + 0x80} | (
        {} if pointer is None else {FRAME_POINTER: pointer}
    )
    if pointer == 0x10:
        registers[STACK_POINTER] = 0
    found = Unwinder(stack_memory()).unwind(registers)
    assert len(found.frames) == 1
    assert why in found.broken


def test_a_long_chain_is_cut_off_and_says_so():
    memory = stack_memory()
    places = [STACK + 16 * place for place in range(1, 1000)]
    first = chain(memory, [TEXT + 4 * place for place in range(1, 1000)], places)
    found = Unwinder(memory).unwind({PROGRAM_COUNTER: TEXT, FRAME_POINTER: first}, most=100)
    assert len(found.frames) == 100
    assert found.broken == "only 100 frames are followed"


SAVE = 0xA9BE7BFD  # stp x29, x30, [sp, #-32]!
NOP = 0xD503201F


@pytest.mark.parametrize(("executed", "by_link"), [(0, True), (1, True), (2, False)])
def test_a_function_without_a_record_yet_returns_by_x30(executed, by_link):
    memory = stack_memory()
    code = b"".join(word.to_bytes(4, "little") for word in (NOP, SAVE, NOP))
    memory.ranges[TEXT] = bytearray(code)
    first = chain(memory, [TEXT + 0x100], [STACK + 0x100])
    found = Unwinder(memory, function_start=lambda _: TEXT).unwind(
        {PROGRAM_COUNTER: TEXT + 4 * executed, LINK_REGISTER: TEXT + 0x200, FRAME_POINTER: first}
    )
    callers = [frame.pc for frame in found.frames[1:]]
    assert callers == ([TEXT + 0x200] if by_link else []) + [TEXT + 0x100]
    assert found.frames[1].source == ("link register" if by_link else "frame record")


class Rows:
    """Call frame information that is the same for every instruction of a range."""

    def __init__(self, rows):
        self.rows = rows

    def row(self, address):
        return next((row for (low, high), row in self.rows.items() if low <= address < high), None)


def saved(offset, **more):
    """A function that has its record `offset` bytes below its CFA, which is X29 + offset."""
    rules = {FRAME_POINTER: Rule("offset", -offset), LINK_REGISTER: Rule("offset", 8 - offset)}
    return Row(Rule("register", FRAME_POINTER), offset, rules | more.get("rules", {}), LINK_REGISTER, False)


def test_call_frame_information_restores_registers():
    memory = stack_memory()
    memory.store(STACK + 0x100, STACK + 0x200)
    memory.store(STACK + 0x108, TEXT + 0x108)
    memory.store(STACK + 0x110, 1234)
    rows = Rows(
        {
            (TEXT, TEXT + 0x100): saved(32, rules={19: Rule("offset", -16), 20: Rule("undefined")}),
            (TEXT + 0x100, TEXT + 0x200): Row(
                Rule("register", STACK_POINTER), 16, {LINK_REGISTER: Rule("undefined")}, LINK_REGISTER, False
            ),
        }
    )
    found = Unwinder(memory, rows).unwind(
        {
            PROGRAM_COUNTER: TEXT + 8,
            FRAME_POINTER: STACK + 0x100,
            STACK_POINTER: STACK + 0x100,
            19: 5,
            20: 6,
            21: 7,
        }
    )
    assert found.broken == ""
    assert len(found.frames) == 2
    caller = found.frames[1]
    assert caller.pc == TEXT + 0x108
    assert caller.registers == {
        PROGRAM_COUNTER: TEXT + 0x108,
        STACK_POINTER: STACK + 0x120,
        FRAME_POINTER: STACK + 0x200,
        19: 1234,
        21: 7,
    }


def test_a_signal_frame_leads_to_another_stack_and_an_exact_pc():
    context = STACK + 0x8000
    memory = stack_memory()
    for register in (*range(31), STACK_POINTER, PROGRAM_COUNTER):
        memory.store(context + 8 * register, 1000 + register)
    memory.store(context + 8 * PROGRAM_COUNTER, TEXT + 0x100)
    memory.store(context + 8 * STACK_POINTER, STACK + 0x40)
    rules = {register: Rule("offset", 8 * register) for register in (*range(32), PROGRAM_COUNTER)}
    # DW_OP_breg28 0: the context is where X28 says.
    entry = Row(Rule("expression", bytes([0x70 + 28, 0])), 0, rules, PROGRAM_COUNTER, True)
    last = Row(Rule("register", STACK_POINTER), 0, {LINK_REGISTER: Rule("undefined")}, LINK_REGISTER, False)
    rows = Rows({(TEXT, TEXT + 0x10): entry, (TEXT + 0x100, TEXT + 0x104): last})
    found = Unwinder(memory, rows).unwind(
        {PROGRAM_COUNTER: TEXT + 4, STACK_POINTER: STACK + 0xF000, 28: context}
    )
    assert found.broken == ""
    interrupted = found.frames[1]
    assert (interrupted.pc, interrupted.stack_pointer, interrupted.is_exact) == (
        TEXT + 0x100,
        STACK + 0x40,
        True,
    )
    assert {register: interrupted.registers[register] for register in range(31)} == {
        register: 1000 + register for register in range(31)
    }


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (bytes([0x30 + 7]), 7),
        (bytes([0x08, 0xFF]), 0xFF),
        (bytes([0x09, 0xFF]), (1 << 64) - 1),
        (bytes([0x0C, 1, 2, 3, 4]), 0x04030201),
        (bytes([0x10, 0x80, 0x01]), 128),
        (bytes([0x11, 0x7F]), (1 << 64) - 1),
        (bytes([0x70 + 31, 0x08]), STACK + 8),
        (bytes([0x92, 31, 0x78]), STACK - 8),
        (bytes([0x70 + 31, 0x00, 0x06]), 0x5555),
        (bytes([0x33, 0x34, 0x22]), 7),
        (bytes([0x33, 0x34, 0x1C]), (1 << 64) - 1),
        (bytes([0x33, 0x23, 0x05]), 8),
        (bytes([0x33, 0x12, 0x1E]), 9),
    ],
)
def test_expressions_have_their_value(expression, value):
    memory = stack_memory()
    memory.store(STACK, 0x5555)
    rules = {LINK_REGISTER: Rule("value expression", expression)}
    row = Row(Rule("register", STACK_POINTER), 0, rules, LINK_REGISTER, False)
    found = Unwinder(memory, Rows({(TEXT, TEXT + 4): row})).unwind(
        {PROGRAM_COUNTER: TEXT, STACK_POINTER: STACK}
    )
    assert found.frames[1].pc == value


@given(st.binary(max_size=80))
def test_any_expression_has_a_value_or_a_reason(expression):
    row = Row(Rule("expression", expression), 0, {}, LINK_REGISTER, False)
    found = Unwinder(stack_memory(), Rows({(TEXT, TEXT + 4): row})).unwind(
        {PROGRAM_COUNTER: TEXT, STACK_POINTER: STACK}
    )
    assert len(found.frames) == 1
    assert found.broken


def test_corrupt_stacks_end_with_a_reason_or_the_outermost_frame():
    numbers = random.Random(20_261_129)
    memory = stack_memory()
    words = [0, STACK, STACK + SIZE - 8, STACK + SIZE, TEXT, 1, (1 << 64) - 1, (1 << 64) - 8]
    for _ in range(10_000):
        for place in range(0, 0x200, 8):
            word = numbers.choice(
                [numbers.choice(words), STACK + 8 * numbers.randrange(0x40), numbers.getrandbits(64)]
            )
            memory.store(STACK + place, word)
        start = {PROGRAM_COUNTER: TEXT, FRAME_POINTER: STACK + 8 * numbers.randrange(0x40)}
        found = Unwinder(memory, Rows({(TEXT, TEXT + 2): saved(16)})).unwind(start)
        assert 1 <= len(found.frames) <= 256
