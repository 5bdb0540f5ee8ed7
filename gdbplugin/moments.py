"""The moments that can be compared, by their words: now, a stop that was kept, a checkpoint, a dump.

`KINDS` has each kind of moment: its word and how it is read. A further kind is one more entry there.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.diff import compare
from gdbplugin.kernel.diff_rows import KINDS as KINDS_OF_OBJECTS
from gdbplugin.kernel.diff_rows import Difference
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.moment import Moment, read_moment
from gdbplugin.kernel.target import Target
from gdbplugin.machine import CachedMachine, MachineError, SelectionError
from gdbplugin.records import NamedTuple, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from gdbplugin.kernel.during import During

NOW = "now"
LAST_STOP = "$tinyos_stop(-1)"
_STOP = re.compile(r"\$tinyos_stop\(\s*(-?\d{1,9})\s*\)")


class MomentKind(NamedTuple):
    """A kind of moment: how it is written, whether a word is one, and how it is read."""

    usage: str
    matches: Callable[[Target, str], bool]
    read: Callable[[Target, str], Moment]


def read_difference(
    target: Target,
    before: str | os.PathLike[str] | Moment | None,
    after: str | os.PathLike[str] | Moment | None,
    kinds: Sequence[str] = (),
    limit: int | None = None,
) -> Difference:
    """What changed from one moment to another, in the kinds of objects given, or in all.

    By default from the last stop that was kept, to now. Raises `SelectionError` for a moment that does not
    exist, and a `MachineError` for one that cannot be read.
    """
    unknown = sorted(set(kinds) - set(KINDS_OF_OBJECTS))
    if unknown:
        raise SelectionError(f"no kind of object {unknown[0]} (known: {', '.join(KINDS_OF_OBJECTS)})")
    first = moment_of(target, LAST_STOP if before is None else before)
    second = moment_of(target, NOW if after is None else after)
    found = compare(first, second, kinds or KINDS_OF_OBJECTS)
    target.diagnostics.merge(found.diagnostics)
    return replace(found, limit=limit, diagnostics=target.diagnostics)


def moment_of(target: Target, given: str | os.PathLike[str] | Moment) -> Moment:
    """The moment that a word stands for; one that was read before as it is."""
    if isinstance(given, Moment):
        return given
    word = str(given)
    return next(kind for kind in KINDS if kind.matches(target, word)).read(target, word)


def read_now(target: Target, label: str = NOW) -> Moment:
    """The stopped machine, which is kept as this stop's moment."""
    kernel = target.required_kernel()
    moment: Moment = kernel.cached(f"moment {label}", lambda: read_moment(kernel, label))
    kernel.history.keep_moment(moment)
    return moment


def _read_stop(target: Target, word: str) -> Moment:
    found = _STOP.fullmatch(word)
    number = int(found[1]) if found is not None else 0
    if number >= 0:
        raise SelectionError(f'"{word}": give a negative number, -1 for the stop before this one')
    kept: list[Moment] = target.required_kernel().history.earlier_moments
    if not kept:
        raise MachineError(f"no earlier stop was kept: {target.how_to_keep_stops}")
    if -number > len(kept):
        count = "1 earlier stop was" if len(kept) == 1 else f"{len(kept)} earlier stops were"
        raise MachineError(f"{word}: only {count} kept")
    return replace(kept[number], label=word)


def _is_checkpoint(target: Target, word: str) -> bool:
    from gdbplugin.recording.travel import is_checkpoint

    return is_checkpoint(target, word)


def _read_checkpoint(target: Target, word: str) -> Moment:
    """A checkpoint: the machine goes there, and comes back."""
    from gdbplugin.recording.travel import visit

    layout = target.program()[1]
    return visit(target, word, lambda machine: read_moment(Kernel(machine, layout, Diagnostics()), word))


def _read_dump(target: Target, word: str) -> Moment:
    """A dump of the kernel whose program is loaded. The file is closed again."""
    # Not at the top: most moments are no dumps.
    from pathlib import Path

    from gdbplugin.dump.core_file import DumpError
    from gdbplugin.dump.foreign import difference_from, open_dump
    from gdbplugin.dump.machine import DumpMachine

    path = Path(word).expanduser()
    program = target.program()
    try:
        _, converted = open_dump(path, {}, program)
        place = path if converted is None else Path(f"/proc/self/fd/{converted.fileno()}")
        machine = DumpMachine(place)
    except DumpError as error:
        raise MachineError(str(error)) from error
    try:
        difference = difference_from(program[0], machine)
        if difference:
            raise MachineError(f"{path} is a dump of another kernel: {difference}")
        return read_moment(Kernel(CachedMachine(machine), program[1], Diagnostics()), word)
    finally:
        machine.file.close()
        if converted is not None:
            converted.close()


def read_during(target: Target, command: str, kinds: Sequence[str] = (), limit: int | None = None) -> During:
    """Have the debugger carry out a command; returns what changed during it, also if the command fails.

    Of TinyOS it is what `read_difference` compares, and the events; of another kernel, its mappings. Raises a
    `MachineError` if the machine cannot be read before or after it.
    """
    # Not at the top: `diff` does not need them.
    from gdbplugin.kernel.during import During
    from gdbplugin.kernel.events import EventList

    command = command.strip()
    if not command:
        raise SelectionError("COMMAND is missing: give a command of GDB")
    if command.removeprefix("tinyos ").split()[0] == "during":
        raise SelectionError("`during` takes a command of GDB, not another `during`")
    if command.endswith("&"):
        raise SelectionError(f"`{command}` would go on in the background: give it without the &")
    if target.kernel is None:
        return _during_other(target, command, limit)
    before = replace(read_now(target), label=f"before `{command}`")
    run = target.run_command(command)
    after = read_now(target)
    found = compare(before, replace(after, label="after it"), kinds or KINDS_OF_OBJECTS)
    target.diagnostics.merge(found.diagnostics)
    found = replace(found, limit=limit, diagnostics=target.diagnostics)
    new = tuple(event for event in after.events.events if (event.sequence or 0) > before.recorded)
    listed = EventList(
        after.events.recorded, len(after.events.events), len(new), new, after.names, after.clock, None
    )
    return During(command, *run, found, listed, None, limit, diagnostics=target.diagnostics)


def _during_other(target: Target, command: str, limit: int | None) -> During:
    """What changed in the mappings of another kernel."""
    from gdbplugin.kernel.diff_maps import map_changes, read_map_moment
    from gdbplugin.kernel.during import During

    before = read_map_moment(target)
    run = target.run_command(command)
    after = read_map_moment(target)
    for moment, when in ((before, "before"), (after, "after")):
        if moment.stopped_at is not None:
            target.diagnostics.add_note(
                f"the map {when} the command was read only up to {moment.stopped_at:#x}: it is larger than "
                "is read at once"
            )
    for table in sorted(before.spaces.keys() ^ after.spaces.keys()):
        when = "before" if table in before.spaces else "after"
        target.diagnostics.add_note(f"a core had the table {table:#x} only {when} the command: not compared")
    changes = tuple(map_changes(before, after))
    return During(command, *run, None, None, changes, limit, diagnostics=target.diagnostics)


KINDS = (
    MomentKind(NOW, lambda _, word: word == NOW, read_now),
    MomentKind("$tinyos_stop(-N)", lambda _, word: word.startswith("$tinyos_stop"), _read_stop),
    MomentKind("CHECKPOINT", _is_checkpoint, _read_checkpoint),
    # Any other word is the path of a file.
    MomentKind("FILE", lambda *_: True, _read_dump),
)
"""Every kind of moment; the first that takes a word is its kind."""
