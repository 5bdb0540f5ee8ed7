"""Every command's reader and view on the pure core, and machines that answer with anything at all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gdbplugin.kernel import (
    check,
    context,
    events,
    fault,
    lazy_list,
    maps,
    pressure_state,
    registers,
    report,
    stack_list,
    statistics,
    translate,
)
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.stopped import Stopped
from gdbplugin.kernel.target import MANAGER, SCHEDULER, Kernel
from gdbplugin.layout.cache import StaticTable
from gdbplugin.layout.types import LayoutError, Static
from gdbplugin.machine import CachedMachine, Machine, MachineError, PhysicalReadError
from gdbplugin.render import check as check_view
from gdbplugin.render import context as context_view
from gdbplugin.render import events as events_view
from gdbplugin.render import fault as fault_view
from gdbplugin.render import lazy as lazy_view
from gdbplugin.render import maps as maps_view
from gdbplugin.render import pressure as pressure_view
from gdbplugin.render import registers as registers_view
from gdbplugin.render import report as report_view
from gdbplugin.render import stacks as stacks_view
from gdbplugin.render import stats as stats_view
from gdbplugin.render import translate as translate_view
from gdbplugin.render.encoding import dumps
from gdbplugin.render.style import Style
from tests.kernel.synthetic import LAZY_BASE, PLACES, POOL_BASE, STATIC_VIRTUAL, TYPES, World

STYLES = (Style(), Style(encoding="ascii", colour=True))
# A hang is what this tells from work: on a busy machine a bounded walk may well take some seconds.
HANG_SECONDS = 20.0
# Beyond so many characters of JSON, a map is wild, and its rows are all alike.
_LARGE = 1_000_000
# The map of a wild table ends at 4,096 tables; a check has spaces of 200 tables each. All else is less.
MOST_READS = 6_000
MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Subject:
    """A command: the reader it has, the view, whether it needs TinyOS, and the words given."""

    name: str
    reader: Callable[..., Any]
    view: Any
    needs_kernel: bool
    words: dict[str, Any] = field(default_factory=dict)


SUBJECTS = (
    Subject("stats", statistics.read_counters, stats_view, True),
    Subject("stacks", stack_list.read_stack_list, stacks_view, True),
    Subject("stacks 1", stack_list.read_stack_list, stacks_view, True, {"id": 1}),
    Subject("lazy", lazy_list.read_lazy_list, lazy_view, True),
    Subject(
        "lazy filtered",
        lazy_list.read_lazy_list,
        lazy_view,
        True,
        {"state": "zero", "asid": 11, "limit": 3},
    ),
    Subject("lazy page", lazy_list.read_lazy_list, lazy_view, True, {"address": LAZY_BASE + 0x3008}),
    Subject("pressure", pressure_state.read_pressure_state, pressure_view, True),
    Subject("context", context.read_context, context_view, True),
    Subject("events", events.read_event_list, events_view, True),
    Subject("events filtered", events.read_event_list, events_view, True, {"stack": 1, "core": 0, "n": 2}),
    Subject("report", report.read_report, report_view, True),
    Subject("check", check.read_check, check_view, True),
    Subject(
        "translate lazy", translate.read_translation, translate_view, False, {"address": LAZY_BASE + 0x3008}
    ),
    Subject(
        "translate kernel", translate.read_translation, translate_view, False, {"address": STATIC_VIRTUAL}
    ),
    Subject("translate asid", translate.read_translation, translate_view, False, {"address": 0, "asid": 12}),
    Subject(
        "translate el2", translate.read_translation, translate_view, False, {"address": 1 << 47, "el": 2}
    ),
    Subject("maps", maps.read_maps, maps_view, False),
    Subject("maps asid", maps.read_maps, maps_view, False, {"asid": 12, "permissions": "rw?"}),
    Subject("maps alias", maps.read_maps, maps_view, False, {"find_physical": POOL_BASE + 0x3000}),
    Subject("registers", registers.read_registers, registers_view, False),
    Subject("registers one", registers.read_registers, registers_view, False, {"name": "TCR_EL1"}),
    Subject("fault", fault.read_fault, fault_view, False),
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
    journal = Journal()
    cached = CachedMachine(machine)
    start = time.monotonic()
    try:
        if subject.needs_kernel:
            shown = subject.reader(Kernel(cached, layout, journal), **subject.words)
        else:
            stopped = Stopped(cached, 0, journal, lambda: Kernel(cached, layout, journal))
            shown = subject.reader(stopped, **subject.words)
        text: str = subject.view.text(shown, journal, STYLES[0])
    except (MachineError, LayoutError) as error:
        assert_one_sentence(str(error))
        return None
    finally:
        assert time.monotonic() - start < HANG_SECONDS, f"{subject.name} takes too long"
    assert text.endswith("\n")
    encoded = dumps(
        {"findings": [vars(entry) for entry in journal.findings], **subject.view.content(shown, journal)}
    )
    if len(encoded) < _LARGE:
        subject.view.text(shown, journal, STYLES[1]).encode("ascii")
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
