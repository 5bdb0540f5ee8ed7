"""The plugin's objects as a session returns them: what each `tinyos` command shows, as a frozen dataclass."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.check_outcome import Check
from gdbplugin.kernel.context import Context, read_context
from gdbplugin.kernel.events import EventList, read_event_list
from gdbplugin.kernel.fault import Fault, read_fault
from gdbplugin.kernel.lazy_list import LazyList, read_lazy_list
from gdbplugin.kernel.maps import AddressMap, read_maps
from gdbplugin.kernel.pressure_state import PressureState, read_pressure_state
from gdbplugin.kernel.registers import Registers, read_registers
from gdbplugin.kernel.report import Report, read_report
from gdbplugin.kernel.stack_list import StackList, read_stack_list
from gdbplugin.kernel.statistics import Counters, read_counters
from gdbplugin.kernel.translate import AddressTranslation, read_translation
from gdbplugin.session.reading import Address, Reading


class Readable(Protocol):
    """A session, as far as objects are read from it."""

    def reading(self) -> AbstractContextManager[Reading]:
        """The stopped kernel; held still for the length of the `with` if it runs."""


class Objects:
    """What the plugin shows, as values. Each method is one `tinyos` command, its arguments the command's.

    A running target is held still for the moment. `findings` and `notes` of what is returned are those that
    the command prints; the list-like ones can be iterated. Raises `ReadFailedError` where there is no such
    object, or the session's other errors.
    """

    def stats(self: Readable) -> Counters:
        """The counters, and how they changed since `stats` or `report` was last called at an earlier stop."""
        with self.reading() as reading:
            return reading.of_kernel(read_counters)

    def stacks(self: Readable, id: int | None = None) -> StackList:  # noqa: A002 (the command's word for it)
        """Every dynamic stack, those of ended tasks too; or one, with its events and mapped pages."""
        with self.reading() as reading:
            return reading.of_kernel(read_stack_list, id=id)

    def lazy(
        self: Readable,
        address: Address | None = None,
        *,
        state: str | None = None,
        asid: int | None = None,
        limit: int | None = None,
    ) -> LazyList:
        """The lazy pages of a state (pending, zero, allocated) or an ASID; or the one at an address."""
        with self.reading() as reading:
            place = None if address is None else reading.address(address)
            return reading.of_kernel(read_lazy_list, address=place, state=state, asid=asid, limit=limit)

    def pressure(self: Readable) -> PressureState:
        """The level of memory pressure, the frames, and the strategies against it."""
        with self.reading() as reading:
            return reading.of_kernel(read_pressure_state)

    def context(self: Readable) -> Context:
        """What each core translates by, and the address spaces."""
        with self.reading() as reading:
            return reading.of_kernel(read_context)

    def events(
        self: Readable,
        n: int | None = None,
        *,
        kind: str | None = None,
        stack: int | None = None,
        asid: int | None = None,
        core: int | None = None,
        since_stop: bool = False,
    ) -> EventList:
        """The newest `n` events (32) that pass the filters, oldest first."""
        with self.reading() as reading:
            return reading.of_kernel(
                read_event_list, n=n, kind=kind, stack=stack, asid=asid, core=core, since_stop=since_stop
            )

    def translate(
        self: Readable,
        address: Address,
        *,
        core: int | None = None,
        el: int | None = None,
        ttbr: int | None = None,
        asid: int | None = None,
        stage: int | None = None,
    ) -> AddressTranslation:
        """The walk of the translation tables for one address, and what a read from there comes to."""
        with self.reading() as reading:
            return reading.of_stopped(
                read_translation,
                address=reading.address(address),
                core=core,
                el=el,
                ttbr=ttbr,
                asid=asid,
                stage=stage,
            )

    def maps(
        self: Readable,
        *,
        range: tuple[Address, Address] | None = None,  # noqa: A002 (the command's word for it)
        permissions: str | None = None,
        owner: str | None = None,
        find_physical: Address | None = None,
        limit: int | None = None,
        core: int | None = None,
        el: int | None = None,
        ttbr: int | None = None,
        asid: int | None = None,
        stage: int | None = None,
    ) -> AddressMap:
        """Every mapped range of an address space and what it is; `range` is a start and an exclusive end."""
        with self.reading() as reading:
            return reading.of_stopped(
                read_maps,
                reading.symbols,
                range=None if range is None else (reading.address(range[0]), reading.address(range[1])),
                permissions=permissions,
                owner=owner,
                find_physical=None if find_physical is None else reading.address(find_physical),
                limit=limit,
                core=core,
                el=el,
                ttbr=ttbr,
                asid=asid,
                stage=stage,
            )

    def registers(self: Readable, name: str | None = None, *, core: int | None = None) -> Registers:
        """System registers by their fields: all, one, or those whose names begin so."""
        with self.reading() as reading:
            return reading.of_stopped(read_registers, name=name, core=core)

    def fault(self: Readable, *, core: int | None = None) -> Fault:
        """The last exceptions of a core, explained; what stopped the kernel, and which tasks ended by one."""
        with self.reading() as reading:
            return reading.of_stopped(read_fault, reading.symbols, reading.disassembler(), core=core)

    def check(self: Readable) -> Check:
        """The kernel's records and its own half held against the tables; `findings` has what is wrong."""
        with self.reading() as reading:
            return reading.of_kernel(read_check, symbols=reading.symbols)

    def report(self: Readable) -> Report:
        """All of it at one stop."""
        with self.reading() as reading:
            return reading.of_kernel(read_report)
