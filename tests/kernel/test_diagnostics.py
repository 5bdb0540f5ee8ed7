"""The one note on what a kernel lacks."""

import pytest

from gdbplugin.kernel.diagnostics import Diagnostics


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ([("", "W")], "this kernel has no W"),
        ([("", "W"), ("", "V", "which is None now")], "this kernel has no W, no V (which is None now)"),
        ([("A", "field x")], "this kernel's A has no field x"),
        (
            [("", "W"), ("A", "field x"), ("B", "z"), ("A", "y")],
            "this kernel's A has no x, y; its B no z; it has no W",
        ),
    ],
)
def test_one_note_names_everything_that_is_missing(missing, note):
    diagnostics = Diagnostics()
    for entry in missing:
        diagnostics.add_missing(*entry)
    assert diagnostics.notes == [note]


def test_only_named_or_explained_things_of_the_kernel_are_kept():
    diagnostics = Diagnostics()
    for entry in (("", "V"), ("", "W"), ("", "X", "which is None now"), ("A", "x")):
        diagnostics.add_missing(*entry)
    diagnostics.add_note("first")
    kept = diagnostics.only_missing(("W", "x"))
    assert kept.notes == ["first", "this kernel has no W, no X (which is None now)"]
