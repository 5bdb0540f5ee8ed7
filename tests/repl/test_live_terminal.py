"""The live view in a real terminal, by tmux, of a kernel whose tasks do not run."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.repl.pane import Pane

_SECONDS = 30
_BOLD_OR_REVERSE = (
    "\x1b[0m",
    "\x1b[1m",
    "\x1b[7m",
    "\x1b[0;1m",
    "\x1b[0;7m",
    "\x1b[39m",
    "\x1b[49m",
    "\x1b[1;7m",
)

_REPL = "from gdbplugin.repl.main import main; raise SystemExit(main())"
_SESSION = """
import json, sys
from pathlib import Path
from gdbplugin.session import TinyOS
from gdbplugin.repl.live import run_live

kernel, answer = map(Path, sys.argv[1:])
with TinyOS.boot(kernel) as tinyos:
    tinyos.shell("hold")
    answer.with_suffix(".part").write_text(json.dumps(tinyos.json("report")))
    answer.with_suffix(".part").rename(answer)
    run_live(tinyos)
    print("left, running", tinyos.running)
"""


@pytest.fixture
def start(pane: Pane, tmp_path: Path, kernel_elf: Path) -> Callable[..., dict[str, Any]]:
    """Starts the live view at 80x24; returns the library's report of its kernel, whose tasks do not run."""

    def started(**environment: str) -> dict[str, Any]:
        answer = tmp_path / "report.json"
        pane.start([sys.executable, "-c", _SESSION, str(kernel_elf), str(answer)], 80, 24, **environment)
        pane.see(lambda lines: "[s stats]" in lines[0] and "snapshots/s" in lines[-1], "the live view")
        report: dict[str, Any] = json.loads(answer.read_text())
        return report

    return started


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _size(text: str) -> int:
    amount, unit = text.split()
    return round(float(amount) * {"K": 1 << 10, "M": 1 << 20}[unit])


def _check_statistics(pane: Pane, report: dict[str, Any]) -> None:
    expected = {**report["stats"], **report["counters"]}
    moving = {"ticks"}
    pane.press("s", "Home")
    pane.see(lambda lines: "[s stats]" in lines[0] and "total_dynamic_stacks" in lines[2], "the statistics")
    seen: dict[str, int] = {}
    deadline = time.monotonic() + _SECONDS
    while set(seen) != set(expected):
        assert time.monotonic() < deadline, f"never seen: {sorted(set(expected) - set(seen))}"
        for line in pane.lines():
            found = re.match(r" (\w+) +([0-9,]+) ", line + " ")
            if found and found[1] in expected:
                seen[found[1]] = _number(found[2])
        pane.press("Down")
    assert {name: seen[name] for name in expected if name not in moving} == {
        name: value for name, value in expected.items() if name not in moving
    }
    assert all(seen[name] >= expected[name] for name in moving)


def _check_stacks(pane: Pane, report: dict[str, Any]) -> None:
    pane.press("d")
    lines = pane.see(lambda lines: "[d stacks]" in lines[0], "the stacks")
    shown = {}
    for line in lines:
        found = re.match(
            r" +(\d+)  \d+ \w+ .*?[█▒░]+ +([\d.]+ [KM]) +([\d.]+ [KM]) +([\d.]+ [KM]) +([\d,]+)/([\d,]+)",
            line,
        )
        if found:
            sizes = [_size(text) for text in found.groups()[1:4]]
            shown[int(found[1])] = (*sizes, _number(found[5]), _number(found[6]))
    names = ("current_size", "high_water_mark", "max_size", "growth_count", "shrink_count")
    assert shown == {
        stack["id"]: tuple(stack[name] for name in names) for stack in report["stacks"] if stack["is_active"]
    }


def _check_lazy_pages(pane: Pane, report: dict[str, Any]) -> None:
    pane.press("l")
    lines = pane.see(
        lambda lines: "[l lazy]" in lines[0] and "0x2000" in "".join(lines[6:10]), "the lazy pages"
    )
    states, lazy = report["lazy"]["states"], report["lazy"]
    assert (
        f"{lazy['reserved_pages']:,} in {len(lazy['ranges'])} ranges: {states['pending']:,} pending, "
        f"{states['zero']:,} zero, {states['allocated']:,} allocated" in lines[1]
    )
    shown = {}
    for line in lines:
        found = re.match(r" 0x([0-9a-f]+) +[\d.]+ [KMG] +([\d,]+) +([\d,]+)  [█▒░]+ +([\d,]+)", line)
        if found:
            shown[int(found[1], 16)] = tuple(map(_number, found.groups()[1:]))
    expected: dict[int, dict[str, int]] = {}
    firsts = [0x2000_0000_0000 + 4096 * entry["first"] for entry in lazy["ranges"]]
    for page in report["pages"]:
        start = max(first for first in firsts if first <= page["virtual_address"])
        state = "allocated" if page["is_allocated"] else "zero" if page["is_zero_page"] else "pending"
        counts = expected.setdefault(start, {"pending": 0, "zero": 0, "allocated": 0})
        counts[state] += 1
    assert shown == {start: tuple(counts.values()) for start, counts in expected.items()}


