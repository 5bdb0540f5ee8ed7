"""Whether the lock around a static is held, for kernels that have no sequence counter to tell of a change."""

from __future__ import annotations

from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Field, Scalar, Static, Struct, Type, payload, unwrap
from gdbplugin.records import Protocol

# The words of locks that are known: a flag; the ticket given out next, and the one that is served.
_LOCKS = (("lock",), ("locked",), ("next_ticket", "next_serving"))


class Memory(Protocol):
    """Where the kernel's statics are read from."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from virtual `address`, or a `MachineError`."""


def is_locked(static: Static, memory: Memory) -> bool:
    """Whether the lock is held: its flag is set, or its two tickets differ. False for a lock not known."""
    fields = {field.name: field for field in _scalars_around(static.type)}
    for names in _LOCKS:
        if all(name in fields for name in names):
            found = [_number(static, fields[name], memory) for name in names]
            return bool(found[0]) if len(found) == 1 else found[0] != found[1]
    return False


def _number(static: Static, field: Field, memory: Memory) -> object:
    return value(field.type, memory.read(static.address + field.offset, field.type.size))


def _scalars_around(type_: Type) -> list[Field]:
    """The numbers beside what a static wraps, with their offsets."""
    found: list[Field] = []
    offset = 0
    while isinstance(type_, Struct) and type_.field("stack_manager") is None:
        inner = payload(type_)
        if inner is None:
            break
        found += [
            Field(field.name, offset + field.offset, unwrap(field.type))
            for field in type_.fields
            if isinstance(unwrap(field.type), Scalar)
        ]
        offset, type_ = offset + inner.offset, inner.type
    return found
