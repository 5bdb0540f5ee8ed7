"""The page: its head, the table of contents and the chapters, findings first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gdbplugin.dump.whole_file import whole_file
from gdbplugin.html import chapters, memory
from gdbplugin.html.markup import STYLE, Markup, chapter, element, facts, join, listed, paragraph
from gdbplugin.html.style import CSS
from gdbplugin.html.timeline import timeline
from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from gdbplugin.html.contents import Contents

    _Object = TypeVar("_Object")

_TITLE = "TinyOS report"
# Whatever the page says, a browser loads nothing for it, and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class ReportFile:
    """A report that was written as a page of HTML."""

    path: str
    """The file."""
    size: int
    """Its bytes."""
    finding_count: int
    """Number of findings, including those that are not listed."""


class Chapter(NamedTuple):
    """A chapter: the name of its link, its title, and its text."""

    name: str
    title: str
    text: Markup


def write_page(contents: Contents, path: str) -> ReportFile:
    """Write the page to a file, whole or not at all. Raises a `MachineError` in one line."""
    data = page(contents).encode("utf-8")
    with whole_file(path) as file:
        file.write(data)
    return ReportFile(str(Path(path).expanduser()), len(data), contents.diagnostics.finding_count)


def page(contents: Contents) -> str:
    """The page as text."""
    title = f"{_TITLE}: {contents.source}, {contents.date:%Y-%m-%d %H:%M:%S}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(CSS)),
    )
    found = _chapters(contents)
    links = listed(element("a", one.title, href=f"#{one.name}") for one in found)
    body = element(
        "body",
        element("header", element("h1", _TITLE), _about(contents)),
        element("nav", links, aria_label="Contents"),
        element("main", *(chapter(one.name, one.title, one.text) for one in found)),
        element("footer", paragraph("Written by tinyos-gdb. This file needs no other one.")),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _about(contents: Contents) -> Markup:
    report = contents.report
    level = None if report is None else report.pressure.pressure.level
    return facts(
        [
            ("From", contents.source),
            ("Read at", f"{contents.date:%Y-%m-%d %H:%M:%S %Z}"),
            ("State", "failed" if contents.failure is not None else "no failure on record"),
            ("Findings", f"{contents.diagnostics.finding_count:,}"),
            ("Pressure", STYLE.text(level)),
            ("Kernel", STYLE.text(contents.kernel)),
            ("Build-id", STYLE.text(contents.build_id)),
        ]
    )


def _chapters(contents: Contents) -> list[Chapter]:
    """The chapters in their order. Of a part that could not be read, its chapter says why."""
    report = contents.report
    context = None if report is None else report.context
    recent = None if report is None else report.recent

    def made(
        name: str, title: str, part: str, read: _Object | None, show: Callable[[_Object], Markup]
    ) -> Chapter:
        if read is not None:
            return Chapter(name, title, show(read))
        return Chapter(name, title, _lack(contents.problems.get(part)))

    found = [
        Chapter("findings", "Findings", chapters.findings(contents)),
        made("summary", "Summary", "report", report, chapters.summary),
        made("tasks", "Tasks", "tasks", contents.tasks, chapters.tasks),
        made("backtraces", "Backtraces", "backtraces", contents.backtraces, chapters.backtraces),
        made("stacks", "Stacks", "report", report, memory.stacks),
        made("pool", "Frames", "report", report, lambda one: memory.pool(one.pressure, contents.frame_table)),
        made("lazy-pages", "Lazy pages", "report", report, memory.lazy_pages),
        made("cores", "Cores and address spaces", "report", context, chapters.context),
        made("timeline", "Timeline", "timeline", contents.past, timeline),
        made("events", "Newest events", "report", recent, chapters.newest_events),
        made("difference", "Difference", "difference", contents.difference, chapters.difference),
    ]
    if problem := contents.problems.get("check"):
        first = found[0]
        found[0] = first._replace(text=join([first.text, _lack(f"The check: {problem}")]))
    return found


def _lack(problem: str | None) -> Markup:
    said = problem or "This kernel has nothing of the kind on record."
    return paragraph(said[:1].upper() + said[1:] + ("" if said.endswith(".") else "."), class_="lack")
