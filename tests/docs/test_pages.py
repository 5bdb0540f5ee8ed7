"""The pages: every command shown is one that exists, and every message quoted is one of the program's."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from gdbplugin.commands import COMMANDS
from gdbplugin.commands.parsing import parse, split
from scripts.lib.docs.blocks import DOCS, TOP, Block, Step, all_blocks, blocks, pages

WORDS = {command.word: command for command in COMMANDS}
WORDS |= {prefix + command.letter: command for command in COMMANDS if command.letter for prefix in ("", "*")}
LANGUAGES = {"console", "python", "json", "ini", "diff", "text"}
GDB_COMMANDS = {"break", "print", "target", "set", "show", "source", "delete", "continue", "echo", "list"}
GDB_COMMANDS |= {"monitor", "disconnect", "info", "thread", "bt", "tbreak", "finish"}
REPL_COMMANDS = {"console", "live", "help", "restart", "quit", "interrupt"}
# What is not of this project, and takes what it takes.
OTHER_PROGRAMS = {
    "docker",
    "echo",
    "gdb-multiarch",
    "git",
    "openocd",
    "patch",
    "pip",
    "pytest",
    "qemu-system-aarch64",
    "tio",
}
CONSOLES = all_blocks("console")


def _id(block: Block) -> str:
    return f"{block.page.relative_to(TOP)}:{block.steps[0].command[:40]}"


def _steps(prompt: str) -> list[Step]:
    return [step for block in CONSOLES for step in block.steps if step.prompt == prompt]


def _require_command(words: str) -> None:
    """Fail unless this is a command of the plugin, and takes these words."""
    word, *rest = split(words)
    assert word in WORDS, words
    parse(WORDS[word], rest)


def test_the_pages_have_only_blocks_that_are_checked() -> None:
    for page in pages():
        assert {block.language for block in blocks(page) if block.language} <= LANGUAGES, page


@pytest.mark.parametrize("block", CONSOLES, ids=_id)
def test_an_output_is_shown_only_where_it_is_renewed(block: Block) -> None:
    has_output = any(step.output for step in block.steps)
    assert has_output == bool(block.name)


@pytest.mark.parametrize("step", _steps("(gdb) "), ids=lambda step: step.command)
def test_a_command_in_gdb_exists(step: Step) -> None:
    word, _, rest = step.bare.partition(" ")
    if word == "tinyos":
        _require_command(rest)
    else:
        assert word in GDB_COMMANDS
    if step.bare.startswith(("set tinyos", "show tinyos ")):
        assert f'"{step.bare.split()[2]}"' in (TOP / "gdbplugin/debugger/preferences.py").read_text()
    for name in re.findall(r"\$tinyos_(\w+)\(", step.bare):
        assert f'word = "{name}"' in (TOP / "gdbplugin/debugger/functions.py").read_text()


@pytest.mark.parametrize("step", _steps("tinyos> "), ids=lambda step: step.command)
def test_a_command_at_the_prompt_exists(step: Step) -> None:
    word = step.bare.split()[0]
    if word not in REPL_COMMANDS | GDB_COMMANDS:
        _require_command(step.bare)


@pytest.mark.parametrize("step", _steps("$ "), ids=lambda step: step.command)
def test_a_program_in_the_shell_exists(step: Step) -> None:
    for part in step.bare.split(" | "):
        program, *words = shlex.split(part)
        if program in OTHER_PROGRAMS:
            continue
        if program == "tinyos-gdb":
            assert "tinyos-gdb =" in (TOP / "pyproject.toml").read_text()
            continue
        if program == "tinyos-repl":
            usage = _usage("gdbplugin/repl/main.py")
        else:
            assert (TOP / program).is_file(), program
            usage = _usage(program)
        for option in (word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", usage), f"{program} has no option {option}"
        for words_of_command in (word for word in words if word.startswith("tinyos ")):
            _require_command(words_of_command.removeprefix("tinyos "))


def _usage(program: str) -> str:
    return (TOP / program).read_text()


def test_every_file_named_exists() -> None:
    for page in pages():
        for path in re.findall(r"`((?:gdbplugin|scripts|tests|kernel|docs)/[\w./-]*)", page.read_text()):
            assert (TOP / path).exists(), f"{page}: {path}"


def test_every_command_is_in_the_tour() -> None:
    shown = {split(step.bare)[1] for step in _steps("(gdb) ") if step.bare.startswith("tinyos ")}
    assert set(WORDS) & shown >= {command.word for command in COMMANDS}


# Messages


def _literals() -> Iterator[str]:
    """The texts in the source; what is put into them while the program runs is an ellipsis."""
    for path in [*(TOP / "gdbplugin").rglob("*.py"), *(TOP / "scripts/lib").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    for path in [*(TOP / "scripts").glob("*"), *(TOP / "scripts/lib").glob("*.sh")]:
        if path.is_file():
            yield path.read_text()


SOURCE = "\n".join(_literals())
TROUBLES = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("message", TROUBLES)
def test_a_message_that_is_explained_exists(message: str) -> None:
    assert message in SOURCE


def test_messages_are_explained_once() -> None:
    assert len(set(TROUBLES)) == len(TROUBLES) >= 25


# The tutorial's kernel


@pytest.mark.parametrize("patch", sorted(DOCS.glob("*.patch")), ids=lambda patch: patch.name)
def test_a_patch_fits_the_kernel(patch) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
