"""The statics of one unit of DWARF and the types that they consist of, from pyelftools' entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.dwarf_expr import DWARFExprParser

from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    LayoutError,
    Opaque,
    Option,
    Scalar,
    Static,
    Struct,
    Type,
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
# The variable is a value without an address, or has one for each thread or call: it is not a static.
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
_ADDRESS_MASK = (1 << 64) - 1


class UnsupportedError(Exception):
    """Debug information of an unsupported kind, which the message names."""


# pyelftools raises its own errors for some malformed input and built-in ones for other: for an unknown form,
# an index beyond its table, a missing section. It raises NotImplementedError for split units and other
# features that it lacks.
UNREADABLE = (
    UnsupportedError,
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


def in_words(error: Exception) -> str:
    """The message of an error."""
    if isinstance(error, KeyError):
        name = error.args[0] if error.args else ""
        return f"form or abbreviation {name:#x}" if isinstance(name, int) else str(name)
    if isinstance(error, NotImplementedError):
        return str(error).partition(" to dwo")[0]  # pyelftools says "to dwo" of other files too.
    if isinstance(error, AssertionError) and not error.args:
        return "a section that it refers to is missing"
    return str(error) or type(error).__name__


class UnitReader:
    """Reads the statics of one unit and their types.

    `note` is called with the name of a static that cannot be read and the error. `names` is that of
    `gdbplugin.layout.dwarf.read_statics`.
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
        """The statics below `top`, the unit's own entry."""
        yield from self._statics_in(top, ())

    def _statics_in(self, parent: Any, path: tuple[str, ...]) -> Iterator[Static]:
        for entry in self._children(parent):
            if entry.tag == "DW_TAG_namespace":
                yield from self._statics_in(entry, (*path, name_of(entry)))
            elif entry.tag == "DW_TAG_variable":
                last = name_of(entry)
                if self._names is not None and last not in self._names:
                    continue
                name = "::".join((*path, last))
                # Names with braces are the compiler's own, such as vtables.
                if "{" in name:
                    continue
                try:
                    address = self._address(entry)
                    static = None if address is None else Static(name, address, self._type_of(entry))
                except UNREADABLE as error:
                    self._note(name, error)
                    continue
                if static is not None:
                    yield static

    def _address(self, entry: Any) -> int | None:
        """The fixed address of a variable; None if it has none."""
        location = entry.attributes.get("DW_AT_location")
        if location is None or not isinstance(location.value, list | bytes):
            return None
        try:
            operations = self._expressions.parse_expr(location.value)
        except KeyError as error:
            raise UnsupportedError(f"operation {error.args[0]:#x}") from error
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
                raise UnsupportedError(f"operation {name}")
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
            return Scalar(name_of(entry), _number(entry, "DW_AT_byte_size"), kind)
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
        raise UnsupportedError(f"{tag} for {name_of(entry) or 'a type'}")

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
            (_wrapped(_number(child, "DW_AT_const_value"), size, signed), name_of(child))
            for child in self._children(entry)
            if child.tag == "DW_TAG_enumerator"
        )
        # As in GDB: an enum is signed if it has a negative value, of any integer type.
        return Enumeration(self._qualified(entry), size, any(number < 0 for number, _ in values), values)

    def _record(self, entry: Any) -> Type:
        fields = []
        for child in self._children(entry):
            if child.tag == "DW_TAG_variant_part":
                return self._enum_with_payloads(entry, child)
            if child.tag == "DW_TAG_member":
                fields.append(self._field(child))
        return Struct(self._qualified(entry), _number(entry, "DW_AT_byte_size"), tuple(fields))

    def _field(self, entry: Any) -> Field:
        return Field(name_of(entry), _number(entry, "DW_AT_data_member_location"), self._type_of(entry))

    def _enum_with_payloads(self, entry: Any, part: Any) -> Type:
        """An Option if the enum has one variant with a value and one without; else it is not decoded."""
        name, size = self._qualified(entry), _number(entry, "DW_AT_byte_size")
        variants = [self._variant(child) for child in self._children(part) if child.tag == "DW_TAG_variant"]
        variants.sort(key=lambda variant: len(variant[1]))
        shapes = [[field.name for field in fields] for _, fields in variants]
        if shapes != [[], ["__0"]] or "DW_AT_discr" not in part.attributes:
            return Opaque(name, size)
        discriminant = self._field(part.get_DIE_from_attribute("DW_AT_discr"))
        bits = (1 << 8 * discriminant.type.size) - 1
        none, some = (None if number is None else number & bits for number, _ in variants)
        place = Field("", discriminant.offset, discriminant.type)
        return Option(name, size, place, none, some, variants[1][1][0])

    def _variant(self, entry: Any) -> tuple[int | None, tuple[Field, ...]]:
        """The discriminant's number that selects a variant, None for every other number; and its fields."""
        member = next((child for child in self._children(entry) if child.tag == "DW_TAG_member"), None)
        if member is None:
            raise UnsupportedError("DW_TAG_variant without a member")
        payload = self._type_of(member)
        fields = payload.fields if isinstance(payload, Struct) else (Field("__0", 0, payload),)
        if "DW_AT_discr_value" not in entry.attributes:
            return None, fields
        return _number(entry, "DW_AT_discr_value"), fields

    def _qualified(self, entry: Any) -> str:
        names = [name_of(entry)]
        parent = self._parent(entry)
        while parent is not None and parent.tag not in _UNITS:
            names.insert(0, name_of(parent))
            parent = self._parent(parent)
        return "::".join(names)

    # Not pyelftools' own iterators over children and parents: in a malformed file they may never end.

    def _children(self, entry: Any) -> Iterator[Any]:
        """The direct children of an entry."""
        if not entry.has_children:
            return
        child = _at(entry, entry.offset + entry.size)
        while not child.is_null():
            self._parents[_place(child)] = entry
            yield child
            child = _at(entry, self._end(child))
        self._ends[_place(entry)] = child.offset + child.size

    def _end(self, entry: Any) -> int:
        """The offset after an entry and everything below it; always greater than its own."""
        end: int = self._ends.get(_place(entry), 0)
        if end:
            return end
        sibling = entry.attributes.get("DW_AT_sibling")
        if sibling is not None:
            end = entry.get_DIE_from_attribute("DW_AT_sibling").offset
            if end > entry.offset:
                return end
            raise UnsupportedError("entries in a circle")
        end, depth = entry.offset + entry.size, int(entry.has_children)
        while depth:
            below = _at(entry, end)
            end += below.size
            depth += -1 if below.is_null() else int(below.has_children)
        self._ends[_place(entry)] = end
        return end

    def _parent(self, entry: Any) -> Any:
        """The parent of an entry; None for the unit's own entry."""
        above = entry.cu.get_top_DIE()
        while _place(entry) not in self._parents and above.offset < entry.offset:
            nearest = None
            for child in self._children(above):
                if child.offset <= entry.offset:
                    nearest = child
            if nearest is None:
                raise UnsupportedError(f"no entry at {entry.offset:#x}")
            above = nearest
        return self._parents.get(_place(entry))


