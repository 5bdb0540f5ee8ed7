"""Unwinding: from the registers of a stopped computation to its frames, innermost first.

By call frame information (DWARF 5, 6.4) where there is some, else by frame records (AAPCS64, 6.4.6).
Registers go by their DWARF numbers (AADWARF64, 4.1): 0 to 30 for X0 to X30, 31 for SP, 32 for PC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gdbplugin.machine import MachineError, MachineGoneError
from gdbplugin.records import NamedTuple, Protocol, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Source = Literal["registers", "call frame information", "frame record", "link register", "context"]

FRAME_POINTER, LINK_REGISTER, STACK_POINTER, PROGRAM_COUNTER = 29, 30, 31, 32
MOST_FRAMES = 256
"""The most frames of one backtrace."""

_MASK = (1 << 64) - 1
_CALLEE_SAVED = range(19, 31)
_MOST_OPERATIONS = 64
# stp x29, x30, [sp, #imm] and its pre-indexed form.
_SAVES_RECORD = ((0xFFC07FFF, 0xA9007BFD), (0xFFC07FFF, 0xA9807BFD))
_MOST_PROLOGUE_BYTES = 4096


class Memory(Protocol):
    """Virtual memory, of the kernel's half and of a task's."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes at a virtual address; raises a `MachineError`."""


class Rule(NamedTuple):
    """How a register of the caller is found (DWARF 5, 6.4.1): by an offset, a register or an expression."""

    kind: Literal["undefined", "same", "offset", "value offset", "register", "expression", "value expression"]
    argument: int | bytes = 0


class Row(NamedTuple):
    """The call frame information that holds at one instruction."""

    cfa: Rule
    """The canonical frame address: `register` plus `cfa_offset`, or the value of an `expression`."""
    cfa_offset: int
    rules: Mapping[int, Rule]
    """The rules of the registers that have one."""
    return_column: int
    """The register that has the return address: X30, or PC in the frame of an exception."""
    is_signal_frame: bool
    """Whether the caller was interrupted at its PC, and did not call."""


class CallFrames(Protocol):
    """A program's call frame information; `problems` has a clause for each part that could not be read."""

    problems: list[str]

    def row(self, address: int) -> Row | None:
        """What holds at an instruction; None if nothing is known of it."""


@dataclass(frozen=True)
class RawFrame:
    """A frame by its registers, as far as they are known."""

    registers: Mapping[int, int]
    source: Source
    """What its registers were found by."""
    is_exact: bool
    """Whether the PC is the instruction to be executed next; otherwise it is a return address."""
    floor: int = 0
    """The lowest address that its frame may end at: a stack grows down."""

    @property
    def pc(self) -> int:
        """Its program counter."""
        return self.registers[PROGRAM_COUNTER]

    @property
    def stack_pointer(self) -> int | None:
        """Its stack pointer; None if it is not known."""
        return self.registers.get(STACK_POINTER)

    @property
    def lowest_end(self) -> int:
        """The lowest address that its frame can end at."""
        return max(self.floor, self.stack_pointer or 0)

    @property
    def instruction(self) -> int:
        """An address within the instruction that it is at: of the call, if the PC is a return address."""
        return self.pc if self.is_exact else self.pc - 1


@dataclass(frozen=True)
class Unwinding:
    """The frames, innermost first."""

    frames: tuple[RawFrame, ...]
    broken: str = ""
    """Why there may be more frames; empty if the last one is the outermost."""


class BrokenChainError(Exception):
    """The caller of a frame cannot be found. The message says why."""


class _OutermostError(Exception):
    """The frame has no caller."""


Boundary = Callable[[RawFrame], "Mapping[int, int] | None"]
"""The registers of the code that an exception interrupted, for the frame of the exception; else None."""
FunctionStart = Callable[[int], "int | None"]
"""The address of the first instruction of the function that has an instruction; None if not known."""


