"""Building blocks of HTML: elements, tables, chapters. What is not `Markup` is text, and is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gdbplugin.render import Style

STYLE = Style(width=10_000)
"""For numbers with units: without colours, and without ends of lines."""

_VOID = frozenset({"meta", "br", "rect", "path", "line", "col"})
_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


EMPTY = Markup()


def element(name: str, /, *children: str, **attributes: str | int | None) -> Markup:
    """An element with its children; an attribute that is None is left out.

    In names of attributes an underscore stands for a hyphen; one at the end keeps Python's own words apart.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{said}>" if name in ("meta", "br", "col") else f"<{name}{said}/>")
    return Markup(f"<{name}{said}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """The parts, one after the other: markup as it is, text escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts))


def escaped(text: str) -> Markup:
    """Text as HTML. What a kernel says may be anything: what cannot be printed is replaced.

    That is what controls a terminal, what reverses the direction of text, and halves of characters.
    """
    clean = "".join(each if each.isprintable() or each == "\n" else _UNPRINTABLE for each in text)
    return Markup(escape(clean, quote=True))


def paragraph(*children: str, class_: str | None = None) -> Markup:
    """A paragraph."""
    return element("p", *children, class_=class_)


def listed(items: Iterable[str], class_: str | None = None) -> Markup:
    """A list."""
    return element("ul", *(element("li", item) for item in items), class_=class_)


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and what they are."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs)
    )


def table(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()
) -> Markup:
    """A table in a box of its own, which scrolls if it is too wide. Columns named in `right` are numbers."""
    at_right = set(right)
    classes = ["n" if header in at_right else None for header in headers]
    heads = [
        element("th", header, scope="col", class_=kind) for header, kind in zip(headers, classes, strict=True)
    ]
    body = [
        element("tr", *(element("td", cell, class_=kind) for cell, kind in zip(row, classes, strict=True)))
        for row in rows
    ]
    found = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
    )
    # It can be scrolled by keys only if it can be focused.
    return element("div", found, class_="scroll", role="region", aria_label=caption, tabindex=0)


def chapter(name: str, title: str, *children: str) -> Markup:
    """A chapter; `name` is what links lead to."""
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def folded(summary: str, *children: str, is_open: bool = False) -> Markup:
    """Something that the reader can fold."""
    return element("details", element("summary", summary), *children, open="" if is_open else None)


def and_more(count: int, shown: int, word: str) -> Markup:
    """A line that says how many more there are; nothing if all are shown."""
    return paragraph(f"and {STYLE.counted(count - shown, f'more {word}')}") if count > shown else EMPTY
