"""The kernel shell's answers, read as a program would. Their form is documented in kernel/src/text/mod.rs."""

from __future__ import annotations

import re

_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_FIGURE = re.compile(r"([a-z_]\w*(?: \w+)*): (.+)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) (B|KiB|MiB)\b")
_FRAMES = re.compile(r"(\d+) \((\d+(?:\.\d+)? (?:B|KiB|MiB))\)")
PAGE_BYTES = 4096

Value = int | str


def value(text: str) -> Value:
    """A figure as a number where it is one: sizes in bytes, addresses, frames without their size."""
    if frames := _FRAMES.fullmatch(text):
        assert value(frames[2]) == int(frames[1]) * PAGE_BYTES, f"the size of {text!r} is wrong"
        return int(frames[1])
    if size := _SIZE.fullmatch(text):
        return int(float(size[1]) * _UNITS[size[2]])
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"0x[0-9a-f]+", text):
        return int(text, 16)
    return text


def figures(answer: str) -> dict[str, Value]:
    """The lines `name: value` of an answer."""
    found: dict[str, Value] = {}
    for line in answer.splitlines():
        if match := _FIGURE.fullmatch(line):
            assert match[1] not in found, f"{match[1]} stands twice in:\n{answer}"
            found[match[1]] = value(match[2])
    return found


def table(answer: str, first_column: str) -> list[dict[str, Value]]:
    """The rows of the table whose header begins with `first_column`.

    A size is one value, though it is two words; the first and the last column may hold several words.
    """
    lines = iter(answer.splitlines())
    for line in lines:
        header = line.split()
        if header[:1] == [first_column]:
            break
    else:
        raise AssertionError(f"no table of {first_column} in:\n{answer}")
    rows = []
    for line in lines:
        # A figure, a note of rows not shown, a heading, or the header of the next table ends this one.
        if _FIGURE.fullmatch(line) or line.startswith("[") or not re.search(r"\d|(^| )-( |$)", line):
            break
        words = _SIZE.sub(lambda size: f"{size[1]}_{size[2]}", line).split()
        if len(words) < len(header):
            break
        rows.append(dict(zip(header, _cells(words, len(header)), strict=True)))
    return rows


def _cells(words: list[str], count: int) -> list[Value]:
    extra = len(words) - count
    if extra > 0 and not re.search(r"\d", words[0] + words[1]) and words[1] != "-":
        # "Cache Optimization": a name of two words in the first column.
        words = [" ".join(words[:2]), *words[2:]]
    words = [*words[: count - 1], " ".join(words[count - 1 :])]
    return [value(word.replace("_", " ") if re.fullmatch(r"[\d.]+_\w+", word) else word) for word in words]
