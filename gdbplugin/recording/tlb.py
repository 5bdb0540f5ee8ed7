"""The discipline of translation, by a recording: whether the TLB may hold what the tables no longer say.

The rules (DDI 0487, D8.16 and D8.17):

- A descriptor that was valid becomes another valid one only by way of an invalid one, if it then maps
  something else (*break before make*).
- Between the two, and before the address is used again, the old translation is invalidated in the TLB of each
  core that may hold it: a DSB that completes the store, a TLBI of the right scope, a DSB that completes that.
- So it is before a frame that was mapped is mapped elsewhere.
- A descriptor that became valid is followed by a DSB before the space is used.
- An ASID is given to other tables only after it was invalidated.

What a core's TLB may hold is followed from its TTBR0 writes and its TLBIs, by the order of the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gdbplugin.recording.instructions import Invalidation, completes_all, completes_stores, register_of
from gdbplugin.recording.ring import (
    DATA_BARRIER,
    EXCEPTION_RETURN,
    STORE,
    SYSTEM_WRITE,
    TLB_INVALIDATE,
    Record,
)
from gdbplugin.records import NamedTuple

_VALID, _TABLE_OR_PAGE = 1, 2
_LAST_LEVEL = 3
_PAGE = 4096
_OUTPUT = (1 << 48) - _PAGE
_ASID_SHIFT = 48
_UPPER = 1 << 55
# AttrIndx, NS, SH, nG, contiguous: changing them, or the output address, needs break before make.
_ATTRIBUTES = 0x1C | 1 << 5 | 3 << 8 | 1 << 11 | 1 << 52
# AP[2] (read-only), PXN, UXN: setting one takes a permission away; so does clearing AP[1] (EL0).
_FORBIDDING, _ALLOWING = 1 << 7 | 3 << 53, 1 << 6


class Violation(NamedTuple):
    """A rule that was broken: the change that it is about, and the instruction that broke it."""

    change: Record
    expected: str
    found: str
    at: Record


class _Pending:
    """A change of a descriptor that TLBs may not know of yet.

    For each core, how far it has come: 0 written, 1 stores completed, 2 invalidated, 3 all completed.
    """

    def __init__(self, change: Record, cores: Iterable[int]) -> None:
        self.change = change
        self.level = change.table_level or 0
        self.size = _PAGE << 9 * (_LAST_LEVEL - self.level)
        self.is_table = self.level < _LAST_LEVEL and change.old & _TABLE_OR_PAGE != 0
        self.output = None if self.is_table else change.old & _OUTPUT
        self.steps = dict.fromkeys(cores, 0)
        self.completed = False
        """Whether a DSB of the core that wrote has completed the store."""

    def has(self, address: int) -> bool:
        """Whether an input address, as TLBI gives it, is among those of the descriptor."""
        start = self.change.input & (1 << 56) - 1
        return start <= address < start + self.size


class TlbModel:
    """Follows tables and TLBs. `feed` it all records in order; it yields what breaks a rule."""

    def __init__(self) -> None:
        self.changes = self.invalidations = self.barriers = 0
        self._pending: dict[tuple[int, int, int], _Pending] = {}
        self._unpublished: dict[int, list[Record]] = {}
        self._ttbr0: dict[int, int] = {}
        self._ttbr1: dict[int, int] = {}
        self._enabled: set[int] = set()
        self._held: dict[int, dict[int, int]] = {}
        """For each core: the root whose translations its TLB may hold, by ASID."""
        self._reused: dict[int, dict[int, Record]] = {}
        """For each core: TTBR0 writes that gave an ASID to other tables, by ASID, until it is invalidated."""

    def feed(self, record: Record) -> Iterator[Violation]:
        """Take over a record."""
        if record.kind == STORE and record.table_level is not None:
            yield from self._change(record)
        elif record.kind == SYSTEM_WRITE:
            self._control(record)
        elif record.kind == TLB_INVALIDATE:
            self._invalidate(record)
        elif record.kind == DATA_BARRIER:
            self._complete(record)
        elif record.kind == EXCEPTION_RETURN:
            yield from self._use(record)

    def forget_spaces(self) -> None:
        """Take it that no TLB holds anything: whose tables were in TTBR0 so far is not known."""
        self._held = {core: {} for core in self._held}
        self._reused.clear()

    def _change(self, record: Record) -> Iterator[Violation]:
        level = record.table_level or 0
        was, is_now = record.old & _VALID, record.new & _VALID
        if not was and not is_now:
            return
        self.changes += 1
        key = (record.root, record.input, level)
        if is_now:
            earlier = self._pending.get(key)
            if earlier is not None:
                yield Violation(earlier.change, "invalidated in the TLB before", "valid again", record)
                del self._pending[key]
            yield from self._reuse(record, level)
            self._unpublished.setdefault(record.core, []).append(record)
        if not was:
            return
        if is_now and not _is_forbidden(record.old, record.new) and not _is_other(record, level):
            return
        cores = [core for core in self._held if self._may_hold(core, record)]
        if not cores:
            return
        if is_now and _is_other(record, level):
            yield Violation(record, "invalid in between (break before make)", "changed at once", record)
            return
        self._pending[key] = _Pending(record, cores)

    def _reuse(self, record: Record, level: int) -> Iterator[Violation]:
        """A frame that a TLB may still have at its former place is mapped elsewhere."""
        if level != _LAST_LEVEL:
            return
        output = record.new & _OUTPUT
        for key, one in list(self._pending.items()):
            if one.output == output and not one.change.new & _VALID and one.change.input != record.input:
                yield Violation(
                    one.change, "invalidated in the TLB before", f"{output:#x} is mapped elsewhere", record
                )
                del self._pending[key]

    def _may_hold(self, core: int, record: Record) -> bool:
        """Whether the TLB of a core may hold what a descriptor says."""
        if core not in self._enabled:
            return False
        if record.input & _UPPER:
            return self._ttbr1.get(core, 0) & _OUTPUT == record.root
        return record.root in self._held[core].values()

    def _control(self, record: Record) -> None:
        what, core = register_of(record.virtual), record.core
        held = self._held.setdefault(core, {})
        if what == "SCTLR_EL1":
            (self._enabled.add if record.new & 1 else self._enabled.discard)(core)
        elif what == "TTBR1_EL1":
            self._ttbr1[core] = record.new
        elif what == "TTBR0_EL1":
            root, asid = record.new & _OUTPUT, record.new >> _ASID_SHIFT
            if core in self._enabled and held.get(asid, root) != root:
                self._reused.setdefault(core, {})[asid] = record
            self._ttbr0[core], held[asid] = record.new, root

    def _invalidate(self, record: Record) -> None:
        self.invalidations += 1
        what = Invalidation(record.virtual, record.new)
        for core in self._held if what.is_broadcast else (record.core,):
            held = self._held.get(core, {})
            roots = {root for asid, root in held.items() if what.asid in (None, asid)}
            for one in self._pending.values():
                if core in one.steps and one.completed and self._reaches(what, one, roots):
                    one.steps[core] = 2
            if what.address is None:
                reused = self._reused.get(core, {})
                for asid in [asid for asid in reused if what.asid in (None, asid)]:
                    del reused[asid]
                current = self._ttbr0.get(core, 0) >> _ASID_SHIFT
                for asid in [asid for asid in held if what.asid in (None, asid) and asid != current]:
                    del held[asid]

    @staticmethod
    def _reaches(what: Invalidation, one: _Pending, roots: set[int]) -> bool:
        """Whether an invalidation is of what a descriptor said."""
        if one.change.input & _UPPER:
            is_of_space = what.asid is None or what.address is not None
        else:
            is_of_space = one.change.root in roots
        is_of_address = what.address is None or one.has(what.address)
        return is_of_space and is_of_address and not (what.is_of_last_level and one.is_table)

    def _complete(self, record: Record) -> None:
        self.barriers += 1
        if completes_stores(record.virtual):
            self._unpublished.pop(record.core, None)
        for key, one in list(self._pending.items()):
            if one.change.core == record.core and completes_stores(record.virtual):
                one.completed = True
            for core, step in one.steps.items():
                # The core that invalidates waits, for the others' TLBs too.
                if step == 2 and completes_all(record.virtual):
                    one.steps[core] = 3
            if all(step == 3 for step in one.steps.values()):
                del self._pending[key]

    def _use(self, record: Record) -> Iterator[Violation]:
        """An exception return: the current space may be used."""
        root = self._ttbr0.get(record.core, 0) & _OUTPUT
        asid = self._ttbr0.get(record.core, 0) >> _ASID_SHIFT
        reuse = self._reused.get(record.core, {}).pop(asid, None)
        if reuse is not None:
            yield Violation(reuse, f"ASID {asid} invalidated before", "the space is used", record)
        for key, one in list(self._pending.items()):
            if one.change.root == root and record.core in one.steps:
                yield Violation(one.change, "invalidated in the TLB before", "the space is used", record)
                del self._pending[key]
        for change in self._unpublished.pop(record.core, []):
            if change.root == root:
                yield Violation(change, "a DSB before", "the space is used", record)


def _is_other(record: Record, level: int) -> bool:
    """Whether two valid descriptors map other memory, or map it otherwise than by permissions."""
    old, new = record.old, record.new
    kinds = [word & _TABLE_OR_PAGE if level < _LAST_LEVEL else 0 for word in (old, new)]
    if kinds[0] != kinds[1]:
        return True
    changed = old ^ new
    return bool(changed & _OUTPUT or (changed & _ATTRIBUTES and not kinds[0]))


def _is_forbidden(old: int, new: int) -> bool:
    """Whether a permission that a descriptor gave is taken away."""
    return bool(new & ~old & _FORBIDDING or old & ~new & _ALLOWING)
