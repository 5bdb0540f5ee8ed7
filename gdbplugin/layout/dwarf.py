"""Layouts from an ELF file's DWARF, by pyelftools.

Only the compile units that belong to the wanted crates are parsed: a kernel's file carries the whole of
`core` besides, which nobody asks for. Still this takes a second or so; `cache` keeps the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.elf.elffile import ELFFile

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


def read_statics(path: Path, crates: Sequence[str]) -> Mapping[str, Static]:
    """Every static of the crates, by qualified name.

    Raises `LayoutError` where the file has no DWARF, or DWARF that cannot be understood.
    """
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            # Not `has_dwarf_info`: for that, unwind tables alone are enough.
            if elf.get_section_by_name(".debug_info") is None:
                raise LayoutError(f"{path} has no debug information")
            dwarf = elf.get_dwarf_info()
            statics: dict[str, Static] = {}
            for unit in dwarf.iter_CUs():
                if _crate_of(unit) in crates:
                    reader = _UnitReader(unit, DWARFExprParser(unit.structs))
                    statics.update((static.name, static) for static in reader.statics())
            return statics
    except OSError as error:
        raise LayoutError(f"cannot read {path}: {error.strerror}") from error
    except (ELFError, DWARFError) as error:
        raise LayoutError(f"the debug information of {path} cannot be understood: {error}") from error


def has_debug_information(path: Path) -> bool:
    """Whether a file has DWARF at all; raises `LayoutError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return ELFFile(file).get_section_by_name(".debug_info") is not None
    except OSError as error:
        raise LayoutError(f"cannot read {path}: {error.strerror}") from error
    except ELFError as error:
        raise LayoutError(f"{path} is not a whole ELF file: {error}") from error


def _crate_of(unit: Any) -> str:
    """The crate of a compile unit, which rustc names `src/lib.rs/@/CRATE.HASH-cgu.N`."""
    attribute = unit.get_top_DIE().attributes.get("DW_AT_name")
    name = attribute.value.decode("utf-8", "replace") if attribute else ""
    return str(name.rpartition("/@/")[2].partition(".")[0])


class _UnitReader:
    """One compile unit: its statics, and the types they reach."""

    def __init__(self, unit: Any, expressions: Any) -> None:
        self._unit = unit
        self._expressions = expressions
        self._types: dict[int, Type] = {}

    def statics(self) -> Iterator[Static]:
        yield from self._statics_in(self._unit.get_top_DIE(), ())

    def _statics_in(self, parent: Any, path: tuple[str, ...]) -> Iterator[Static]:
        for entry in parent.iter_children():
            if entry.tag == "DW_TAG_namespace":
                yield from self._statics_in(entry, (*path, _name(entry)))
            elif entry.tag == "DW_TAG_variable":
                address = self._address(entry)
                # Braces are in the names of what the compiler made, such as vtables.
                if address is not None and "{" not in "".join((*path, _name(entry))):
                    yield Static("::".join((*path, _name(entry))), address, self._type_of(entry))

    def _address(self, entry: Any) -> int | None:
        location = entry.attributes.get("DW_AT_location")
        if location is None or not isinstance(location.value, list):
            return None
        operations = self._expressions.parse_expr(location.value)
        if len(operations) == 1 and operations[0].op_name == "DW_OP_addr":
            return int(operations[0].args[0])
        return None

    def _type_of(self, entry: Any) -> Type:
        if "DW_AT_type" not in entry.attributes:
            return Scalar("()", 0, "unsigned")
        return self._type(entry.get_DIE_from_attribute("DW_AT_type"))

    def _type(self, entry: Any) -> Type:
        known = self._types.get(entry.offset)
        if known is None:
            known = self._types[entry.offset] = self._read_type(entry)
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
        raise LayoutError(f"debug information of an unknown kind, {tag}, for {_name(entry) or 'a type'}")

    def _array(self, entry: Any) -> Type:
        element = self._type_of(entry)
        ranges = [child for child in entry.iter_children() if child.tag == "DW_TAG_subrange_type"]
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
            for child in entry.iter_children()
            if child.tag == "DW_TAG_enumerator"
        )
        # As debuggers do: an enum is signed if it has a negative value, whatever integer it is written as.
        return Enumeration(_qualified(entry), size, any(number < 0 for number, _ in values), values)

    def _record(self, entry: Any) -> Type:
        fields = []
        for child in entry.iter_children():
            if child.tag == "DW_TAG_variant_part":
                return self._choice(entry, child)
            if child.tag == "DW_TAG_member":
                fields.append(self._field(child))
        return Struct(_qualified(entry), _number(entry, "DW_AT_byte_size"), tuple(fields))

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
        for child in part.iter_children():
            if child.tag == "DW_TAG_variant":
                variants.append(self._variant(child, size))
        return Choice(_qualified(entry), _number(entry, "DW_AT_byte_size"), discriminant, tuple(variants))

    def _variant(self, entry: Any, size: int) -> Variant:
        member = next(child for child in entry.iter_children() if child.tag == "DW_TAG_member")
        payload = self._type_of(member)
        if not isinstance(payload, Struct):
            payload = Struct(payload.name, payload.size, (Field("__0", 0, payload),))
        values: tuple[int, ...] = ()
        if "DW_AT_discr_value" in entry.attributes:
            values = (_wrapped(_number(entry, "DW_AT_discr_value"), size, signed=False),)
        return Variant(_name(member), values, payload)


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "replace") if attribute else ""


def _qualified(entry: Any) -> str:
    names = [_name(entry)]
    parent = entry.get_parent()
    while parent is not None and parent.tag != "DW_TAG_compile_unit":
        names.insert(0, _name(parent))
        parent = parent.get_parent()
    return "::".join(names)


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
