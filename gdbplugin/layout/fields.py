"""The fields of a type that lie at some of its bytes, by their paths."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.layout.types import Array, Option, Struct, Type

WORD_BYTES = 8


def leaves(type_: Type, start: int, end: int, path: str = "", at: int = 0) -> Iterator[tuple[str, int, Type]]:
    """The fields without fields of their own within `start` to `end`: path, offset, type."""
    if isinstance(type_, Struct) and type_.fields:
        filled = [field for field in type_.fields if field.type.size]
        for field in filled:
            first = at + field.offset
            if first < end and start < first + field.type.size:
                # A wrapper of one field, as an atomic, is that field.
                inner = path if len(filled) == 1 else f"{path}.{field.name}"
                yield from leaves(field.type, start, end, inner, first)
    elif isinstance(type_, Array) and type_.element.size:
        size = type_.element.size
        for index in range(max(0, (start - at) // size), min(type_.count, -(-(end - at) // size))):
            yield from leaves(type_.element, start, end, f"{path}[{index}]", at + index * size)
    elif isinstance(type_, Option) and type_.size > WORD_BYTES:
        yield from leaves(type_.value.type, start, end, path, at + type_.value.offset)
    else:
        yield path, at, type_
