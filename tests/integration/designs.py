"""What the kernels of tests/kernels write on their serial lines."""

from __future__ import annotations

FIRST, SECOND = "orchard::heart::DYNAMIC_MEMORY_MANAGER", "orchard::reserve::DYNAMIC_MEMORY_MANAGER"


def parsed(transcript):
    """The figures in what a kernel wrote: by the first word of a line, each line's words as a dict."""
    found = {}
    for line in transcript.splitlines():
        kind, *words = line.split()
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        found.setdefault(kind, []).append({name: value_of(text) for name, text in pairs.items()})
    return found


def value_of(text):
    if text in ("true", "false"):
        return text == "true"
    if "," in text:
        return [int(number) for number in text.split(",")]
    return int(text) if text.isdigit() else text


def told(session):
    """What the kernel wrote, up to its last line."""
    session.console.expect("ready\n")
    return session.console.transcript


def merged(records):
    return {name: value for entry in records for name, value in entry.items()}