class Unwinder:
    """Finds the callers of a frame.

    `boundary` is asked where call frame information and frame records end: at the entry of an exception.
    `function_start` tells whether a function without call frame information has saved its caller yet.
    """

    def __init__(
        self,
        memory: Memory,
        call_frames: CallFrames | None = None,
        boundary: Boundary | None = None,
        function_start: FunctionStart | None = None,
    ) -> None:
        self._memory = memory
        self._call_frames = call_frames
        self._boundary = boundary
        self._function_start = function_start

    def unwind(
        self,
        registers: Mapping[int, int],
        most: int = MOST_FRAMES,
        source: Source = "registers",
    ) -> Unwinding:
        """The frames from registers with a PC on. Raises only `MachineGoneError`."""
        frames = [RawFrame(registers, source, True)]
        seen = {_place(frames[0])}
        while len(frames) < most:
            try:
                frame = self._caller(frames[-1])
            except _OutermostError:
                return Unwinding(tuple(frames))
            except BrokenChainError as error:
                return Unwinding(tuple(frames), str(error))
            if _place(frame) in seen:
                return Unwinding(tuple(frames), f"the frame at {frame.pc:#x} is its own caller")
            seen.add(_place(frame))
            frames.append(frame)
        return Unwinding(tuple(frames), f"only {most:,} frames are followed")

    def _caller(self, frame: RawFrame) -> RawFrame:
        row = self._call_frames.row(frame.instruction) if self._call_frames is not None else None
        if row is not None:
            return self._by_row(frame, row)
        interrupted = self._boundary(frame) if self._boundary is not None else None
        if interrupted is not None:
            return RawFrame(interrupted, "context", True)
        return self._by_link_register(frame) or self._by_record(frame)

    def _by_row(self, frame: RawFrame, row: Row) -> RawFrame:
        cfa = self._cfa(frame, row)
        if cfa < frame.lowest_end and not row.is_signal_frame:
            raise BrokenChainError(
                f"the frame at {frame.pc:#x} should end at {cfa:#x}, but reaches to {frame.lowest_end:#x}"
            )
        found = {STACK_POINTER: cfa}
        for register in {*_CALLEE_SAVED, *row.rules}:
            value = self._restored(frame, cfa, register, row.rules.get(register, Rule("same")))
            if value is not None:
                found[register] = value
        target = found.get(row.return_column)
        if target is None:
            if row.rules.get(row.return_column, Rule("same")).kind == "undefined":
                raise _OutermostError
            raise BrokenChainError(f"the return address of the frame at {frame.pc:#x} is not known")
        if target == 0:
            raise _OutermostError
        if not row.is_signal_frame:
            found.pop(LINK_REGISTER, None)
        found[PROGRAM_COUNTER] = target
        floor = 0 if row.is_signal_frame else cfa
        return RawFrame(found, "call frame information", row.is_signal_frame, floor)

    def _cfa(self, frame: RawFrame, row: Row) -> int:
        if row.cfa.kind == "expression":
            assert isinstance(row.cfa.argument, bytes)
            return self._evaluate(frame, row.cfa.argument, None)
        assert isinstance(row.cfa.argument, int)
        return _known(frame, row.cfa.argument) + row.cfa_offset & _MASK

    def _restored(self, frame: RawFrame, cfa: int, register: int, rule: Rule) -> int | None:
        """The caller's value of a register; None if it is not known."""
        kind, argument = rule
        if kind == "undefined":
            return None
        if kind == "same":
            return frame.registers.get(register)
        if isinstance(argument, bytes):
            value = self._evaluate(frame, argument, cfa)
            return value if kind == "value expression" else self._word(value)
        if kind == "register":
            return frame.registers.get(argument)
        value = cfa + argument & _MASK
        return value if kind == "value offset" else self._word(value)

    def _by_link_register(self, frame: RawFrame) -> RawFrame | None:
        """The caller, if the innermost function has not yet made its frame record."""
        link = frame.registers.get(LINK_REGISTER)
        if not frame.is_exact or not link or self._function_start is None:
            return None
        start = self._function_start(frame.pc)
        if start is None or not start <= frame.pc < start + _MOST_PROLOGUE_BYTES:
            return None
        try:
            code = self._memory.read(start, frame.pc - start & ~3)
        except MachineGoneError:
            raise
        except MachineError:
            return None
        words = (int.from_bytes(code[place : place + 4], "little") for place in range(0, len(code), 4))
        if any(word & mask == value for word in words for mask, value in _SAVES_RECORD):
            return None
        found = {**frame.registers, PROGRAM_COUNTER: link}
        del found[LINK_REGISTER]
        return RawFrame(found, "link register", False)

    def _by_record(self, frame: RawFrame) -> RawFrame:
        """The caller by the frame record that X29 points to: the caller's X29, then the return address."""
        record = _known(frame, FRAME_POINTER)
        if record == 0:
            raise _OutermostError
        if record % 8:
            raise BrokenChainError(f"x29 of the frame at {frame.pc:#x}, {record:#x}, is not a multiple of 8")
        if record < frame.lowest_end:
            raise BrokenChainError(
                f"the frame record at {record:#x} of the frame at {frame.pc:#x} lies below "
                f"{frame.lowest_end:#x}, to where the frames inside it reach"
            )
        following, target = self._words(record, 2)
        if target == 0:
            raise _OutermostError
        # The caller's stack pointer depends on the function: only its record is known to end below it.
        found = {FRAME_POINTER: following, PROGRAM_COUNTER: target}
        return RawFrame(found, "frame record", False, record + 16)

    def _word(self, address: int) -> int:
        return self._words(address, 1)[0]

    def _words(self, address: int, count: int) -> list[int]:
        try:
            data = self._memory.read(address, 8 * count)
            return [int.from_bytes(data[place : place + 8], "little") for place in range(0, 8 * count, 8)]
        except MachineGoneError:
            raise
        except MachineError as error:
            raise BrokenChainError(f"the saved registers at {address:#x} cannot be read: {error}") from error

    def _evaluate(self, frame: RawFrame, expression: bytes, cfa: int | None) -> int:
        """The value of a DWARF expression (DWARF 5, 2.5)."""
        stack = [] if cfa is None else [cfa]
        reader = _Operands(expression)
        for _ in range(_MOST_OPERATIONS):
            if reader.at_end:
                break
            self._operate(frame, reader, stack)
        if not reader.at_end or not stack:
            raise BrokenChainError("an expression in the call frame information has no value")
        return stack[-1]

    def _operate(self, frame: RawFrame, reader: _Operands, stack: list[int]) -> None:
        """Carry out one operation."""
        operation = reader.number(1)
        if operation in _CONSTANTS:
            size, signed = _CONSTANTS[operation]
            stack.append(reader.number(size, signed=signed) & _MASK)
        elif operation in (0x10, 0x11):  # DW_OP_constu, DW_OP_consts
            stack.append(reader.leb128(signed=operation == 0x11) & _MASK)
        elif 0x30 <= operation <= 0x4F:  # DW_OP_lit0 to 31
            stack.append(operation - 0x30)
        elif 0x70 <= operation <= 0x8F:  # DW_OP_breg0 to 31
            stack.append(_known(frame, operation - 0x70) + reader.leb128(signed=True) & _MASK)
        elif operation == 0x92:  # DW_OP_bregx
            register = reader.leb128()
            stack.append(_known(frame, register) + reader.leb128(signed=True) & _MASK)
        elif operation == 0x06 and stack:  # DW_OP_deref
            stack.append(self._word(stack.pop()))
        elif operation == 0x12 and stack:  # DW_OP_dup
            stack.append(stack[-1])
        elif operation == 0x23 and stack:  # DW_OP_plus_uconst
            stack.append(stack.pop() + reader.leb128() & _MASK)
        elif operation in _ARITHMETIC and len(stack) >= 2:
            second, first = stack.pop(), stack.pop()
            stack.append(_ARITHMETIC[operation](first, second) & _MASK)
        else:
            raise BrokenChainError(f"the call frame information has the operation {operation:#x} there")