def _check_pressure(pane: Pane, report: dict[str, Any]) -> None:
    pane.press("p")
    lines = pane.see(lambda lines: "[p pressure]" in lines[0], "the pressure")
    frames = report["frames"]
    assert f"Pressure: {report['pressure']['level']}, for" in lines[1]
    assert lines[2].strip() == (
        f"{frames['free_frames']:,} free, {frames['cached_frames']:,} cached, "
        f"{frames['used_frames']:,} used, {frames['retired_frames']:,} retired "
        f"of {frames['total_frames']:,} frames"
    )
    first = next(number for number, line in enumerate(lines) if "Pool by use" in line)
    rows = next(number for number, line in enumerate(lines) if number > first and "0x8000000" in line)
    legend = "\n".join(line.strip() for line in lines[first + 1 : rows])
    found = re.findall(r"(?:^|  )\S ([a-z ]+) ([\d,]+)(?=  |$)", legend, re.MULTILINE)
    used = {name: _number(count) for name, count in found}
    assert sum(used.values()) == frames["total_frames"]
    assert used["free"] == frames["free_frames"]
    assert used["lazy page"] == report["lazy"]["states"]["allocated"]
    stacks = sum(stack["current_size"] for stack in report["stacks"] if stack["is_active"])
    assert used["stack"] == stacks // 4096


def _check_events(pane: Pane, report: dict[str, Any]) -> None:
    pane.press("e")
    lines = pane.see(lambda lines: "[e events]" in lines[0], "the events")
    assert f"{report['recorded']:,} since boot" in lines[1]
    numbers = [_number(found[1]) for line in lines if (found := re.match(r" +([\d,]+) +[\d,.]+ ", line))]
    assert numbers[-1] == report["recorded"] == report["events"][-1]["sequence"]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def _in_the_end(check: Callable[[Pane, dict[str, Any]], None], pane: Pane, report: dict[str, Any]) -> None:
    """Repeat the check until it passes: tmux may show half a screen at first."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return check(pane, report)
        except (AssertionError, StopIteration, IndexError):
            if time.monotonic() > deadline:
                raise


_CHECKS = (_check_statistics, _check_stacks, _check_lazy_pages, _check_pressure, _check_events)


def test_figures_at_any_size_are_the_librarys(pane: Pane, start: Callable[..., dict[str, Any]]) -> None:
    report = start(TERM="xterm-256color")
    for width, height in ((80, 24), (200, 50), (80, 24)):
        pane.resize(width, height)
        pane.see(
            lambda lines, width=width, height=height: (
                len(lines) == height and len(lines[0].rstrip()) > width - 12 and "q quit" in lines[-1]
            ),
            f"the live view at {width}x{height}",
        )
        for check in _CHECKS:
            _in_the_end(check, pane, report)
    pane.resize(50, 12)
    pane.see(lambda lines: "live needs at least 60x15, not 50x12" in "".join(lines), "that it is too small")
    pane.resize(80, 24)
    pane.see(lambda lines: "[e events]" in lines[0], "the view again")
    pane.press("q")
    pane.see(lambda lines: "left, running True" in "".join(lines), "that it was left")


def test_terminal_without_colour_and_unicode_shows_everything(
    pane: Pane, start: Callable[..., dict[str, Any]]
) -> None:
    report = start(TERM="vt100", LC_ALL="C")
    for key, text in (
        ("s", "total_lazy_pages"),
        ("d", "## mapped"),
        ("l", "## allocated"),
        ("p", "Pool by use"),
    ):
        pane.press(key)
        lines = pane.see(lambda lines, text=text: text in "".join(lines), text)
        assert "".join(lines).isascii()
        codes = set(re.findall(r"\x1b\[[0-9;]*m", "".join(pane.lines("-e"))))
        assert codes <= set(_BOLD_OR_REVERSE)
    assert f"{report['frames']['used_frames']:,} used" in "".join(lines)
    pane.press("x")
    pane.see(
        lambda lines: " stopped;" in lines[-1] and "Target core" in "".join(lines[-4:]),
        "that the target is stopped",
    )
    pane.press("q")
    pane.see(lambda lines: "left, running False" in "".join(lines), "that it was left")


def test_output_during_live_view_is_shown_after_it(pane: Pane, kernel_elf: Path) -> None:
    """The REPL opens the view; its GDB reports the stop."""
    command = [sys.executable, "-c", _REPL, "--kernel", str(kernel_elf)]
    pane.start(command, 80, 24, TERM="screen")
    pane.see(lambda lines: any(line.startswith("tinyos>") for line in lines), "the prompt")
    pane.press("live d", "Enter")
    pane.see(lambda lines: "[d stacks]" in lines[0] and " running;" in lines[-1], "the stacks")
    pane.press("x")
    pane.see(lambda lines: " stopped;" in lines[-1] and "q quit" in lines[-1], "that the target is stopped")
    seen = pane.see(lambda lines: "Target core" in "".join(lines[-4:]), "where it is stopped")
    assert "[d stacks]" in seen[0]
    assert "Stacks: " in seen[1]
    pane.press("q")
    after = pane.see(lambda lines: any(line.startswith("stopped in ") for line in lines), "the prompt again")
    assert any("received signal SIGINT" in line for line in after)
    pane.press("C-d")
    pane.wait_for_end()
