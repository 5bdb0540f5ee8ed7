"""The description of types: one small vocabulary for every source of layouts.

All sizes and offsets are in bytes. Names are fully qualified (`tinyos::memory::lazy::LazyPage`),
those of fields and variants are bare. Pointers are scalars: what they point to is not followed, and
so every description is finite.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.records import Protocol, dataclass


@dataclass(frozen=True)
class Scalar:
    """An integer, boolean, character, floating-point number or address.

    `kind` is one of unsigned, signed, boolean, character, float and pointer.
    """

    name: str
    size: int
    kind: str


@dataclass(frozen=True)
class Array:
    """`count` elements, one behind the other."""

    element: Type
    count: int

    @property
    def name(self) -> str:
        """As Rust writes it."""
        return f"[{self.element.name}; {self.count}]"

    @property
    def size(self) -> int:
        """Size of all elements."""
        return self.element.size * self.count


@dataclass(frozen=True)
class Field:
    """A named part of a struct, at `offset` from its start."""

    name: str
    offset: int
    type: Type


@dataclass(frozen=True)
class Struct:
    """Fields at their offsets. A union is a struct whose fields overlap; a tuple's are `__0` and so on."""

    name: str
    size: int
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of that name."""
        return next((field for field in self.fields if field.name == name), None)


@dataclass(frozen=True)
class Enumeration:
    """An integer whose values have names: an enum without payloads."""

    name: str
    size: int
    signed: bool
    values: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Variant:
    """One form of a `Choice`.

    `discriminants` are the values that select it, as unsigned integers of the discriminant's size;
    empty for the variant that every other value selects (the one whose payload lends its niche).
    """

    name: str
    discriminants: tuple[int, ...]
    payload: Struct


@dataclass(frozen=True)
class Choice:
    """An enum with payloads: a discriminant, and a struct for each of its values.

    The discriminant may overlap a payload's field (a niche). It is None where there is one variant only.
    """

    name: str
    size: int
    discriminant: Field | None
    variants: tuple[Variant, ...]


Type = Scalar | Array | Struct | Enumeration | Choice


@dataclass(frozen=True)
class Static:
    """A static: its qualified name, virtual address and type."""

    name: str
    address: int
    type: Type


class LayoutError(Exception):
    """The layout of what was asked for is not known. The message is one plain sentence.

    Names out of a corrupt file may be in it: what is not printable is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in message))


def in_one_line(problems: Sequence[str]) -> str:
    """The first of several problems, and how many more there are."""
    more = f" (and {len(problems) - 1} more like this)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


class Layout(Protocol):
    """Where each static lies and what its type is."""

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read: a static that is not found may be there."""

    def static(self, name: str) -> Static | None:
        """The static of that qualified name; None if there is none."""


def payload(struct: Struct) -> Field | None:
    """What a wrapper wraps: its only field that is neither empty nor, once unwrapped, a scalar.

    Where all fields are scalars and just one is not empty, it is that one. None for a struct that is
    no wrapper. Thus a lock beside a cell, a sequence counter beside a value, an atomic around an
    integer and a union of a value with nothing are all seen through, whatever they are called.
    """
    filled = [field for field in struct.fields if field.type.size]
    if len(filled) == 1:
        return filled[0]
    compound = [field for field in filled if not isinstance(unwrap(field.type), Scalar)]
    return compound[0] if len(compound) == 1 else None


def unwrap(type_: Type) -> Type:
    """The innermost type of a chain of structs with only one field that is not empty."""
    while isinstance(type_, Struct):
        filled = [field for field in type_.fields if field.type.size]
        if len(filled) != 1 or filled[0].offset != 0:
            return type_
        type_ = filled[0].type
    return type_


def locate(type_: Type, name: str) -> Field | None:
    """The field `name` of a struct, or of what it wraps, with its offset from the struct's start."""
    offset = 0
    while isinstance(type_, Struct):
        found = type_.field(name)
        if found is not None:
            return Field(name, offset + found.offset, found.type)
        inner = payload(type_)
        if inner is None:
            return None
        offset += inner.offset
        type_ = inner.type
    return None


def locate_path(type_: Type, path: str) -> Field | None:
    """The field at a dotted path, each step through wrappers."""
    offset = 0
    for name in path.split("."):
        found = locate(type_, name)
        if found is None:
            return None
        offset += found.offset
        type_ = found.type
    return Field(path, offset, type_)


def held(choice: Choice) -> Field | None:
    """What a value-or-nothing enum holds when it holds something, with its offset; None for other enums."""
    shapes = sorted(tuple(field.name for field in variant.payload.fields) for variant in choice.variants)
    if shapes != [(), ("__0",)]:
        return None
    return next(field for variant in choice.variants for field in variant.payload.fields)


def locate_held(type_: Type, path: str) -> tuple[Field | None, list[Field]]:
    """As `locate_path`, but also through enums that hold a value or nothing, such as `Option`.

    These enums come with it, outermost first, with their offsets: the field is there only if each of them
    holds something. Where the field itself is such an enum around an array, the array is meant.
    """
    offset, current = 0, type_
    doors: list[Field] = []
    for name in path.split("."):
        while True:
            found = locate(current, name)
            if found is not None:
                break
            door = _door(current)
            if door is None:
                return None, doors
            doors.append(Field(path, offset + door[0].offset, door[0].type))
            offset += door[0].offset + door[1].offset
            current = door[1].type
        offset += found.offset
        current = found.type
    inside = held(current) if isinstance(current, Choice) else None
    if inside is not None and isinstance(unwrap(inside.type), Array):
        doors.append(Field(path, offset, current))
        offset, current = offset + inside.offset, inside.type
    return Field(path, offset, current), doors


def _door(type_: Type) -> tuple[Field, Field] | None:
    """The value-or-nothing enum that a type wraps, or is, with its offset; and what it holds."""
    offset = 0
    while isinstance(type_, Struct):
        inner = payload(type_)
        if inner is None:
            return None
        offset += inner.offset
        type_ = inner.type
    inside = held(type_) if isinstance(type_, Choice) else None
    return None if inside is None else (Field("", offset, type_), inside)
