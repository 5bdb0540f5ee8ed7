"""The memory access of an A64 instruction (DDI 0487, C4.1), as far as a syndrome can be compared with it.

Decoded are loads and stores of single registers, pairs, exclusives, atomics, literals and vector structures,
and system instructions that take an address. Of other instructions that access memory (SVE, SME, memory
copies) nothing else is known.
"""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.aarch64.registers import bits
from gdbplugin.records import dataclass, replace

STACK_POINTER = 31
"""The number of the stack pointer as a base register."""
ADDRESS_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class MemoryOperation:
    """The memory access of an instruction. None stands for what is not known.

    `size` is that of one register or element, in bytes; `count` is their number. The address is the register
    `base` (None: the PC) plus `offset` bytes plus the register `index`, which is extended as `extend` (the
    option field: UXTW to SXTX) and shifted left by `shift`. If a single general-purpose register is loaded or
    stored, it is `register`; only then are `signed`, `wide` (64 bits) and `ordered` (acquire or release)
    known. `maintenance` marks cache maintenance and address translation, `zeroing` DC ZVA and the like,
    `unprivileged` an access with the permissions of EL0, `exclusive` one that must be aligned as a whole.
    """

    reads: bool | None = None
    writes: bool | None = None
    size: int | None = None
    count: int = 1
    has_address: bool = True
    base: int | None = None
    offset: int = 0
    index: int | None = None
    extend: int = 3
    shift: int = 0
    register: int | None = None
    signed: bool = False
    wide: bool | None = None
    ordered: bool = False
    maintenance: bool = False
    zeroing: bool = False
    unprivileged: bool = False
    exclusive: bool = False

    @property
    def bytes(self) -> int | None:
        """The size of the whole access."""
        return None if self.size is None else self.size * self.count

    def address(self, pc: int, read: Callable[[int, bool], int | None]) -> int | None:
        """The address that the instruction computes at `pc`; None if a register is not known.

        `read` returns a register by its number; its second argument is whether 31 is the stack pointer.
        """
        if not self.has_address:
            return None
        base = pc if self.base is None else read(self.base, not (self.maintenance or self.zeroing))
        index = 0 if self.index is None else read(self.index, False)
        if base is None or index is None:
            return None
        if self.extend & 3 == 2:  # UXTW and SXTW take the lower half.
            index &= 0xFFFF_FFFF
            if self.extend & 4 and index >> 31:
                index -= 1 << 32
        return (base + self.offset + (index << self.shift)) & ADDRESS_MASK

    def __str__(self) -> str:
        """In words: `store of 8 bytes at x1 + 16`."""
        if self.maintenance:
            what = "cache maintenance or address translation"
        else:
            names = {(True, True): "load and store", (True, False): "load", (False, True): "store"}
            what = names.get((bool(self.reads), bool(self.writes)), "access")
        if self.bytes is not None:
            what += f" of {self.bytes} byte{'' if self.bytes == 1 else 's'}"
        if self.unprivileged:
            what += " as EL0"
        return f"{what} at {self.place}" if self.has_address else what

    @property
    def place(self) -> str:
        """How the address is computed: `x1 + 16`."""
        zero = "xzr" if self.maintenance or self.zeroing else "sp"
        text = "the PC" if self.base is None else zero if self.base == STACK_POINTER else f"x{self.base}"
        if self.index is not None:
            half = self.extend & 3 == 2
            name = "zr" if self.index == STACK_POINTER else str(self.index)
            text += f" + {'w' if half else 'x'}{name}"
            text += f" << {self.shift}" if self.shift else ""
        if self.offset:
            text += f" {'-' if self.offset < 0 else '+'} {abs(self.offset)}"
        return text


_UNKNOWN = MemoryOperation(has_address=False)


def memory_operation(word: int) -> MemoryOperation | None:
    """The memory access of an instruction; None if it does not access memory."""
    if bits(word, 27, 27) and not bits(word, 25, 25):
        return _load_or_store(word)
    if word & 0xFFF8_0000 == 0xD508_0000:
        return _system(word)
    # Loads and stores of SVE and SME.
    if bits(word, 31, 31) and bits(word, 28, 25) in (0b0010, 0b0000):
        return _UNKNOWN
    return None


def _system(word: int) -> MemoryOperation | None:
    """SYS: cache maintenance and AT (CRn 7). Some take a set and way or a physical address instead."""
    op1, crn, crm, op2, register = (
        bits(word, high, low) for high, low in ((18, 16), (15, 12), (11, 8), (7, 5), (4, 0))
    )
    if crn != 7:
        return None
    if op1 == 3 and crm == 4:
        return MemoryOperation(reads=False, writes=True, base=register, zeroing=True)
    translates = crm in (8, 9)
    # All operations to the outer cache level (FEAT_OCCMO), such as DC CVAOC, take an address.
    to_outer_cache = op1 == 3 and crm in (11, 15)
    by_address = translates or to_outer_cache or (op1 in (0, 3) and op2 in (1, 3, 5))
    return MemoryOperation(has_address=by_address, base=register, maintenance=True)


def _load_or_store(word: int) -> MemoryOperation:
    group, vector, indexed = bits(word, 29, 28), bits(word, 26, 26), bits(word, 24, 24)
    if group == 0b00:
        if vector:
            return _structures(word)
        return _UNKNOWN if indexed else _exclusive(word)
    if group == 0b01:
        return _ordered_offset(word) if indexed else _literal(word)
    if group == 0b10:
        return _pair(word)
    return _single(word)


