"""Layouts from an ELF file's DWARF, by pyelftools.

Only the compile units that belong to the wanted crates are parsed: a kernel's file carries the whole of
`core` besides, which nobody asks for. Still this takes a second or so; `cache` keeps the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.elf.elffile import ELFFile

from gdbplugin.layout.elf import ElfError
from gdbplugin.layout.sections import open_plain
from gdbplugin.layout.types import (
    Array,
    Choice,
    Enumeration,
    Field,
    LayoutError,
    Scalar,
    Static,
    Struct,
    Type,
    Variant,
    in_one_line,
)

_KINDS = {
    0x01: "pointer",
    0x02: "boolean",
    0x04: "float",
    0x05: "signed",
    0x06: "signed",
    0x07: "unsigned",
    0x08: "unsigned",
    0x10: "character",
}
_POINTERS = frozenset({"DW_TAG_pointer_type", "DW_TAG_subroutine_type", "DW_TAG_reference_type"})
_RECORDS = frozenset({"DW_TAG_structure_type", "DW_TAG_union_type"})
_UNITS = frozenset({"DW_TAG_compile_unit", "DW_TAG_partial_unit", "DW_TAG_type_unit"})
_CONSTANTS = frozenset(
    {"DW_OP_constu", "DW_OP_consts", *(f"DW_OP_const{size}{kind}" for size in (1, 2, 4, 8) for kind in "us")}
)
# Of a variable that is a bare value, or another for each thread or call: no static's place.
_NOT_IN_MEMORY = frozenset(
    {
        *(
            "DW_OP_stack_value",
            "DW_OP_implicit_value",
            "DW_OP_implicit_pointer",
            "DW_OP_piece",
            "DW_OP_bit_piece",
        ),
        *("DW_OP_form_tls_address", "DW_OP_GNU_push_tls_address", "DW_OP_fbreg", "DW_OP_call_frame_cfa"),
    }
)
_SUPPLEMENTARY = ("DW_FORM_GNU_ref_alt", "DW_FORM_GNU_strp_alt", "DW_FORM_ref_sup", "DW_FORM_strp_sup")
_ADDRESS_MASK = (1 << 64) - 1
# Large, and nobody's kernel.
_LIBRARY = frozenset({"alloc", "compiler_builtins", "core", "panic_abort", "panic_unwind", "std", "unwind"})


def read_statics(
    path: Path, crates: Sequence[str] | None, names: Collection[str] | None = None
) -> tuple[Mapping[str, Static], tuple[str, ...]]:
    """Every static of the crates, by qualified name; and what could not be read, a clause each.

    Without `crates` those of every crate but Rust's own library. With `names` only statics of which one of
    them is the last part of the name: what others are made of is not looked at.
    One part that is not understood takes no other with it. `path` is the file that has the DWARF itself.
    Raises `LayoutError` where it has none, or nothing of it can be read.
    """
    try:
        with open_plain(path) as file:
            elf = ELFFile(file)
            # Not `has_dwarf_info`: for that, unwind tables alone are enough.
            if elf.get_section_by_name(".debug_info") is None:
                raise LayoutError(f"{path} has no debug information")
            reader = _FileReader(path, elf, crates, names)
            reader.read()
    except OSError as error:
        raise LayoutError(f"cannot read {path}: {error.strerror}") from error
    except ElfError as error:
        raise LayoutError(str(error)) from error
    except _UNREADABLE as error:
        raise LayoutError(f"the debug information of {path} cannot be understood: {_why(error)}") from error
    if reader.problems and not reader.statics:
        raise LayoutError(in_one_line(reader.problems))
    return reader.statics, tuple(reader.problems)


class _UnsupportedError(Exception):
    """Debug information of a kind that is not read here. The message is its name."""


# pyelftools raises its own errors for some of what is malformed, and built-in ones for the rest: for a form
# that it does not know, an index beyond its table, a section that is missing.
_UNREADABLE = (
    _UnsupportedError,
    LayoutError,
    ELFError,
    DWARFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


def _why(error: Exception) -> str:
    """What an error names, in words."""
    if isinstance(error, KeyError):
        name = error.args[0] if error.args else ""
        return f"form or abbreviation {name:#x}" if isinstance(name, int) else str(name)
    if isinstance(error, NotImplementedError):
        return str(error).partition(" to dwo")[0]  # pyelftools says so of another kind of file as well.
    if isinstance(error, AssertionError) and not error.args:
        return "a section that it refers to is missing"
    return str(error) or type(error).__name__


class _FileReader:
    """One file: the statics of its units, and what could not be read."""

    def __init__(
        self, path: Path, elf: Any, crates: Sequence[str] | None, names: Collection[str] | None
    ) -> None:
        self.statics: dict[str, Static] = {}
        self.problems: list[str] = []
        self._path = path
        self._crates = crates
        self._names = names
        self._dwarf = elf.get_dwarf_info()
        self._supplement = _supplement_of(elf)

    def read(self) -> None:
        """Read every unit."""
        split = []
        for unit in self._units():
            where = f"unit at {unit.cu_offset:#x}"
            try:
                top = _top_of(unit)
                elsewhere = _split_file(top)
                if elsewhere is not None:
                    split.append(elsewhere)
                elif self._is_wanted(_crate_of(top)):
                    self._read_unit(unit, top)
            except _UNREADABLE as error:
                self._note(where, error)
        if split:
            more = f" and {len(split) - 1} more" if len(split) > 1 else ""
            self.problems.append(
                f"the debug information of {self._path} is split: part of it is in {split[0]}{more}, which "
                "the plugin does not read; build the kernel with -Csplit-debuginfo=off"
            )

    def _is_wanted(self, crate: str) -> bool:
        if self._crates is None:
            return bool(crate) and crate not in _LIBRARY
        return crate in self._crates

    def _read_unit(self, unit: Any, top: Any) -> None:
        reader = _UnitReader(unit, self._note, self._names)
        for static in reader.statics(top):
            self.statics[static.name] = static

    def _units(self) -> Iterator[Any]:
        """The units one after the other; from one whose header is not understood its length leads on."""
        section = self._dwarf.debug_info_sec
        offset = 0
        while offset < section.size:
            try:
                yield self._dwarf.get_CU_at(offset)
            except _UNREADABLE as error:
                self._note(f"unit at {offset:#x}", error)
            following = offset + _unit_size(section.stream, offset)
            if following > section.size:
                self._note(f"unit at {offset:#x}", _UnsupportedError("it ends beyond its section"))
            offset = following

    def _note(self, where: str, error: Exception) -> None:
        """Keep what was not understood, and what can be done about it."""
        why = _why(error)
        if self._supplement is not None and any(form in why for form in _SUPPLEMENTARY):
            # Every unit says the same.
            problem = (
                f"the debug information of {self._path} is partly in a supplementary file, "
                f"{self._supplement}, which the plugin does not read; give the file as it was before dwz"
            )
        else:
            problem = (
                f"the debug information of {self._path} cannot be read: {why} ({where}); "
                "build the kernel with another compiler, or with -Cdwarf-version=4"
            )
        if problem not in self.problems:
            self.problems.append(problem)


def _unit_size(stream: Any, offset: int) -> int:
    """The size in bytes of the unit at `offset`, its length field included; never 0."""
    stream.seek(offset)
    raw = stream.read(12)
    length = int.from_bytes(raw[:4], "little")
    if length == 0xFFFF_FFFF:  # 64-bit DWARF.
        return 12 + int.from_bytes(raw[4:], "little")
    return 4 + length


def _supplement_of(elf: Any) -> str | None:
    """The file that dwz has moved to what several programs share; None where there is none."""
    link = elf.get_section_by_name(".gnu_debugaltlink")
    if link is not None:
        return f"{_text(link.data())} (.gnu_debugaltlink)"
    link = elf.get_section_by_name(".debug_sup")
    # A version of two bytes, and a byte that says whether the file is the supplement itself.
    return None if link is None or link.data()[2:3] == b"\1" else f"{_text(link.data()[3:])} (.debug_sup)"


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _top_of(unit: Any) -> Any:
    """The entry that stands for a whole unit."""
    forms = unit.structs.Dwarf_dw_form
    # pyelftools takes eight bytes for it; DWARF 5, 7.5.5, has four.
    forms["DW_FORM_strx4"] = unit.structs.Dwarf_uint32("")
    return unit.get_top_DIE()


def _split_file(top: Any) -> str | None:
    """The `.dwo` file with the rest of a skeleton unit; None for a unit that is whole."""
    for attribute in ("DW_AT_dwo_name", "DW_AT_GNU_dwo_name"):
        if attribute in top.attributes:
            return _string(top.attributes[attribute])
    return None


def _crate_of(top: Any) -> str:
    """The crate of a compile unit, which rustc names `src/lib.rs/@/CRATE.HASH-cgu.N`."""
    return _name(top).rpartition("/@/")[2].partition(".")[0]


class _UnitReader:
    """One compile unit: its statics, and the types they reach.

    `note` is given the name of a static that could not be read, and why. `names` are as in `read_statics`.
    """

    def __init__(
        self, unit: Any, note: Callable[[str, Exception], None], names: Collection[str] | None = None
    ) -> None:
        self._unit = unit
        self._expressions = DWARFExprParser(unit.structs)
        self._note = note
        self._names = names
        self._types: dict[_Place, Type] = {}
        self._parents: dict[_Place, Any] = {}
        self._ends: dict[_Place, int] = {}

    def statics(self, top: Any) -> Iterator[Static]:
        """The statics in the unit whose top entry is `top`."""
        yield from self._statics_in(top, ())

    def _statics_in(self, parent: Any, path: tuple[str, ...]) -> Iterator[Static]:
        for entry in self._children(parent):
            if entry.tag == "DW_TAG_namespace":
                yield from self._statics_in(entry, (*path, _name(entry)))
            elif entry.tag == "DW_TAG_variable":
                last = _name(entry)
                if self._names is not None and last not in self._names:
                    continue
                name = "::".join((*path, last))
                # Braces are in the names of what the compiler made, such as vtables.
                if "{" in name:
                    continue
                try:
                    address = self._address(entry)
                    static = None if address is None else Static(name, address, self._type_of(entry))
                except _UNREADABLE as error:
                    self._note(name, error)
                    continue
                if static is not None:
                    yield static

    def _address(self, entry: Any) -> int | None:
        """Where a variable always is; None for one that is nowhere, or not always there."""
        location = entry.attributes.get("DW_AT_location")
        if location is None or not isinstance(location.value, list | bytes):
            return None
        try:
            operations = self._expressions.parse_expr(location.value)
        except KeyError as error:
            raise _UnsupportedError(f"operation {error.args[0]:#x}") from error
        stack: list[int] = []
        for operation in operations:
            name, arguments = operation.op_name, operation.args
            if name in ("DW_OP_addrx", "DW_OP_GNU_addr_index"):
                stack.append(self._unit.dwarfinfo.get_addr(self._unit, arguments[0]))
            elif name == "DW_OP_addr" or name in _CONSTANTS:
                stack.append(arguments[0])
            elif name == "DW_OP_plus_uconst" and stack:
                stack.append(stack.pop() + arguments[0])
            elif name == "DW_OP_plus" and len(stack) > 1:
                stack.append(stack.pop() + stack.pop())
            elif name in _NOT_IN_MEMORY or name.startswith(("DW_OP_reg", "DW_OP_breg")):
                return None
            else:
                raise _UnsupportedError(f"operation {name}")
        return stack[-1] & _ADDRESS_MASK if stack else None

    def _type_of(self, entry: Any) -> Type:
        if "DW_AT_type" not in entry.attributes:
            return Scalar("()", 0, "unsigned")
        return self._type(entry.get_DIE_from_attribute("DW_AT_type"))

    def _type(self, entry: Any) -> Type:
        known = self._types.get(_place(entry))
        if known is None:
            known = self._types[_place(entry)] = self._read_type(entry)
        return known

    def _read_type(self, entry: Any) -> Type:
        tag = entry.tag
        if tag == "DW_TAG_base_type":
            kind = _KINDS.get(_number(entry, "DW_AT_encoding"), "unsigned")
            return Scalar(_name(entry), _number(entry, "DW_AT_byte_size"), kind)
        if tag in _POINTERS:
            return Scalar("pointer", self._unit["address_size"], "pointer")
        if tag == "DW_TAG_array_type":
            return self._array(entry)
        if tag == "DW_TAG_enumeration_type":
            return self._enumeration(entry)
        if tag in _RECORDS:
            return self._record(entry)
        if tag in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
            return self._type_of(entry)
        raise _UnsupportedError(f"{tag} for {_name(entry) or 'a type'}")

    def _array(self, entry: Any) -> Type:
        element = self._type_of(entry)
        ranges = [child for child in self._children(entry) if child.tag == "DW_TAG_subrange_type"]
        for child in reversed(ranges):
            if "DW_AT_count" in child.attributes:
                count = _number(child, "DW_AT_count")
            else:
                count = _number(child, "DW_AT_upper_bound") + 1
            element = Array(element, count)
        return element

    def _enumeration(self, entry: Any) -> Type:
        base = self._type_of(entry)
        signed = isinstance(base, Scalar) and base.kind == "signed"
        size = _number(entry, "DW_AT_byte_size")
        values = tuple(
            (_wrapped(_number(child, "DW_AT_const_value"), size, signed), _name(child))
            for child in self._children(entry)
            if child.tag == "DW_TAG_enumerator"
        )
        # As debuggers do: an enum is signed if it has a negative value, whatever integer it is written as.
        return Enumeration(self._qualified(entry), size, any(number < 0 for number, _ in values), values)

    def _record(self, entry: Any) -> Type:
        fields = []
        for child in self._children(entry):
            if child.tag == "DW_TAG_variant_part":
                return self._choice(entry, child)
            if child.tag == "DW_TAG_member":
                fields.append(self._field(child))
        return Struct(self._qualified(entry), _number(entry, "DW_AT_byte_size"), tuple(fields))

    def _field(self, entry: Any) -> Field:
        return Field(_name(entry), _number(entry, "DW_AT_data_member_location"), self._type_of(entry))

    def _choice(self, entry: Any, part: Any) -> Type:
        discriminant = None
        if "DW_AT_discr" in part.attributes:
            member = part.get_DIE_from_attribute("DW_AT_discr")
            place = self._field(member)
            discriminant = Field("", place.offset, place.type)
        size = discriminant.type.size if discriminant else 0
        variants = []
        for child in self._children(part):
            if child.tag == "DW_TAG_variant":
                variants.append(self._variant(child, size))
        return Choice(
            self._qualified(entry), _number(entry, "DW_AT_byte_size"), discriminant, tuple(variants)
        )

    def _variant(self, entry: Any, size: int) -> Variant:
        member = next(child for child in self._children(entry) if child.tag == "DW_TAG_member")
        payload = self._type_of(member)
        if not isinstance(payload, Struct):
            payload = Struct(payload.name, payload.size, (Field("__0", 0, payload),))
        values: tuple[int, ...] = ()
        if "DW_AT_discr_value" in entry.attributes:
            values = (_wrapped(_number(entry, "DW_AT_discr_value"), size, signed=False),)
        return Variant(_name(member), values, payload)

    def _qualified(self, entry: Any) -> str:
        names = [_name(entry)]
        parent = self._parent(entry)
        while parent is not None and parent.tag not in _UNITS:
            names.insert(0, _name(parent))
            parent = self._parent(parent)
        return "::".join(names)

    # Not pyelftools' own ways to children and parents: in a malformed file they may go round for ever.

    def _children(self, entry: Any) -> Iterator[Any]:
        """The entries below one."""
        if not entry.has_children:
            return
        child = _at(entry, entry.offset + entry.size)
        while not child.is_null():
            self._parents[_place(child)] = entry
            yield child
            child = _at(entry, self._end(child))
        self._ends[_place(entry)] = child.offset + child.size

    def _end(self, entry: Any) -> int:
        """Where an entry ends, with all that is below it. Always beyond where it begins."""
        end: int = self._ends.get(_place(entry), 0)
        if end:
            return end
        sibling = entry.attributes.get("DW_AT_sibling")
        if sibling is not None:
            end = entry.get_DIE_from_attribute("DW_AT_sibling").offset
            if end > entry.offset:
                return end
            raise _UnsupportedError("entries in a circle")
        end, depth = entry.offset + entry.size, int(entry.has_children)
        while depth:
            below = _at(entry, end)
            end += below.size
            depth += -1 if below.is_null() else int(below.has_children)
        self._ends[_place(entry)] = end
        return end

    def _parent(self, entry: Any) -> Any:
        """The entry that one is directly below; None for that of a unit."""
        above = entry.cu.get_top_DIE()
        while _place(entry) not in self._parents and above.offset < entry.offset:
            nearest = None
            for child in self._children(above):
                if child.offset <= entry.offset:
                    nearest = child
            if nearest is None:
                raise _UnsupportedError(f"no entry at {entry.offset:#x}")
            above = nearest
        return self._parents.get(_place(entry))


_Place = tuple[int, int]


def _place(entry: Any) -> _Place:
    """What tells an entry from others: type units may have a section of their own."""
    return id(entry.stream), entry.offset


def _at(entry: Any, offset: int) -> Any:
    """The entry at an offset of the unit of another one."""
    return entry.cu.get_DIE_from_refaddr(offset)


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return _string(attribute) if attribute else ""


def _string(attribute: Any) -> str:
    """The text of an attribute; raises `_UnsupportedError` where it is in a place that is not read."""
    if not isinstance(attribute.value, bytes):
        raise _UnsupportedError(str(attribute.form))
    return attribute.value.decode("utf-8", "replace")


def _number(entry: Any, attribute: str) -> int:
    found = entry.attributes.get(attribute)
    if found is None:
        return 0
    if isinstance(found.value, list):  # A block: the constants of 128-bit discriminants.
        return int.from_bytes(bytes(found.value), "little")
    return int(found.value)


def _wrapped(number: int, size: int, signed: bool) -> int:
    """`number` as an integer of `size` bytes, however the compiler chose to write it."""
    number &= (1 << 8 * size) - 1
    if signed and number >> (8 * size - 1):
        number -= 1 << 8 * size
    return number
