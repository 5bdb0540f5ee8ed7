"""Decode bytes by the description of their type.

`value` decodes any type, nested ones included. `Columns` decodes a few fields of thousands of structs at the
speed of the `struct` module. Both compile a type once. Bad data does not raise: a number that its enum,
boolean or Option does not have becomes an `Invalid`.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence

from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    Opaque,
    Option,
    Scalar,
    Struct,
    Type,
    locate_path,
    unwrap,
)
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Decoder = Callable[[bytes, int], Any]

_CODES = {
    ("unsigned", 1): "B",
    ("unsigned", 2): "H",
    ("unsigned", 4): "I",
    ("unsigned", 8): "Q",
    ("signed", 1): "b",
    ("signed", 2): "h",
    ("signed", 4): "i",
    ("signed", 8): "q",
    ("boolean", 1): "B",
    ("character", 4): "I",
    ("pointer", 8): "Q",
    ("float", 4): "f",
    ("float", 8): "d",
}


# By the ids of types.
_decoders: dict[int, tuple[Type, _Decoder]] = {}
_MOST_DECODERS = 4096


@dataclass(frozen=True)
class Invalid:
    """A number that its type does not allow, and what it allows."""

    found: int
    expected: str

    def __str__(self) -> str:
        return f"{self.found:#x}?"


def value(type_: Type, data: bytes, offset: int = 0) -> Any:
    """Decode the value of `type_` at `offset` of `data`.

    Integers, booleans and floats become themselves, characters integers, arrays lists (arrays of bytes:
    `bytes`), structs dicts, enums the name of their value. A wrapper becomes the value that it wraps, an
    Option its value or None, an `Opaque` None. Raises `struct.error` if the data is too short.
    """
    return _decoder(type_)(data, offset)


def text(raw: bytes) -> str:
    """The text in an array of bytes, up to a zero; bytes that are not printable ASCII become escapes.

    So corrupt memory can neither send control codes to a terminal nor need a character that it lacks.
    """
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw.split(b"\0")[0])


def _cut(data: bytes, offset: int, size: int) -> bytes:
    part = bytes(data[offset : offset + size])
    if len(part) != size:
        raise struct.error(f"{size} bytes at offset {offset} lie beyond {len(data)} bytes of data")
    return part


def _boolean(number: int) -> bool | Invalid:
    return bool(number) if number < 2 else Invalid(number, "0 or 1")


def _decoder(type_: Type) -> _Decoder:
    """The decoder of a type, compiled at its first use."""
    known = _decoders.get(id(type_))
    if known is None:
        if len(_decoders) >= _MOST_DECODERS:
            _decoders.clear()
        # Keeping the type prevents its id from being reused.
        known = _decoders[id(type_)] = (type_, _compile(unwrap(type_)))
    return known[1]


def _compile(type_: Type) -> _Decoder:
    if isinstance(type_, Struct):
        return _compile_struct(type_)
    if isinstance(type_, Array):
        return _compile_array(type_)
    if isinstance(type_, Option):
        return _compile_option(type_)
    if isinstance(type_, Opaque):
        return lambda _data, _offset: None
    code, convert = _code_of(type_), _converter(type_)
    if code is None:
        return _compile_large(type_, convert)
    unpack = struct.Struct("<" + code).unpack_from
    if convert is None:
        return lambda data, offset: unpack(data, offset)[0]
    return lambda data, offset: convert(unpack(data, offset)[0])


def _compile_large(type_: Scalar | Enumeration, convert: Callable[[int], Any] | None) -> _Decoder:
    """Decode an integer of a size that the `struct` module lacks, such as 128 bits."""
    signed = type_.signed if isinstance(type_, Enumeration) else type_.kind == "signed"

    def decode(data: bytes, offset: int) -> Any:
        number = int.from_bytes(_cut(data, offset, type_.size), "little", signed=signed)
        return number if convert is None else convert(number)

    return decode


def _compile_struct(type_: Struct) -> _Decoder:
    """Decode all plain fields by one `struct` format, and each other field by its own decoder."""
    format_, position = "<", 0
    names: list[str] = []
    conversions: list[tuple[str, Callable[[int], Any]]] = []
    others: list[tuple[str, int, _Decoder]] = []
    for field in sorted(type_.fields, key=lambda field: field.offset):
        inner = unwrap(field.type)
        code = _code_of(inner) if isinstance(inner, Scalar | Enumeration) else None
        if code is None or field.offset < position:  # A union: it overlaps the field before.
            others.append((field.name, field.offset, _decoder(field.type)))
            continue
        format_ += f"{field.offset - position}x{code}"
        position = field.offset + inner.size
        names.append(field.name)
        convert = _converter(inner)
        if convert is not None:
            conversions.append((field.name, convert))
    unpack = struct.Struct(format_).unpack_from

    def decode(data: bytes, offset: int) -> dict[str, Any]:
        found: dict[str, Any] = dict(zip(names, unpack(data, offset), strict=True))
        for name, convert in conversions:
            found[name] = convert(found[name])
        for name, place, decode_other in others:
            found[name] = decode_other(data, offset + place)
        return found

    return decode


def _compile_array(type_: Array) -> _Decoder:
    element, count = unwrap(type_.element), type_.count
    if isinstance(element, Scalar) and (element.kind, element.size) == ("unsigned", 1):
        return lambda data, offset: _cut(data, offset, count)
    code = _code_of(element) if isinstance(element, Scalar | Enumeration) else None
    if code is None:
        decode, size = _decoder(element), element.size
        return lambda data, offset: [decode(data, offset + index * size) for index in range(count)]
    unpack, convert = struct.Struct(f"<{count}{code}").unpack_from, _converter(element)
    if convert is None:
        return lambda data, offset: list(unpack(data, offset))
    return lambda data, offset: list(map(convert, unpack(data, offset)))


def _compile_option(type_: Option) -> _Decoder:
    decode_value, start = _decoder(type_.value.type), type_.value.offset

    def decode(data: bytes, offset: int) -> Any:
        found = presence(type_, data, offset)
        return found if isinstance(found, Invalid) else decode_value(data, offset + start) if found else None

    return decode


def presence(type_: Option, data: bytes, offset: int = 0) -> bool | Invalid:
    """Whether the Option at `offset` of `data` holds a value."""
    place = type_.discriminant
    number = int.from_bytes(_cut(data, offset + place.offset, place.type.size), "little")
    if number == type_.some:
        return True
    if number == type_.none:
        return False
    if None in (type_.some, type_.none):
        return type_.some is None
    return Invalid(number, "one of None, Some")


class Columns:
    """Chosen scalar or enum fields of a struct, compiled to decode arrays of that struct.

    `rows` gives the raw numbers of each struct in the order of `present`, and `column` those of one field.
    `convert` has the function that turns a field's numbers into what `value` gives, or None if they are that
    already. Names may be dotted paths.
    """

    def __init__(self, type_: Type, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.row_bytes = type_.size
        found = {name: field for name in names if (field := self._field(type_, name)) is not None}
        self._fields = found
        self.missing = tuple(name for name in names if name not in found)
        self.convert = {name: _converter(field.type) for name, field in found.items()}
        self.present = tuple(sorted(found, key=lambda name: found[name].offset))
        position, parts = 0, ["<"]
        for name in self.present:
            field = found[name]
            if field.offset < position:
                raise ValueError(f"{name} overlaps the field before it")
            parts.append(f"{field.offset - position}x{_code(field.type)}")
            position = field.offset + field.type.size
        parts.append(f"{type_.size - position}x")
        self._format = struct.Struct("".join(parts))

    @staticmethod
    def _field(type_: Type, name: str) -> Field | None:
        field = locate_path(type_, name)
        if field is None:
            return None
        inner = unwrap(field.type)
        if not isinstance(inner, Scalar | Enumeration) or _code_of(inner) is None:
            return None
        return Field(name, field.offset, inner)

    def rows(self, data: bytes) -> list[tuple[Any, ...]]:
        """A tuple of raw numbers for each whole struct in `data`, in the order of `present`."""
        whole = len(data) - len(data) % self.row_bytes
        return list(self._format.iter_unpack(memoryview(data)[:whole]))

    def column(self, name: str, data: bytes) -> list[Any]:
        """The raw numbers of a present field, one for each whole struct in `data`."""
        field = self._fields[name]
        size, code = field.type.size, _code(field.type)
        whole = memoryview(data)[: len(data) - len(data) % self.row_bytes]
        if sys.byteorder == "little" and self.row_bytes % size == 0 and field.offset % size == 0:
            numbers: memoryview[Any] = whole.cast(code)  # type: ignore[call-overload]
            return numbers[field.offset // size :: self.row_bytes // size].tolist()
        rest = self.row_bytes - field.offset - size
        return [number for (number,) in struct.iter_unpack(f"<{field.offset}x{code}{rest}x", whole)]

    def position(self, name: str) -> int | None:
        """The index of a field in the tuples of `rows`; None if the struct has no such field."""
        return self.present.index(name) if name in self.present else None


def _code_of(type_: Scalar | Enumeration) -> str | None:
    if isinstance(type_, Enumeration):
        return _CODES.get(("signed" if type_.signed else "unsigned", type_.size))
    return _CODES.get((type_.kind, type_.size))


def _code(type_: Type) -> str:
    assert isinstance(type_, Scalar | Enumeration)
    return _code_of(type_) or ""


def _converter(type_: Type) -> Callable[[int], Any] | None:
    if isinstance(type_, Enumeration):
        names: dict[int, str | Invalid] = dict(type_.values)
        expected = "one of " + ", ".join(name for _, name in type_.values)
        return lambda number: names.get(number) or Invalid(number, expected)
    if isinstance(type_, Scalar) and type_.kind == "boolean":
        return _boolean
    return None