_Place = tuple[int, int]


def _place(entry: Any) -> _Place:
    """Identifies an entry: its offset alone does not, as type units may have their own section."""
    return id(entry.stream), entry.offset


def _at(entry: Any, offset: int) -> Any:
    """The entry at an offset in the unit of another entry."""
    return entry.cu.get_DIE_from_refaddr(offset)


def name_of(entry: Any) -> str:
    """The name of an entry; empty if it has none."""
    attribute = entry.attributes.get("DW_AT_name")
    return string_of(attribute) if attribute else ""


def string_of(attribute: Any) -> str:
    """The text of an attribute; raises `UnsupportedError` if its form is not supported."""
    if not isinstance(attribute.value, bytes):
        raise UnsupportedError(str(attribute.form))
    return attribute.value.decode("utf-8", "replace")


def _number(entry: Any, attribute: str) -> int:
    found = entry.attributes.get(attribute)
    if found is None:
        return 0
    if isinstance(found.value, list):  # A block: a constant of 128 bits.
        return int.from_bytes(bytes(found.value), "little")
    return int(found.value)


def _wrapped(number: int, size: int, signed: bool) -> int:
    """`number` as an integer of `size` bytes: compilers write it signed or unsigned."""
    number &= (1 << 8 * size) - 1
    if signed and number >> (8 * size - 1):
        number -= 1 << 8 * size
    return number
