"""The last write to a word, and the functions that led to it."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.target import Target
from gdbplugin.machine import SelectionError
from gdbplugin.recording.history import Change, ChangeHistory, place_of, read_history
from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.layout.code import CodeMap

_CALL_BYTES = 4


class Caller(NamedTuple):
    """A frame of the backtrace of a recorded write."""

    number: int
    """Its number; 0 is the innermost."""
    pc: int
    """The instruction that wrote; for a frame that called, the return address."""
    function: str | None
    """The function's name, with its modules; null if it is not known."""
    offset: int | None
    """Bytes from the function's first instruction to `pc`; null if it is not known."""
    file: str | None
    """The source file; null if it is not known."""
    line: int | None
    """The line in it; null if it is not known."""


@dataclass(frozen=True)
class Writer(Diagnosed):
    """The last write to a word."""

    json_fields = ("subject", "write", "backtrace")

    history: ChangeHistory
    backtrace: tuple[Caller, ...]
    """The functions that led to it, innermost first; empty if they are not known."""

    @property
    def subject(self) -> str:
        """The address, in words."""
        return self.history.subject

    @property
    def write(self) -> Change:
        """The write."""
        return self.history.changes[-1]


def read_writer(target: Target, **chosen: Any) -> Writer:
    """The last write to what is chosen: see `choose_subject`.

    Raises `RecordingError` without a recording, and `SelectionError` if it has no such write.
    """
    history = read_history(target, 1, only_stores=True, **chosen)
    if not history.changes:
        raise SelectionError(
            f"the recording has no write to {history.subject}: it has those to tables, and to the "
            "records of the memory manager and the scheduler"
        )
    write = history.changes[-1]
    if write.frames is None or not _is_in_one_function(target.code, write.pc, write.frames_pc):
        target.diagnostics.add_note("the functions that led to this write were not recorded")
        return Writer(history, (), diagnostics=target.diagnostics)
    return Writer(history, _callers(target.code, write.pc, write.frames), diagnostics=target.diagnostics)


def _is_in_one_function(code: CodeMap | None, pc: int, frames_pc: int | None) -> bool:
    """Whether frames that were read shortly before a write are its own: both are in one function."""
    if pc == frames_pc:
        return True
    here = code.function(pc) if code is not None else None
    return here is not None and frames_pc is not None and here.start <= frames_pc < here.end


def _callers(code: CodeMap | None, pc: int, frames: Sequence[int]) -> tuple[Caller, ...]:
    """The frames, from the PC, the link register, and the return addresses of the frame records.

    The link register is a frame of its own only in a function that has no frame record, or not yet. Else it
    is the first return address, or one within the function itself, from an earlier call.
    """
    link, *returns = frames
    inner = code.function(pc) if code is not None else None
    is_own = inner is not None and inner.start <= link - _CALL_BYTES < inner.end
    leaf = [link] if link and not is_own and link not in returns[:1] else []
    found = [_caller(code, 0, pc, pc)]
    for address in (*leaf, *returns):
        found.append(_caller(code, len(found), address, address - _CALL_BYTES))
    return tuple(found)


def _caller(code: CodeMap | None, number: int, pc: int, instruction: int) -> Caller:
    places = code.places(instruction) if code is not None else ()
    if not places:
        return Caller(number, pc, None, None, None, None)
    # The line is of the innermost function that was inlined, the name of the one that it was inlined into.
    function, place = places[-1], place_of(code, instruction) or places[0]
    offset = None if function.offset is None else function.offset + pc - instruction
    return Caller(number, pc, function.function, offset, place.file, place.line)
