"""Reads a page of HTML back, more strictly than a browser does: what is not well-formed is an error."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "col"}
_ELEMENTS = (
    "html head meta title style body header nav main section footer h1 h2 h3 p a b code dl div dt dd ul ol "
    "li table caption thead tbody tr th td details summary figure figcaption span svg path"
)
ELEMENTS = frozenset(_ELEMENTS.split())
"""Every element that a page may have: none of them loads or runs anything."""
_ATTRIBUTES = (
    "aria-label aria-labelledby charset class content d height href http-equiv id lang name open "
    "preserveaspectratio role scope style tabindex viewbox"
)
ATTRIBUTES = frozenset(_ATTRIBUTES.split())


class Element:
    """An element with its attributes, and all that is in it."""

    def __init__(self, name, attributes):
        self.name = name
        self.attributes = attributes
        self.children = []

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, name=None, class_=None):
        """The elements in it of this name and class, in their order."""
        found = []
        for child in self.children:
            if not isinstance(child, str):
                if name in (None, child.name) and class_ in (None, child.attributes.get("class")):
                    found.append(child)
                found += child.all(name, class_)
        return found

    def one(self, name, **attributes):
        (found,) = [each for each in self.all(name) if attributes.items() <= each.attributes.items()]
        return found

    def table(self, caption):
        """The rows of a table below a caption, each as a dict by the headers."""
        (found,) = [each for each in self.all("table") if each.one("caption").text.startswith(caption)]
        headers = [cell.text for cell in found.all("th")]
        rows = [[cell.text for cell in row.all("td")] for row in found.one("tbody").all("tr")]
        return [dict(zip(headers, row, strict=True)) for row in rows]

    def facts(self):
        return {each.one("dt").text: each.one("dd").text for each in self.one("dl").all("div")}

    def captions(self):
        """The words of each picture: its title, and the rest."""
        found = {}
        for figure in self.all("figure"):
            said = figure.one("figcaption")
            title = said.one("b").text
            assert title not in found
            found[title] = said.text.removeprefix(title).strip()
        return found


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        assert tag in ELEMENTS, tag
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), names
        assert set(names) <= ATTRIBUTES, names
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        assert tag == "path", tag
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop().name == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    def handle_pi(self, data):
        raise AssertionError(data)

    def unknown_decl(self, data):
        raise AssertionError(data)


def parse(text):
    """The elements of a text, each opened one closed."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def read(text):
    """A whole page: well-formed, with unique IDs, links that lead somewhere, and nothing that is loaded."""
    assert text.startswith("<!DOCTYPE html>\n")
    root = parse(text)
    page = root.one("html")
    assert page.attributes["lang"] == "en"
    assert page.one("title").text
    everything = page.all()
    names = [each.attributes["id"] for each in everything if "id" in each.attributes]
    assert len(set(names)) == len(names)
    for each in everything:
        if "href" in each.attributes:
            assert each.name == "a"
            assert each.attributes["href"][0] == "#"
            assert each.attributes["href"][1:] in names
        if "aria-labelledby" in each.attributes:
            assert each.attributes["aria-labelledby"] in names
        if each.name == "svg":
            assert each.attributes["aria-label"]
            assert each.attributes["role"] == "img"
        if each.name == "path":
            assert re.fullmatch(r"[MHVhvz0-9 -]+", each.attributes["d"])
        if "style" in each.attributes:
            assert re.fullmatch("height:[0-9]+px", each.attributes["style"])
    css = page.one("style").text
    assert not re.search(r"url\(|@import|http|<", css)
    return page
