"""How types lie in memory: the classes that describe them, and functions that find fields in them.

Sizes and offsets are in bytes. Type names are fully qualified (`tinyos::memory::lazy::LazyPage`), names of
fields and enum values are bare. Pointers are scalars and are not followed, so every description is finite.
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
    """`count` elements in a row."""

    element: Type
    count: int

    @property
    def name(self) -> str:
        """The name in Rust's notation."""
        return f"[{self.element.name}; {self.count}]"

    @property
    def size(self) -> int:
        """Size of all elements together."""
        return self.element.size * self.count


@dataclass(frozen=True)
class Field:
    """A named field, `offset` bytes from the start of its struct."""

    name: str
    offset: int
    type: Type


@dataclass(frozen=True)
class Struct:
    """Fields at their offsets. The fields of a union overlap; those of a tuple are `__0`, `__1` and so on."""

    name: str
    size: int
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of that name, if there is one."""
        return next((field for field in self.fields if field.name == name), None)


@dataclass(frozen=True)
class Enumeration:
    """An integer whose values have names: an enum without payloads."""

    name: str
    size: int
    signed: bool
    values: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Option:
    """An enum that holds a value or nothing, such as Rust's `Option`.

    `none` and `some` are the numbers in `discriminant` that say which, as unsigned integers. One of them may
    be None: then every other number stands for it. The discriminant may overlap the value (a niche).
    """

    name: str
    size: int
    discriminant: Field
    none: int | None
    some: int | None
    value: Field


@dataclass(frozen=True)
class Opaque:
    """A type that is not decoded: any other enum with payloads. Fields beside it are read as usual."""

    name: str
    size: int


Type = Scalar | Array | Struct | Enumeration | Option | Opaque


@dataclass(frozen=True)
class Static:
    """A static: its qualified name, virtual address and type."""

    name: str
    address: int
    type: Type


class LayoutError(Exception):
    """A layout is not available. The message is one plain sentence.

    It may quote names from a corrupt file, so characters that cannot be printed are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in message))


def in_one_line(problems: Sequence[str]) -> str:
    """The first problem, and how many more there are."""
    more = f" (and {len(problems) - 1} more like this)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


class Layout(Protocol):
    """Where each static lies and what its type is."""

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read. A static that is not found may be in such a part."""

    def static(self, name: str) -> Static | None:
        """The static of that qualified name, or None."""


def payload(struct: Struct) -> Field | None:
    """The field that a wrapper wraps; None if the struct is not a wrapper.

    It is the only field that is not empty; else the only one that is neither empty nor a scalar (possibly in
    wrappers). So locks, cells, sequence counters beside a value, atomics and `MaybeUninit` are recognised by
    their shape, under any name.
    """
    filled = [field for field in struct.fields if field.type.size]
    if len(filled) == 1:
        return filled[0]
    compound = [field for field in filled if not isinstance(unwrap(field.type), Scalar)]
    return compound[0] if len(compound) == 1 else None


def unwrap(type_: Type) -> Type:
    """The type inside nested structs that have only one field with a size, at offset 0."""
    while isinstance(type_, Struct):
        filled = [field for field in type_.fields if field.type.size]
        if len(filled) != 1 or filled[0].offset != 0:
            return type_
        type_ = filled[0].type
    return type_


def locate(type_: Type, name: str) -> Field | None:
    """The field `name` of a struct or of the struct that it wraps; its offset counts from the outer one."""
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
    """The field at a dotted path; each step looks through wrappers."""
    offset = 0
    for name in path.split("."):
        found = locate(type_, name)
        if found is None:
            return None
        offset += found.offset
        type_ = found.type
    return Field(path, offset, type_)


def locate_held(type_: Type, path: str) -> tuple[Field | None, list[Field]]:
    """Like `locate_path`, but also through Options.

    The Options on the way come with it, outermost first, with their offsets: the field exists only while each
    of them holds a value. Where the path ends at an Option of an array, the result is the array.
    """
    offset, current = 0, type_
    options: list[Field] = []
    for name in path.split("."):
        while (found := locate(current, name)) is None:
            option = _wrapped_option(current)
            if option is None:
                return None, options
            start, inner = option
            options.append(Field(path, offset + start, inner))
            offset += start + inner.value.offset
            current = inner.value.type
        offset += found.offset
        current = found.type
    if isinstance(current, Option) and isinstance(unwrap(current.value.type), Array):
        options.append(Field(path, offset, current))
        offset, current = offset + current.value.offset, current.value.type
    return Field(path, offset, current), options


def _wrapped_option(type_: Type) -> tuple[int, Option] | None:
    """The Option that a type is or wraps, and its offset."""
    offset = 0
    while isinstance(type_, Struct):
        inner = payload(type_)
        if inner is None:
            return None
        offset += inner.offset
        type_ = inner.type
    return (offset, type_) if isinstance(type_, Option) else None
