"""Every command's reader and view on the pure core, and machines that answer with anything at all."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gdbplugin.commands import COMMANDS, answers
from gdbplugin.commands.descriptor import Command
from gdbplugin.commands.parsing import parse, split
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.kernel.target import Target
from gdbplugin.layout.cache import StaticTable
from gdbplugin.layout.types import LayoutError, Static
from gdbplugin.machine import CachedMachine, Machine, MachineError, PhysicalReadError
from gdbplugin.render import Style
from tests.commands.forms import json_text
from tests.kernel.synthetic import LAZY_BASE, PLACES, POOL_BASE, STATIC_VIRTUAL, TYPES, World

STYLES = (Style(), Style(encoding="ascii", colour=True))
# A hang is what this tells from work: on a busy machine a bounded walk may well take some seconds.
HANG_SECONDS = 20.0
# Beyond so many characters of JSON, a map is wild, and its rows are all alike.
_LARGE = 1_000_000
# The map of a wild table ends at 4,096 tables; a check has spaces of 200 tables each. All else is less.
MOST_READS = 6_000
MOST_BYTES = 32 << 20

# For what the commands write.
_WRITTEN = tempfile.mkdtemp(prefix="tinyos-")
atexit.register(shutil.rmtree, _WRITTEN, ignore_errors=True)


@dataclass(frozen=True)
class Subject:
    """A command line, without its `tinyos`."""

    name: str
    line: str

    @property
    def command(self) -> Command:
        return next(command for command in COMMANDS if command.word == self.line.partition(" ")[0])

    @property
    def values(self) -> dict[str, Any]:
        return parse(self.command, split(self.line.partition(" ")[2]))

    def read(self, target: Target) -> Diagnosed:
        return self.command.read(target, self.values)

    def show(self, found: Diagnosed, style: Style) -> str:
        if self.command.asks(self.values):
            return self._answer(found, self.values, style)
        return self.command.form.show(found, style)

    def json(self, found: Diagnosed) -> str:
        if self.command.asks(self.values):
            return self._answer(found, {**self.values, "json": True}, STYLES[0])
        text: str = json_text(self.command.form, found)
        return text

    def _answer(self, found: Diagnosed, values: dict[str, Any], style: Style) -> str:
        return answers.printed(answers.question(self.command, values), values, found, style)


SUBJECTS = (
    Subject("stats", "stats"),
    Subject("stacks", "stacks"),
    Subject("stacks 1", "stacks 1"),
    Subject("lazy", "lazy"),
    Subject("lazy filtered", "lazy --state zero --asid 11 --limit 3"),
    Subject("lazy page", f"lazy {LAZY_BASE + 0x3008:#x}"),
    Subject("pressure", "pressure"),
    Subject("context", "context"),
    Subject("events", "events"),
    Subject("events filtered", "events 2 --stack 1 --core 0"),
    Subject("report", "report"),
    Subject("check", "check"),
    Subject("diff", "diff now now"),
    Subject("translate lazy", f"translate {LAZY_BASE + 0x3008:#x}"),
    Subject("translate kernel", f"translate {STATIC_VIRTUAL:#x}"),
    Subject("translate asid", "translate 0 --asid 12"),
    Subject("translate el2", f"translate {1 << 47:#x} --el 2"),
    Subject("lint", "lint"),
    Subject("lint some", "lint --ignore wxn"),
    Subject("maps", "maps"),
    Subject("maps asid", "maps --asid 12 --permissions rw?"),
    Subject("maps alias", f"maps --find-physical {POOL_BASE + 0x3000:#x}"),
    Subject("where lazy", f"where {LAZY_BASE + 0x3008:#x}"),
    Subject("where kernel", f"where {STATIC_VIRTUAL + 0x1008:#x}"),
    Subject("where physical", f"where --physical {POOL_BASE + 0x3008:#x}"),
    Subject("where register", "where TTBR0_EL1"),
    Subject("search", f"search {POOL_BASE:#x} --in {STATIC_VIRTUAL:#x}+0x10000"),
    Subject(
        "search pointers", f"search --pointer-to {LAZY_BASE:#x}+0x100000 --in {STATIC_VIRTUAL:#x}+0x200000"
    ),
    Subject("registers", "registers"),
    Subject("registers one", "registers TCR_EL1"),
    Subject("fault", "fault"),
    Subject("tasks", "tasks"),
    Subject("tasks one", "tasks 1"),
    Subject("backtrace", "backtrace"),
    Subject("backtrace all", "backtrace --all"),
    Subject(
        "stacks asked", "stacks --where current_size % 4K == 0 or growth_count > 1 / id --sort -owner,id"
    ),
    Subject("lazy grouped", "lazy --group state,owner --sort -rows"),
    Subject("maps asked", "maps --where 'start & 0xfff == 0 and \"s\" in owner' --sort -size,start"),
    Subject("events grouped", "events --group kind,core"),
    Subject(
        "tasks asked", "tasks --where 'startswith(lower(name), \"w\")' --columns name,state,wake_time,pc"
    ),
    Subject("timeline", f"timeline {_WRITTEN}/timeline"),
)


class WatchedMachine:
    """A machine that counts what is read of it, and may answer for memory that is not there.

    `beyond` makes the bytes of memory that the other machine does not have; None leaves it absent.
    """

    def __init__(self, machine: Machine, beyond: Callable[[int, int], bytes] | None = None) -> None:
        self._machine = machine
        self._beyond = beyond
        self.reads = 0
        self.bytes = 0

    @property
    def cores(self) -> Sequence[int]:
        return self._machine.cores

    def register(self, name: str, core: int) -> int | None:
        return self._machine.register(name, core)

    def read_physical(self, address: int, length: int) -> bytes:
        self.reads += 1
        self.bytes += length
        assert self.reads <= MOST_READS, "reads without an end"
        assert self.bytes <= MOST_BYTES, "bytes without an end"
        try:
            return self._machine.read_physical(address, length)
        except PhysicalReadError:
            if self._beyond is None or not 0 <= address < 1 << 48:
                raise
            return self._beyond(address, length)


def statics(world: World) -> StaticTable:
    return StaticTable(
        {name: Static(name, STATIC_VIRTUAL + PLACES[name], type_) for name, type_ in world.types.items()}
    )


def run(subject: Subject, machine: Machine, layout: StaticTable) -> str | None:
    """The command's text, or None where it said in one sentence why there is none.

    Anything but the package's own errors, or an object that is no JSON, fails the test.
    """
    diagnostics = Diagnostics()
    cached = CachedMachine(machine)
    start = time.monotonic()
    try:
        target = Target(cached, 0, diagnostics, lambda: Kernel(cached, layout, diagnostics))
        shown = subject.read(target)
        assert shown.diagnostics is diagnostics, "findings and notes are lost"
        text = subject.show(shown, STYLES[0])
    except (MachineError, LayoutError) as error:
        assert_one_sentence(str(error))
        return None
    finally:
        assert time.monotonic() - start < HANG_SECONDS, f"{subject.name} takes too long"
    assert text.endswith("\n")
    encoded = subject.json(shown)
    if len(encoded) < _LARGE:
        subject.show(shown, STYLES[1]).encode("ascii")
        assert_plain(json.loads(encoded))
    return text


def assert_one_sentence(message: str) -> None:
    assert message
    assert "\n" not in message
    assert len(message) < 500, message


def assert_plain(value: object) -> None:
    """No key of an object may be what Python makes of a None."""
    if isinstance(value, dict):
        assert "null" not in value
        assert "None" not in value
        for entry in value.values():
            assert_plain(entry)
    elif isinstance(value, list):
        for entry in value:
            assert_plain(entry)


MANAGER_RANGE = (PLACES[MANAGER], PLACES[MANAGER] + TYPES[MANAGER].size)
SCHEDULER_RANGE = (PLACES[SCHEDULER], PLACES[SCHEDULER] + TYPES[SCHEDULER].size)
