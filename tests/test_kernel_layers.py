"""The modules of the kernel binary form layers: none uses, through others, itself.

`cpu` is the lowest; `main`, `exceptions` and `failure` stand on top, so that they may call all of them.
Rust itself allows circles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

_SOURCE = Path(__file__).resolve().parents[1] / "kernel" / "src"
_EXPORTED_MACRO = re.compile(r"#\[macro_export\]\s*macro_rules!\s*(\w+)")
_MODULE = re.compile(r"^(?:pub )?mod (\w+);", re.MULTILINE)


def source(path: Path) -> str:
    """The text of a source file, without comments."""
    return re.sub(r"//.*", "", path.read_text())


def files(module: str, root: Path) -> list[Path]:
    """The files of a top-level module: its own, and those in its folder."""
    paths = (root / f"{module}.rs", *sorted((root / module).rglob("*.rs")))
    return [path for path in paths if path.is_file()]


def first_names(text: str) -> Iterator[str]:
    """The names right after each `crate::`; all of them where braces follow."""
    for match in re.finditer(r"\bcrate::\s*(\{|\w+)", text):
        if match[1] != "{":
            yield match[1]
            continue
        depth, start = 0, match.end()
        for place in range(match.end() - 1, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0 or (depth == 1 and text[place] == ","):
                if name := re.match(r"\s*(\w+)", text[start:place]):
                    yield name[1]
                start = place + 1
            if depth == 0:
                break


def uses(root: Path) -> dict[str, set[str]]:
    """Which top-level modules each of the binary's names, itself or by a macro that the other exports."""
    texts = {
        module: "\n".join(map(source, files(module, root)))
        for module in _MODULE.findall(source(root / "main.rs"))
    }
    owners = {module: module for module in texts}
    for module, text in texts.items():
        owners |= dict.fromkeys(_EXPORTED_MACRO.findall(text), module)
    return {
        module: {owners[name] for name in first_names(text) if name in owners} - {module}
        for module, text in texts.items()
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that use each other in a circle; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_uses_itself_through_others() -> None:
    graph = uses(_SOURCE)
    assert {"cpu", "console", "exceptions", "interrupts", "scheduler", "shell", "workload"} <= graph.keys()
    assert graph["scheduler"] >= {"cpu", "interrupts"}
    assert "console" in graph["shell"]
    assert circle(graph) == []


def test_cpu_uses_no_other_module() -> None:
    assert uses(_SOURCE)["cpu"] == set()


def test_the_scheduler_knows_no_program_by_its_name() -> None:
    programs = re.findall(r'^ *program_\w+ "([^"]+)"', source(_SOURCE / "programs" / "mod.rs"), re.MULTILINE)
    assert "checker" in programs
    literals = set(re.findall(r'"([^"]*)"', source(_SOURCE / "scheduler.rs")))
    assert literals & set(programs) == set()


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        ("use crate::high;", "use crate::low::thing;", True),
        ("use crate::{\n    other::{a, b},\n    high,\n};", "fn f() { crate::low::thing() }", True),
        ("use crate::{note};", "#[macro_export]\nmacro_rules! note { () => {} }\nuse crate::low;", True),
        ("/// See [`crate::high`].", "use crate::low::thing;", False),
        ("use crate::other::high;", "use crate::low::{high, thing};", False),
    ],
)
def test_a_circle_is_found_however_it_is_written(tmp_path: Path, low: str, high: str, found: bool) -> None:
    (tmp_path / "main.rs").write_text("mod high;\nmod low;\nmod other;\n")
    (tmp_path / "low.rs").write_text(low)
    (tmp_path / "other.rs").write_text("")
    (tmp_path / "high").mkdir()
    (tmp_path / "high" / "mod.rs").write_text(high)
    assert bool(circle(uses(tmp_path))) == found
