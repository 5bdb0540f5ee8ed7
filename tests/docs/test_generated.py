"""The generated parts of the pages hold what they are made from, and outputs are put where they belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gdbplugin.commands import COMMANDS
from scripts.lib.docs import outputs, reference
from scripts.lib.docs.blocks import Step, blocks, pages
from scripts.lib.docs.extension import with_tables


def test_every_part_is_used_once() -> None:
    text = "\n".join(page.read_text() for page in pages())
    for name in reference.PARTS:
        assert text.count(f"<!-- generated: {name} -->") == 1


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(KeyError):
        reference.filled("<!-- generated: nothing -->")


def test_a_part_takes_the_place_of_its_mark() -> None:
    text = reference.filled("before\n<!-- generated: pytest-options -->\nafter\n")
    assert text.startswith("before\n| option | meaning |")
    assert "`--tinyos-gdb=PROGRAM`" in text
    assert text.endswith("after\n")


def test_every_command_has_its_words() -> None:
    text = reference.commands()
    for command in COMMANDS:
        assert f"## tinyos {command.word}\n" in text
        assert command.usage in text
        for parameter in (*command.arguments, *command.options):
            assert f"`{parameter.usage.strip('[]')}`".replace("|", "\\|") in text


def test_functions_and_settings_are_read_from_the_source() -> None:
    functions = reference.functions()
    for usage in (
        "$tinyos_asid()",
        "$tinyos_stack(ID)",
        "$tinyos_task()",
        "$tinyos_lazy(ADDRESS)",
        "$tinyos_level()",
    ):
        assert f"`{usage}" in functions
    settings = reference.settings()
    for name in ("color", "limit", "unicode", "width", "manager [PATH | auto]"):
        assert f"`set tinyos {name}`" in settings


def test_every_schema_has_its_keys() -> None:
    text = reference.schemas()
    for path in reference.SCHEMAS.glob("*.json"):
        schema = json.loads(path.read_text())
        assert f"`{path.name} <" in text
        for key in schema.get("properties", {}):
            assert f"`{key}`" in text


def test_the_kernels_interface_is_taken_whole() -> None:
    text = reference.kernel_interface()
    assert "## Reading while the kernel runs" in text
    assert "`DEBUGGER_INTERFACE`" in text
    assert "crate::" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b | c", "a \\< b | c"),
        ("`a < b` and a_b", "`a < b` and a\\_b"),
        ("one ` alone", "one ` alone"),
    ],
)
def test_plain_text_becomes_markdown(text: str, expected: str) -> None:
    assert reference._escaped(text) == expected


def test_a_table_in_a_docstring_becomes_a_list() -> None:
    lines = ["Before.", "", "| what | of |", "| --- | --- |", "| `a` | `b` |", "", "After."]
    assert with_tables(lines) == [
        *("Before.", ""),
        *(".. list-table::", "   :header-rows: 1", ""),
        *("   * - what", "     - of", "   * - `a`", "     - `b`"),
        *("", "After."),
    ]


# Outputs


PAGE = """```console first
(gdb) tinyos stats
old
…
old
(gdb) print 1  # a comment
```
text
```console first
tinyos> stacks
```
"""


def test_a_block_has_its_steps() -> None:
    first, second = blocks(Path("page.md"), PAGE)
    assert first.steps == [
        Step("(gdb) ", "tinyos stats", ["old", "…", "old"]),
        Step("(gdb) ", "print 1  # a comment", []),
    ]
    assert first.steps[1].bare == "print 1"
    assert (first.name, second.name, second.steps[0].command) == ("first", "first", "stacks")


def test_an_output_before_any_prompt_is_an_error() -> None:
    (block,) = blocks(Path("page.md"), "```console\nlost\n(gdb) x\n```\n")
    with pytest.raises(ValueError, match="begins without a prompt"):
        block.steps  # noqa: B018


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ([], ["1", "2", "3", "4"]),
        (["a", "…"], ["1", "…"]),
        (["a", "…", "z"], ["1", "…", "4"]),
        (["a", "b", "…", "y", "z"], ["1", "2", "3", "4"]),
    ],
)
def test_an_ellipsis_keeps_its_place(old: list[str], expected: list[str]) -> None:
    assert outputs.shortened(["1", "2", "3", "4"], old) == expected


def test_outputs_are_put_after_their_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    ran = []

    def run(steps: list[Step], kernel: Path, options: list[str]) -> list[list[str]]:
        assert not options
        ran.append(([step.bare for step in steps], kernel))
        return [["1", "2", "3"], ["$1 = 1"], ["a stack"]]

    monkeypatch.setattr(outputs, "run", run)
    new = outputs.rewritten(PAGE, page, {"first": Path("patched.elf")}, Path("kernel.elf"))
    assert ran == [(["tinyos stats", "print 1", "stacks"], Path("patched.elf"))]
    assert new == PAGE.replace("old\n…\nold\n", "1\n…\n3\n").replace(
        "comment\n", "comment\n$1 = 1\n"
    ).replace("stacks\n", "stacks\na stack\n")
