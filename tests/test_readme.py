"""The programs in the README are run as they stand there: a fence's second word names the file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS

TOP = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```python (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.xdist_group("readme")


def _programs() -> dict[str, str]:
    return dict(_FENCE.findall((TOP / "README.md").read_text()))


def test_every_program_is_known_here() -> None:
    text = (TOP / "README.md").read_text()
    assert len(_programs()) == len(re.findall(r"^```python", text, re.MULTILINE))


@pytest.mark.parametrize("name", _programs())
def test_a_program_of_the_readme_runs(
    name: str, shared_machine: TinyOS, kernel_elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / name
    program.write_text(_programs()[name])
    monkeypatch.setenv("TINYOS_KERNEL", str(kernel_elf))
    # As in an active environment: the package's programs are on the PATH.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    if name.startswith("test_"):
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(program)]
    else:
        command = [str(program), shared_machine.qemu.gdb_address]
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
    (block,) = re.findall(r"^```json\n(.*?)^```$", (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (settings,) = json.loads(block.replace("${workspaceFolder}", str(TOP)))["configurations"]
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