# DW_OP_addr and DW_OP_const*: bytes of the operand, and whether it is signed.
_CONSTANTS = {
    0x03: (8, False),
    **{0x08 + 2 * place + signed: (1 << place, bool(signed)) for place in range(4) for signed in (0, 1)},
}
_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda first, second: first & second,
    0x1C: lambda first, second: first - second,
    0x1E: lambda first, second: first * second,
    0x21: lambda first, second: first | second,
    0x22: lambda first, second: first + second,
    0x24: lambda first, second: first << min(second, 64),
    0x25: lambda first, second: first >> min(second, 64),
    0x27: lambda first, second: first ^ second,
}


class _Operands:
    """Reads an expression's bytes one by one; raises `BrokenChainError` at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._data)

    def number(self, size: int, *, signed: bool = False) -> int:
        part = self._data[self._position : self._position + size]
        if len(part) < size:
            raise BrokenChainError("an expression in the call frame information is cut off")
        self._position += size
        return int.from_bytes(part, "little", signed=signed)

    def leb128(self, *, signed: bool = False) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        return value - (1 << shift) if signed and byte & 0x40 else value


def _known(frame: RawFrame, register: int) -> int:
    value = frame.registers.get(register)
    if value is None:
        raise BrokenChainError(f"{_name(register)} of the frame at {frame.pc:#x} is not known")
    return value


def _name(register: int) -> str:
    return {STACK_POINTER: "sp", PROGRAM_COUNTER: "pc"}.get(register, f"x{register}")


def _place(frame: RawFrame) -> tuple[int, int | None, int | None]:
    return frame.pc, frame.stack_pointer, frame.registers.get(FRAME_POINTER)
