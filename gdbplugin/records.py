"""Frozen dataclasses and named tuples that take almost no time to define.

The first command in a GDB defines a hundred of them. The standard library compiles six functions for each,
and imports `inspect` and `typing` before the first: most of the time of that command. Here all classes share
the same functions. They are still dataclasses: what `dataclasses` and `inspect` ask about them is computed on
demand.

Only what this package uses is supported: `@dataclass(frozen=True)`, plain defaults, and `field` for an extra
field, which is keyword-only, has a default from a factory, and is neither shown nor compared.
"""

from __future__ import annotations

import collections
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


class _Missing:
    """Marks a field that has no default."""


class _Field:
    """A field: its name, its default and, for an extra field, the factory of its default."""

    def __init__(self, name: str, default: Any = _Missing, make: Callable[[], Any] | None = None) -> None:
        self.name = name
        self.default = default
        self.make = make


def _dataclass(*, frozen: bool) -> Callable[[type], type]:
    """The decorator; `frozen` must be given, as nothing else is supported."""
    if not frozen:
        raise TypeError("only frozen dataclasses are supported: give frozen=True")
    return _made


def _extra(*, default_factory: Callable[[], Any], **options: bool) -> _Field:
    """An extra field; the options must be given, as no others are supported."""
    if options != {"kw_only": True, "repr": False, "compare": False}:
        raise TypeError("field() needs kw_only=True, repr=False, compare=False: nothing else is supported")
    return _Field("", make=default_factory)


def _fields(kind: Any) -> tuple[_Field, ...]:
    """The fields of a class or record, in the order of their declaration."""
    return tuple(kind._record_fields.values())


def _replace(record: Any, **changes: Any) -> Any:
    """A copy of a record with some fields changed."""
    state = vars(record)
    return type(record)(**({name: state[name] for name in record._record_fields} | changes))


def _asdict(record: Any) -> dict[str, Any]:
    """The fields of a record by name, with nested records as dicts too."""
    return {name: _plain(getattr(record, name)) for name in record._record_fields}


def _plain(value: Any) -> Any:
    if hasattr(value, "_record_fields"):
        return _asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    return value


def _made(kind: Any) -> type:
    """Turn a class into a frozen dataclass; returns the class."""
    found: dict[str, _Field] = {}
    for base in reversed(kind.__mro__[1:]):
        found.update(getattr(base, "_record_fields", {}))
    for name in kind.__annotations__:
        default = kind.__dict__.get(name, _Missing)
        if isinstance(default, _Field):
            delattr(kind, name)
            found[name] = _Field(name, make=default.make)
        else:
            found[name] = _Field(name, default)
    plain = tuple(one.name for one in found.values() if one.make is None)
    kind._record_fields = found
    given = {"__init__": _initializer(kind, found, plain), "__match_args__": plain, **_comparing(plain)}
    for name, function in (given | _SHARED).items():
        if name not in kind.__dict__:
            setattr(kind, name, function)
    made: type = kind
    return made


def _initializer(kind: type, found: Mapping[str, _Field], plain: Sequence[str]) -> Callable[..., None]:
    """The `__init__` of a class with those fields; the plain ones may be positional."""
    total, known = len(found), found.keys()
    extras = [(one.name, one.make) for one in found.values() if one.make is not None]
    defaults = [(one.name, one.default) for one in found.values() if one.default is not _Missing]
    finish = getattr(kind, "__post_init__", None)

    def initialize(self: Any, *values: Any, **named: Any) -> None:
        # Called very often, so the usual case has no loop.
        state = self.__dict__
        if values:
            state.update(zip(plain, values))  # noqa: B905 (too many values are detected below)
        if named:
            state.update(named)
        if len(state) != len(values) + len(named) or (named and not named.keys() <= known):
            raise TypeError(f"{kind.__name__} takes each of {', '.join(found)} once, and nothing else")
        if len(state) != total:
            for name, default in defaults:
                state.setdefault(name, default)
            for name, make in extras:
                if name not in state:
                    state[name] = make()
            if len(state) != total:
                missing = ", ".join(name for name in found if name not in state)
                raise TypeError(f"{kind.__name__} is missing {missing}")
        if finish is not None:
            finish(self)

    return initialize


def _comparing(plain: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """`__eq__` and `__hash__` of a class, by the values of those fields."""
    values: Callable[[Any], Any] = attrgetter(*plain) if plain else lambda _: ()

    def is_equal(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hash_(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": is_equal, "__hash__": hash_}


def _shown(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({shown})"


def _refuse(self: Any, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"{name!r} of a {type(self).__name__} cannot be changed")


class _Computed:
    """A class attribute that is computed when it is read."""

    def __init__(self, find: Callable[[Any], Any]) -> None:
        self._find = find

    def __get__(self, _: object, kind: type) -> Any:
        return self._find(kind)


def _real(kind: Any) -> Any:
    """The standard library's dataclass with the same fields."""
    import dataclasses

    annotations: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        annotations.update(getattr(base, "__annotations__", {}))
    entries = []
    for one in _fields(kind):
        if one.make is not None:
            entry: Any = dataclasses.field(default_factory=one.make, kw_only=True, repr=False, compare=False)
        else:
            entry = dataclasses.field(**({} if one.default is _Missing else {"default": one.default}))
        entries.append((one.name, annotations[one.name], entry))
    return dataclasses.make_dataclass(kind.__name__, entries, frozen=True)


def _signature(kind: type) -> Any:
    import inspect

    return inspect.signature(_real(kind))


_SHARED: dict[str, Any] = {
    "__repr__": _shown,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__dataclass_fields__": _Computed(lambda kind: _real(kind).__dataclass_fields__),
    "__dataclass_params__": _Computed(lambda kind: _real(kind).__dataclass_params__),
    "__signature__": _Computed(_signature),
}


class _NamedTuples(type):
    """Turns a class with fields as in `typing.NamedTuple` into a named tuple."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, body)
        names = body.pop("__annotations__")
        defaults = [body.pop(field) for field in names if field in body]
        make: Any = collections.namedtuple
        made = make(name, names, module=body["__module__"], defaults=defaults)
        made.__annotations__ = names
        made.__doc__ = body.pop("__doc__", None)
        for key, value in body.items():
            if key not in ("__module__", "__qualname__"):
                setattr(made, key, value)
        return made


class _NamedTuple(metaclass=_NamedTuples):
    """The base class of named tuples."""


class _Protocol:
    """The base class of protocols, which only type checkers use."""


if TYPE_CHECKING:
    # Type checkers know the rules of the standard library's own.
    from dataclasses import MISSING as MISSING
    from dataclasses import asdict as asdict
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import replace as replace
    from typing import NamedTuple as NamedTuple
    from typing import Protocol as Protocol
else:
    MISSING, NamedTuple, Protocol = _Missing, _NamedTuple, _Protocol
    asdict, dataclass, field, fields, replace = _asdict, _dataclass, _extra, _fields, _replace
