"""The REPL in a real terminal, by tmux, with a kernel whose tasks do not run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.repl.pane import Pane
from tests.session.processes import wait_until_gone

_TOP = Path(__file__).resolve().parents[2]

_SESSION = """
import sys
from pathlib import Path
from gdbplugin.repl.output import Output, style_of
from gdbplugin.repl.prompt import Prompt, history_file, open_history
from gdbplugin.repl.repl import Repl, ReplOptions, SessionOptions

kernel, answer = map(Path, sys.argv[1:])
output = Output(sys.stdout, sys.stderr, style_of(sys.stdout), for_person=True)
with Repl(SessionOptions(kernel), output, ReplOptions(interactive=True)) as repl:
    repl.session.shell("hold")
    answer.with_suffix(".part").write_text(repl.target.json("report"))
    answer.with_suffix(".part").rename(answer)
    Prompt(repl, open_history(history_file(), print)[0]).loop()
    print("left, lost", repl.session.ended)
"""


@pytest.fixture
def start(pane: Pane, tmp_path: Path, kernel_elf: Path) -> Callable[..., dict[str, Any]]:
    """Starts the REPL; returns the library's report of its kernel, whose tasks do not run."""

    def started(width: int, height: int, **environment: str) -> dict[str, Any]:
        answer = tmp_path / "report.json"
        pane.start(
            [sys.executable, "-c", _SESSION, str(kernel_elf), str(answer)], width, height, **environment
        )
        pane.see(lambda lines: lines[-1].startswith("running"), "the status line")
        report: dict[str, Any] = json.loads(answer.read_text())
        return report

    return started


def _check_status(lines: list[str], report: dict[str, Any], separator: str, width: int) -> None:
    """The last line agrees with the library, and fits the width."""
    parts = [part.strip() for part in lines[-1].split(separator)]
    pressure, frames = report["pressure"], report["frames"]
    share = 100 * (frames["free_frames"] + frames["cached_frames"]) // pressure["limit_frames"]
    assert parts[0].startswith(("running", "stopped in"))
    shown = next(part for part in parts if part.startswith(f"{pressure['level']} "))
    assert shown.endswith(f" {share}%") == (width >= 100)


def _check_stacks(lines: list[str], report: dict[str, Any]) -> None:
    """The row of each stack has the figures of the report."""
    shown = {}
    for line in lines:
        found = re.match(r" +(\d+) .* (\d+)/(\d+)(?: |$)", line)
        if found:
            number, growths, shrinks = map(int, found.groups())
            shown[number] = (growths, shrinks)
    assert shown == {
        stack["id"]: (stack["growth_count"], stack["shrink_count"])
        for stack in report["stacks"]
        if stack["is_active"]
    }


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_figures_in_a_terminal_are_the_librarys(
    pane: Pane, start: Callable[..., dict[str, Any]], width: int, height: int
) -> None:
    report = start(width, height)
    _check_status(pane.lines(), report, "·", width)
    assert "task 0 shell" in pane.lines()[-1]
    pane.type("*d")
    pane.see(lambda lines: "tinyos>" in lines[3:] and lines[-1].startswith("running"), "the stacks")
    _check_stacks(pane.lines("-J"), report)
    # The table fits the terminal, and names the columns it leaves out.
    assert any("(too narrow for: policy, seen)" in line for line in pane.lines()) == (width == 80)
    pane.press("C-c")
    lines = pane.see(lambda lines: lines[-1].startswith("stopped "), "the stop")
    assert "core 0 EL1" in lines[-1]
    _check_status(lines, report, "·", width)
    pane.type("continue")
    pane.see(lambda lines: lines[-1].startswith("running"), "it running")
    pane.press("C-d")
    pane.see(lambda lines: "left, lost None" in lines, "its end")


