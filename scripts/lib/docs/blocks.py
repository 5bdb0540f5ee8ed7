"""The fenced blocks of the pages: what they show, and which lines of them are commands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
DOCS = TOP / "docs"
PROMPTS = ("(gdb) ", "tinyos> ", "$ ")
"""GDB's prompt, that of tinyos-repl, and the shell's."""
ELLIPSIS = "…"
"""A line that stands for lines left out."""

_FENCE = re.compile(r"^( *)```(\w*)(?: (\S+))?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: the two words after the fence, and its text.

    The second word of a `console` block names the session that its commands are run in, that of a program
    the file it is saved as.
    """

    page: Path
    language: str
    name: str
    text: str
    start: int
    """Where the text begins in the page."""

    @property
    def steps(self) -> list[Step]:
        """The commands of a `console` block, each with the lines shown after it."""
        steps: list[Step] = []
        for line in self.text.splitlines():
            prompt = next((prompt for prompt in PROMPTS if line.startswith(prompt)), None)
            if prompt is not None:
                steps.append(Step(prompt, line.removeprefix(prompt), []))
            elif steps:
                steps[-1].output.append(line)
            else:
                raise ValueError(f"{self.page}: the block {line!r} begins without a prompt")
        return steps


@dataclass(frozen=True)
class Step:
    """A command at a prompt, and what is shown after it."""

    prompt: str
    command: str
    output: list[str]

    @property
    def bare(self) -> str:
        """The command without a comment."""
        return re.sub(r"\s+# .*", "", self.command)


def pages() -> list[Path]:
    """The README and every page of the documentation."""
    return [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path, text: str | None = None) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _FENCE.finditer(page.read_text() if text is None else text):
        body = textwrap.dedent(found[4]) if found[1] else found[4]
        yield Block(page, found[2], found[3] or "", body, found.start(4))


def all_blocks(language: str) -> list[Block]:
    """The blocks of a language on all pages."""
    return [block for page in pages() for block in blocks(page) if block.language == language]
