"""Elements, escaping and pictures."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.html.drawing import WIDTH, Scale, bars, heights, runs, steps
from gdbplugin.html.markup import Markup, element, join, paragraph, table
from tests.html.reading import parse


def clean(text):
    return "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text
    )


ANY_TEXT = st.text(st.characters()) | st.sampled_from(
    (
        "<script>alert(1)</script>",
        "</title>",
        "-->",
        "<![CDATA[",
        "&lt;",
        '" onload="x',
        "'",
        "\u202e",
        "\ud800",
    )
)


@given(ANY_TEXT)
def test_any_text_is_read_back_as_text(text):
    (found,) = parse(paragraph(text)).children
    assert (found.name, found.text) == ("p", clean(text))
    assert not found.all()


@given(ANY_TEXT)
def test_any_text_is_read_back_from_an_attribute(text):
    (found,) = parse(element("div", aria_label=text)).children
    assert found.attributes == {"aria-label": clean(text)}


@given(ANY_TEXT, ANY_TEXT)
def test_a_table_has_the_cells_that_it_was_given(one, other):
    found = parse(table(one, ("a", "b"), [(one, other)], ("b",)))
    assert [cell.text for cell in found.all("td")] == [clean(one), clean(other)]
    assert [cell.attributes.get("class") for cell in found.all("td")] == [None, "n"]


def test_markup_is_kept_and_text_is_not_markup():
    assert join([Markup("<b>"), "<b>"]) == "<b>&lt;b&gt;"
    assert element("p", class_=None, tabindex=0) == '<p tabindex="0"></p>'


@given(st.sets(st.integers(0, 60)))
def test_runs_have_all_numbers_once_and_never_touch(units):
    found = runs(units)
    assert {unit for begin, end in found for unit in range(begin, end)} == units
    assert all(first[1] < second[0] for first, second in itertools.pairwise(found))


@given(st.integers(0, 1 << 64), st.integers(0, 1 << 64), st.integers(-(1 << 65), 1 << 65))
def test_everything_is_inside_a_picture(first, last, number):
    assert 0 <= Scale(first, last)(number) <= WIDTH


@given(st.lists(st.tuples(st.integers(0, WIDTH), st.integers(0, WIDTH))))
def test_each_bar_is_seen_and_inside(spans):
    drawn = bars("k", spans, 0, 5)
    covered = {
        unit
        for begin, width in re.findall(r"M(\d+) 0h(\d+)", drawn)
        for unit in range(int(begin), int(begin) + int(width))
    }
    assert covered <= set(range(WIDTH))
    for begin, end in spans:
        assert set(range(begin, max(end, begin))) <= covered
        assert min(begin, WIDTH - 1) in covered


@given(st.lists(st.tuples(st.integers(0, WIDTH), st.integers(0, 1 << 70)), min_size=1))
def test_a_line_stays_inside_and_has_its_extremes(points):
    points.sort(key=lambda point: point[0])
    drawn = parse(steps("k", points, 40)).one("path").attributes["d"]
    ups = [int(up) for up in re.findall(r"(?:V|M\d+ )(-?\d+)", drawn)]
    assert all(0 <= up <= 40 for up in ups)
    values = [value for _, value in points]
    if min(values) < max(values):
        assert {min(ups), max(ups)} == {2, 38}
    assert drawn.endswith(f"H{WIDTH}")


def test_a_share_that_is_small_is_seen_and_none_is_not():
    drawn = parse(heights("k", [0.0, 0.001, 1.0, 0.0], 20)).one("path").attributes["d"]
    assert drawn == "M250 20v-4h250v4zM500 20v-20h250v20z"
