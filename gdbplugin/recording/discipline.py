"""What breaks the rules of translation in a recording, in words: for `tinyos tlb`."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.target import Target
from gdbplugin.recording.history import note_overwritten, place_of
from gdbplugin.recording.naming import Namer
from gdbplugin.recording.ring import EXCEPTION_ENTRY, FRAMES, STORE, Record, Recording
from gdbplugin.recording.tlb import TlbModel, Violation
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.layout.code import CodeMap

_MOST = 1000


@dataclass(frozen=True)
class RecordedInstruction:
    """An instruction of a recording."""

    instructions: int
    """How many instructions the core had executed, this one included."""
    core: int
    """The core."""
    pc: int
    """Its address."""
    function: str | None
    """Its function, with its modules; null if it is not known."""
    file: str | None
    """Its source file; null if it is not known."""
    line: int | None
    """The line in it; null if it is not known."""


@dataclass(frozen=True)
class BrokenRule:
    """A change of a translation that broke a rule."""

    what: str
    """The change, in words."""
    expected: str
    """What should have come."""
    found: str
    """What came in its place."""
    change: RecordedInstruction
    """The instruction that made the change."""
    at: RecordedInstruction
    """The instruction by which the rule was broken."""


@dataclass(frozen=True)
class Discipline(Diagnosed):
    """How a recording keeps the rules of translation."""

    json_fields = ("changes", "invalidations", "barriers", "broken_count", "broken", "recorded", "first")

    changes: int
    """Changes of descriptors that were, or became, valid."""
    invalidations: int
    """TLB invalidations."""
    barriers: int
    """Data synchronization barriers."""
    broken_count: int
    """How often a rule was broken."""
    broken: tuple[BrokenRule, ...]
    """The first 1,000 of these."""
    recorded: int
    """Records since the recording began."""
    first: int
    """The number of the oldest record that is still there: others were overwritten if it is not 0."""


def read_discipline(target: Target) -> Discipline:
    """Check the recording of a target. Raises `RecordingError` without one, other `MachineError`s."""
    namer = Namer((), target.required_kernel().regime)
    recording = Recording(target.recording_path())
    model = TlbModel()
    found: list[Violation] = []
    try:
        # In a machine that can go back, the boot of the other cores is recorded as the first core's.
        others_wait = next((one.written for one in recording.checkpoints), 0)
        for number, record in recording.records(_is_of_translation):
            if others_wait and number >= others_wait:
                model.forget_spaces()
                others_wait = 0
            found += model.feed(record)
        header, first = recording.header, recording.first
    finally:
        recording.close()
    note_overwritten(target, header.written, first)
    if not header.written:
        target.diagnostics.add_note("nothing has been recorded yet")
    broken = tuple(_named(one, namer, target.code) for one in found[:_MOST])
    for one in broken:
        target.diagnostics.add_finding(
            f"{one.what}, {_where(one.change)}", one.expected, f"{one.found}, {_where(one.at)}"
        )
    target.diagnostics.finding_count += len(found) - len(broken)
    return Discipline(
        changes=model.changes,
        invalidations=model.invalidations,
        barriers=model.barriers,
        broken_count=len(found),
        broken=broken,
        recorded=header.written,
        first=first,
        diagnostics=target.diagnostics,
    )


def _is_of_translation(fields: Sequence[Any]) -> bool:
    """Whether a record is one of those that the rules are about."""
    return fields[12] > 0 if fields[9] == STORE else fields[9] not in (EXCEPTION_ENTRY, FRAMES)


def _named(one: Violation, namer: Namer, code: CodeMap | None) -> BrokenRule:
    change = one.change
    if change.kind != STORE:
        what = f"TTBR0_EL1 = {change.new:#x}"
    else:
        (part,) = namer.parts(change)
        what = f"{part.what}: {part.before} -> {part.after}"
    return BrokenRule(what, one.expected, one.found, _instruction(change, code), _instruction(one.at, code))


def _instruction(record: Record, code: CodeMap | None) -> RecordedInstruction:
    place = place_of(code, record.pc)
    names = (None, None, None) if place is None else (place.function, place.file, place.line)
    return RecordedInstruction(record.instructions, record.core, record.pc, *names)


def _where(one: RecordedInstruction) -> str:
    """An instruction in words: `by publish at src/hardware.rs:88 (instruction 12,345)`."""
    name = one.function or f"{one.pc:#x}"
    source = "" if one.file is None else f" at {one.file}:{one.line}"
    return f"by {name}{source} (instruction {one.instructions:,})"