def _structures(word: int) -> MemoryOperation:
    if bits(word, 31, 31):
        return _UNKNOWN
    load = bool(bits(word, 22, 22))
    return MemoryOperation(reads=load, writes=not load, base=_base(word))


def _exclusive(word: int) -> MemoryOperation:
    size, load = bits(word, 31, 30), bool(bits(word, 22, 22))
    o2, o1 = bits(word, 23, 23), bits(word, 21, 21)
    found = MemoryOperation(reads=load, writes=not load, size=1 << size, base=_base(word), exclusive=True)
    if o2 and not o1:
        # LDAR, STLR and the like: not exclusives, and of one register.
        return replace(found, register=bits(word, 4, 0), wide=size == 3, ordered=True, exclusive=False)
    if o2:  # CAS.
        return replace(found, reads=True, writes=True)
    if o1 and size < 2:  # CASP.
        return replace(found, reads=True, writes=True, size=4 << bits(word, 30, 30), count=2)
    return replace(found, count=2) if o1 else found


def _ordered_offset(word: int) -> MemoryOperation:
    """LDAPUR and STLUR; the tag stores and memory copies of this group are not decoded."""
    if bits(word, 26, 26) or bits(word, 21, 21) or bits(word, 11, 10):
        return _UNKNOWN
    found = _one_register(word)
    return replace(found, offset=_signed(bits(word, 20, 12), 9), ordered=True)


def _literal(word: int) -> MemoryOperation:
    kind, offset = bits(word, 31, 30), _signed(bits(word, 23, 5), 19) * 4
    if bits(word, 26, 26):
        return (
            MemoryOperation(reads=True, writes=False, size=4 << kind, offset=offset) if kind < 3 else _UNKNOWN
        )
    if kind == 3:
        return _UNKNOWN  # A prefetch, which takes no fault.
    return MemoryOperation(
        reads=True,
        writes=False,
        size=8 if kind == 1 else 4,
        offset=offset,
        register=bits(word, 4, 0),
        signed=kind == 2,
        wide=kind != 0,
    )


def _pair(word: int) -> MemoryOperation:
    kind, vector, load = bits(word, 31, 30), bits(word, 26, 26), bool(bits(word, 22, 22))
    if kind == 3 or (not vector and kind == 1 and not load):
        return _UNKNOWN
    size = 4 << kind if vector else 8 if kind == 2 else 4
    offset = 0 if bits(word, 24, 23) == 0b01 else _signed(bits(word, 21, 15), 7) * size
    return MemoryOperation(reads=load, writes=not load, size=size, count=2, base=_base(word), offset=offset)


def _single(word: int) -> MemoryOperation:
    found = _one_register(word)
    scale = 0 if found.size is None else found.size.bit_length() - 1
    if bits(word, 24, 24):
        return found if found is _UNKNOWN else replace(found, offset=bits(word, 21, 10) << scale)
    form, immediate = bits(word, 11, 10), _signed(bits(word, 20, 12), 9)
    if not bits(word, 21, 21):
        if found is _UNKNOWN:
            return found
        # By `form`: unscaled offset, post-index, unprivileged, pre-index.
        return replace(found, offset=0 if form == 1 else immediate, unprivileged=form == 2)
    if form == 2:
        if found is _UNKNOWN:
            return found
        shift = scale if bits(word, 12, 12) else 0
        return replace(found, index=bits(word, 20, 16), extend=bits(word, 15, 13), shift=shift)
    if bits(word, 26, 26):
        return _UNKNOWN
    if form == 0:
        return _atomic(word)
    if bits(word, 31, 30) != 3:
        return _UNKNOWN
    # LDRAA and LDRAB, whose base is authenticated first.
    return MemoryOperation(reads=True, writes=False, size=8, has_address=False)


def _one_register(word: int) -> MemoryOperation:
    """A load or store of one register with `size` in bits 31:30 and `opc` in bits 23:22."""
    size, kind = bits(word, 31, 30), bits(word, 23, 22)
    common = MemoryOperation(base=_base(word))
    if bits(word, 26, 26):
        if kind & 2 and size:
            return _UNKNOWN
        return replace(common, reads=bool(kind & 1), writes=not kind & 1, size=16 if kind & 2 else 1 << size)
    if (kind == 3 and size >= 2) or (kind == 2 and size == 3):
        return _UNKNOWN  # Not allocated, or a prefetch, which takes no fault.
    return replace(
        common,
        reads=kind > 0,
        writes=kind == 0,
        size=1 << size,
        register=bits(word, 4, 0),
        signed=kind >= 2,
        wide=kind == 2 or (kind < 2 and size == 3),
    )


def _atomic(word: int) -> MemoryOperation:
    size, other, kind = bits(word, 31, 30), bits(word, 15, 15), bits(word, 14, 12)
    if other and kind == 4:  # LDAPR.
        return MemoryOperation(
            reads=True,
            writes=False,
            size=1 << size,
            base=_base(word),
            register=bits(word, 4, 0),
            wide=size == 3,
            ordered=True,
        )
    if other and kind:
        return _UNKNOWN  # Loads and stores of 64 bytes, among others.
    return MemoryOperation(reads=True, writes=True, size=1 << size, base=_base(word), exclusive=True)


def _base(word: int) -> int:
    return bits(word, 9, 5)


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> width - 1 else value
