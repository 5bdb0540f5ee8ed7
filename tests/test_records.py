"""The light dataclasses and named tuples do what the standard library's do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing

import pytest

from gdbplugin import records
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.tasks import Task


def _made(library):
    """The same classes by either library."""

    @library.dataclass(frozen=True)
    class Point:
        """A point."""

        x: int
        y: int = 5

        def sum(self):
            return self.x + self.y

    @library.dataclass(frozen=True)
    class Named(Point):
        name: str = ""
        notes: list = library.field(default_factory=list, kw_only=True, repr=False, compare=False)

        def __post_init__(self):
            object.__setattr__(self, "name", self.name.upper())

        def __str__(self):
            return "a named one"

    return Point, Named


def _outcome(action):
    """What an action comes to, without what differs by intent: where the class is from."""
    try:
        return action()
    except TypeError:
        return TypeError
    except dataclasses.FrozenInstanceError:
        return dataclasses.FrozenInstanceError


@pytest.mark.parametrize(
    "look",
    [
        lambda point, _: repr(point(1)),
        lambda point, _: point(1) == point(1, 5) == point(y=5, x=1),
        lambda point, _: point(1) == point(2),
        lambda point, named: point(1) == named(1),
        lambda point, _: point(1) == (1, 5),
        lambda point, _: len({point(1), point(1, 5), point(2)}),
        lambda point, _: hash(point(1)) == hash(point(x=1)),
        lambda point, _: point(1).sum(),
        lambda point, _: point(),
        lambda point, _: point(1, 2, 3),
        lambda point, _: point(1, x=1),
        lambda point, _: point(1, z=1),
        lambda point, _: setattr(point(1), "x", 2),
        lambda point, _: setattr(point(1), "other", 2),
        lambda point, _: delattr(point(1), "x"),
        lambda point, _: point.__match_args__,
        lambda point, _: point.__doc__,
        lambda _, named: repr(named(1, name="b")),
        lambda _, named: str(named(1)),
        lambda _, named: named(1, 2, "c").name,
        lambda _, named: named(1, notes=[1]) == named(1),
        lambda _, named: named(1).notes is named(1).notes,
        lambda _, named: named(1, 2, "c", [3]),
        lambda _, named: named(1, notes=[3]).notes,
        lambda _, named: str(inspect.signature(named)),
        lambda point, _: vars(copy.copy(point(1))),
        lambda point, _: copy.deepcopy(point(1)) == point(1),
        lambda _, named: [entry.name for entry in dataclasses.fields(named)],
        lambda _, named: [(entry.kw_only, entry.repr, entry.compare) for entry in dataclasses.fields(named)],
        lambda _, named: [entry.type for entry in dataclasses.fields(named)],
        lambda point, _: [entry.default for entry in dataclasses.fields(point)][1],
        lambda point, _: dataclasses.is_dataclass(point) and dataclasses.is_dataclass(point(1)),
        lambda point, named: dataclasses.asdict(named(point(1), 2, "c", notes=[point(3)])),
        lambda point, _: repr(dataclasses.replace(point(1), y=6)),
    ],
)
def test_what_is_seen_of_a_class_is_the_same(look):
    ours, theirs = (
        _outcome(lambda library=library: look(*_made(library))) for library in (records, dataclasses)
    )
    assert ours == theirs


@pytest.mark.parametrize("library", [records, dataclasses])
def test_functions_take_what_they_give(library):
    point, named = _made(records)
    found = named(point(1), (point(2), {"a": [point(3)]}), "c")
    assert library.asdict(found) == {
        "x": {"x": 1, "y": 5},
        "y": ({"x": 2, "y": 5}, {"a": [{"x": 3, "y": 5}]}),
        "name": "C",
        "notes": [],
    }
    assert library.replace(found, x=1) == named(1, found.y, "c")
    with pytest.raises(TypeError):
        library.replace(found, z=1)
    assert [one.name for one in library.fields(named)] == ["x", "y", "name", "notes"]


def test_a_real_dataclass_may_be_derived_from_one():
    point, _ = _made(records)

    @dataclasses.dataclass(frozen=True)
    class Third(point):
        z: int = 7

    assert repr(Third(1)).endswith("Third(x=1, y=5, z=7)")


def test_classes_of_the_package_can_be_pickled():
    task = Task(*range(len(records.fields(Task))))
    assert pickle.loads(pickle.dumps(task)) == task


def test_diagnostics_are_each_objects_own():
    first, second = Diagnosed(), Diagnosed()
    first.diagnostics.add_note("a")
    assert (first.notes, second.notes) == (["a"], [])
    assert first == second
    assert Diagnosed(diagnostics=Diagnostics()) == first


@pytest.mark.parametrize(
    "make",
    [
        lambda: records.dataclass(frozen=False),
        lambda: records.field(default_factory=list),
        lambda: records.field(default_factory=list, kw_only=True, repr=True, compare=False),
    ],
)
def test_what_is_not_there_is_refused(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("library", [records, typing])
def test_named_tuples_are_tuples(library):
    class Pair(library.NamedTuple):
        """Two."""

        first: int
        second: int = 2

        @property
        def sum(self) -> int:
            """Both."""
            return self.first + self.second

        def __str__(self) -> str:
            return "pair"

    assert Pair(1) == (1, 2)
    assert (Pair(1).sum, str(Pair(1)), repr(Pair(3))) == (3, "pair", "Pair(first=3, second=2)")
    assert Pair._fields == ("first", "second")
    assert Pair.__doc__ == "Two."
    assert Pair(1)._replace(first=4)._asdict() == {"first": 4, "second": 2}
    assert Pair.__module__ == __name__


def test_defining_classes_imports_neither_inspect_nor_typing():
    program = """if True:
        import sys
        from gdbplugin import commands, render
        from gdbplugin.kernel import snapshot
        print(*sorted({"ast", "dataclasses", "inspect", "json", "pathlib", "typing"} & sys.modules.keys()))
    """
    # As GDB's Python is, which has no `site` that loads the files of distributions.
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
