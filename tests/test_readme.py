"""The README and the programs of the documentation: each is run as it stands there.

A fence's second word names the file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS
from scripts.lib.docs.blocks import DOCS, TOP, Block, all_blocks, blocks, pages

PROGRAMS = all_blocks("python")

pytestmark = pytest.mark.xdist_group("readme")


def _id(program: Block) -> str:
    return f"{program.page.relative_to(TOP)}:{program.name}"


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((TOP / "README.md").read_text().splitlines()) <= 150


def test_every_program_names_its_file() -> None:
    fences = sum(len(re.findall(r"^ *```python", page.read_text(), re.MULTILINE)) for page in pages())
    assert len(PROGRAMS) == fences
    assert all(program.name.endswith(".py") for program in PROGRAMS)
    assert len({_id(program) for program in PROGRAMS}) == len(PROGRAMS)


def test_every_page_links_to_what_exists() -> None:
    for page in [*pages(), TOP / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("program", PROGRAMS, ids=_id)
def test_a_program_runs(
    program: Block, shared_machine: TinyOS, kernel_elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / program.name
    path.write_text(program.text)
    monkeypatch.setenv("TINYOS_KERNEL", str(kernel_elf))
    # As in an active environment: the package's programs are on the PATH.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    if program.name.startswith("test_"):
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(path)]
    else:
        command = [str(path), shared_machine.qemu.gdb_address]
    # As in a checkout, with the kernel of this run.
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "kernel.elf").symlink_to(kernel_elf)
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


def test_what_vs_code_starts_answers(shared_machine: TinyOS, kernel_elf: Path) -> None:
    """By the commands that its extension sends: the ELF, the address, and what is typed after `-exec`."""
    (block,) = [block for block in blocks(DOCS / "howto/vscode.md") if block.language == "json"]
    (settings,) = json.loads(block.text.replace("${workspaceFolder}", str(TOP)))["configurations"]
    assert Path(settings["program"]) == TOP / "build" / "kernel.elf"
    shared_machine.detach()
    commands = (
        f"1-file-exec-and-symbols {kernel_elf}",
        f"2-target-select remote {shared_machine.qemu.gdb_address}",
        '3-interpreter-exec console "tinyos stats"',
        "4-gdb-exit",
    )
    done = subprocess.run(
        [settings["miDebuggerPath"], "--interpreter=mi"],
        input="".join(f"{command}\n" for command in commands),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert re.search(r"^2\^connected", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert re.search(r"^3\^done", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "total_dynamic_stacks" in done.stdout
