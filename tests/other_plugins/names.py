"""Reads `names.txt`. Imported inside GDB as well, as a module by itself."""

from pathlib import Path


def read(plugin):
    """The names of a plugin by their kinds: commands, functions, parameters."""
    found = {}
    for line in Path(__file__).with_suffix(".txt").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            names = []
            found[line] = names
        elif line.startswith(" "):
            names += line.split()
    return {heading.split()[1]: names for heading, names in found.items() if heading.split()[0] == plugin}