def test_terminal_without_utf_8_gets_plain_ascii(pane: Pane, start: Callable[..., dict[str, Any]]) -> None:
    report = start(80, 40, LC_ALL="C", NO_COLOR="1")  # The view has more than 24 lines.
    _check_status(pane.lines(), report, "|", 80)
    pane.type("*p")
    level = report["pressure"]["level"]
    pane.see(lambda lines: any(f"Pressure: {level}" in line for line in lines), "the pressure")
    pane.type("console uptime")
    pane.see(lambda lines: "| tinyos> uptime" in lines, "the kernel's lines")
    assert "".join(pane.lines()).isascii()
    colours = re.findall(r"\033\[([0-9;]+)m", "\n".join(pane.lines("-e")))
    assert not [code for code in colours if re.search(r"(^|;)[34][0-8](;|$)", code)]


def test_history_search_suggestion_and_menu_work(pane: Pane, start: Callable[..., dict[str, Any]]) -> None:
    report = start(80, 24)
    pane.type("echo one two three\\n")
    pane.see(lambda lines: "one two three" in lines, "the answer")
    pane.press("e", "c")
    pane.see(lambda lines: lines.count("tinyos> echo one two three\\n") == 2, "a suggestion")
    pane.press("C-u")
    pane.press("C-r")
    pane.press("t", "h", "r")
    pane.see(lambda lines: any("search" in line and "thr" in line for line in lines), "the search")
    pane.press("Enter")
    pane.press("Enter")
    pane.see(lambda lines: lines.count("one two three") == 2, "the line found, carried out again")
    pane.type("*")
    pane.see(lambda lines: "tinyos*>" in lines, "the submenu's prompt")
    pane.press("d", "Space", "Tab")
    ids = [str(stack["id"]) for stack in report["stacks"] if stack["is_active"]]
    pane.see(lambda lines: all(any(line.split()[:1] == [i] for line in lines) for i in ids), "the ids")


def test_kernel_output_and_progress_leave_the_typed_line_alone(
    pane: Pane, start: Callable[..., dict[str, Any]]
) -> None:
    start(80, 24)
    pane.type("python import time; time.sleep(60)")
    pane.see(lambda lines: any("Ctrl-C stops it" in line for line in lines), "progress")
    pane.press("C-c")
    pane.see(
        lambda lines: (
            lines[-1].startswith("running") and not any("Ctrl-C stops it" in line for line in lines)
        ),
        "the prompt again, and no progress",
    )
    for line, answer in (("console go", "│ all tasks continue"), ("console *t", "│ tinyos> *t")):
        pane.type(line)
        pane.see(
            lambda lines, answer=answer: answer in lines and "tinyos>" in lines[lines.index(answer) :],
            "a prompt below the answer",
        )
    pane.press("h", "a", "l", "f")
    pane.see(
        lambda lines: (
            [line for line in lines if "half" in line] == ["tinyos> half"]
            and any(re.match("│ .*[Cc]ritical", line) for line in lines)
        ),
        "the end of the stress test above what is typed",
    )


def test_scripts_run_opens_the_repl_and_a_signal_ends_all(
    pane: Pane, kernel_elf: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("run")
    # A shell prints the exit status, as tmux 3.3 sometimes loses it.
    command = ["sh", "-c", '"$0" "$@"; echo "status $?"; cat', str(_TOP / "scripts" / "run")]
    pane.start([*command, "--kernel", str(kernel_elf)], 80, 24, TMPDIR=str(directory))
    pane.see(lambda lines: lines[-1].startswith("running"), "the status line")
    assert "tinyos: the kernel is running; `help` lists the commands" in " ".join(pane.lines("-J"))
    (main,) = _children(pane.pid)
    children = _children(main)
    assert len(children) == 2  # QEMU and GDB.
    console = [_TOP / "scripts" / "run", "--console"]
    environment = os.environ | {"TMPDIR": str(directory)}
    refused = subprocess.run(console, env=environment, capture_output=True, text=True, check=False)
    assert "in tinyos-repl use the command `console`" in refused.stderr
    os.kill(main, signal.SIGTERM)
    wait_until_gone([main, *children])
    pane.see(lambda lines: f"status {128 + signal.SIGTERM}" in lines, "its exit status")
    assert not list(directory.iterdir())
