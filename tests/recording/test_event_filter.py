"""Which events `rewind --before` means by its words."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.kernel.events import Event
from gdbplugin.machine import SelectionError
from gdbplugin.recording.travel import _event_filter, _Filter

KINDS = ("StackGrowth", "StackShrink", "TaskEnded", "TaskStarted", "PageMoved", "LazyZero", "PressureChange")
numbers = st.integers(0, 20)
events = st.builds(
    Event,
    *(st.none() | numbers for _ in range(4)),
    st.none() | st.sampled_from(KINDS),
    *(st.none() | numbers for _ in range(2)),
)


def kebab(kind):
    return "".join(f"-{one.lower()}" if one.isupper() else one for one in kind)[1:]


@given(event=events, kind=st.sampled_from(KINDS), name=st.sampled_from(_Filter.words), number=numbers)
def test_a_filter_has_the_events_of_its_kind_and_words(event, kind, name, number):
    for written in (kind, kebab(kind)):
        assert _event_filter(written)(event) == (event.kind == kind)
        wanted = {
            "stack": event.stack,
            "asid": event.asid,
            "core": event.core,
            "address": event.first,
            "task": event.first if kind in ("TaskEnded", "TaskStarted") else None,
        }[name]
        for text in (f"{number}", f"{number:#x}"):
            matches = _event_filter(f"{written}  {name}={text}")
            assert matches(event) == (event.kind == kind and wanted == number)


def test_kinds_that_have_a_word_for_several():
    zero, moved = (Event(1, 1, 0, 5, kind, 7, 8) for kind in ("LazyZero", "PageMoved"))
    assert [_event_filter("lazy-fault address=7")(one) for one in (zero, moved)] == [True, False]
    assert _event_filter("pressure")(Event(1, 1, 0, 0, "PressureChange", 1, 2))


@given(st.text(max_size=12).filter(lambda text: text.split() == [text]))
def test_any_other_word_is_refused_by_name(word):
    name, equals, value = word.partition("=")
    with contextlib.suppress(ValueError):
        if equals and name in _Filter.words and int(value, 0) is not None:
            return
    with pytest.raises(SelectionError, match="is not one of stack=N, asid=N, task=N, core=N, address=N"):
        _event_filter(f"pressure {word}")
