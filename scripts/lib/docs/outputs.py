"""Runs the commands that the pages show, on the real kernel, and puts in what they print.

The blocks of one page that name the same session are carried out in order by one `tinyos-repl`. A block of a
session whose name is also that of a patch in `docs/` runs on the kernel with that patch. The session
`recorded` is recorded.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from scripts.lib.docs.blocks import DOCS, ELLIPSIS, TOP, Block, Step, blocks, pages

_SECONDS = 280
_MARK = "=== command {number} ==="


class CommandFailedError(Exception):
    """A command that a page shows failed."""


def sessions(page: Path) -> dict[str, list[Block]]:
    """The blocks of a page that are run, by their session."""
    found: dict[str, list[Block]] = {}
    for block in blocks(page):
        if block.language == "console" and block.name:
            found.setdefault(block.name, []).append(block)
    return found


def patch_of(session: str) -> Path | None:
    """The patch of the kernel that a session is run with."""
    path = DOCS / f"{session}.patch"
    return path if path.is_file() else None


def options_of(session: str) -> list[str]:
    """The options of `tinyos-repl` that a session is run with."""
    return ["--record"] if session == "recorded" else []


def run(steps: list[Step], kernel: Path, options: list[str]) -> list[list[str]]:
    """What each command prints. Raises `CommandFailedError`."""
    commands = []
    for number, step in enumerate(steps):
        commands += ["-c", f"echo {_MARK.format(number=number)}\\n", "-c", step.bare]
    program = [sys.executable, "-m", "gdbplugin.repl.main", "--kernel", str(kernel), *options, *commands]
    done = subprocess.run(program, cwd=TOP, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise CommandFailedError(f"{done.stderr.strip()}\nafter:\n{done.stdout[-2000:]}")
    return _parted(done.stdout, len(steps))


def _parted(text: str, count: int) -> list[list[str]]:
    """The lines between the marks."""
    parts, rest = [], text
    for number in range(count):
        before, mark, rest = rest.partition(_MARK.format(number=number) + "\n")
        if not mark:
            raise CommandFailedError(f"command {number} was not carried out:\n{text[-2000:]}")
        parts.append(before)
    parts.append(rest)
    return [part.rstrip("\n").split("\n") if part.strip() else [] for part in parts[1:]]


def shortened(new: list[str], old: list[str]) -> list[str]:
    """As many of the new lines around the ellipsis as there were before; all of them without one."""
    if ELLIPSIS not in old:
        return new
    head = old.index(ELLIPSIS)
    tail = len(old) - head - 1
    if head + tail >= len(new):
        return new
    return [*new[:head], ELLIPSIS, *new[len(new) - tail :]]


def rewritten(text: str, page: Path, kernels: dict[str, Path], kernel: Path) -> str:
    """The text of a page with the outputs of now."""
    replaced: dict[int, tuple[str, str]] = {}
    for name, found in sessions(page).items():
        steps = [block.steps for block in found]
        every = [step for group in steps for step in group]
        printed = iter(run(every, kernels.get(name, kernel), options_of(name)))
        for block, group in zip(found, steps, strict=True):
            lines = []
            for step in group:
                lines += [step.prompt + step.command, *shortened(next(printed), step.output)]
            replaced[block.start] = block.text, "".join(f"{line}\n" for line in lines)
    for start, (old, new) in sorted(replaced.items(), reverse=True):
        text = text[:start] + new + text[start + len(old) :]
    return text


def main() -> None:
    """Rewrite the pages."""
    parser = argparse.ArgumentParser(prog="scripts/docs --outputs", description=__doc__)
    parser.add_argument("--kernel", type=Path, required=True, help="the kernel's ELF")
    parser.add_argument(
        "--patched", nargs=2, action="append", default=[], metavar=("SESSION", "ELF"), help="one with a patch"
    )
    given = parser.parse_args()
    kernels = {name: Path(path) for name, path in given.patched}
    for page in pages():
        old = page.read_text()
        try:
            new = rewritten(old, page, kernels, given.kernel)
        except CommandFailedError as error:
            sys.exit(f"tinyos: error: {page.relative_to(TOP)}: {error}")
        if new != old:
            page.write_text(new)
            print(f"tinyos: {page.relative_to(TOP)}: outputs are new", file=sys.stderr)


if __name__ == "__main__":
    main()
