"""Every command of the plugin as it is typed, found by asking the plugin; and rounds of them in GDB."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from pathlib import Path

from gdbplugin.session.gdb import find_gdb
from tests.debugger.conftest import PLUGIN, gdb

INSIDE = Path(__file__).with_name("inside_rounds.py")
# What has the target run does so on purpose: it is given only where it cannot.
RUNS_THE_TARGET = ("stress", "context --test")
_MORE = {
    "translate": ("translate 0x200000003008", "translate 0xffff800000200000 --el 1"),
    "lint": ("lint", "lint --ignore wxn"),
    "maps": (
        "maps",
        "maps --where size > 4K --sort -size",
        "maps --find-physical 0x8003000",
        "maps --asid 1",
    ),
    "stacks": ("stacks", "stacks 1"),
    "lazy": ("lazy", "lazy --group state", "lazy --where 1 / access_count < 9", "lazy 0x200000003008"),
    "events": ("events", "events 9 --stack 1"),
    "registers": ("registers", "registers TCR_EL1"),
    "context": ("context", "context --test"),
    "backtrace": ("backtrace", "backtrace --all"),
    "tasks": ("tasks", "tasks 1", "tasks --columns name,state,wake_time --sort -wake_time"),
    "diff": ("diff now now", "diff now --kind stacks"),
    "back": ("back", "back 1000"),
    "recording": ("recording", "recording --add 0x400000+8", "recording --drop"),
    "checkpoint": ("checkpoint växt",),
    "rewind": ("rewind 1", "rewind --before pressure", "rewind --write 0xffff800000200000", "rewind --end"),
    "history": ("history --stack 1", "history --page 0x200000003008"),
    "search": (
        "search 0x200000003000 --in 0xffff800000200000+0x10000",
        "search --pointer-to 0x200000000000..0x300000000000 --limit 3 --in 0xffff800000080000+0x1000",
    ),
    "where": ("where 0x200000003008", "where $sp", "where --physical 0x8003000", "where TTBR0_EL1"),
    "writer": ("writer 0xffff800000200000",),
    "during": ("during info threads", "during nonsense"),
    "watch": ("watch", "watch translation 0xffff800000200000", "watch translation --any w+x"),
    # They are about files, or change what GDB shows, and have tests of their own.
    "dump": (),
    "open": (),
    "threads": (),
    "timeline": (),
}
EXPRESSIONS = (
    "output $tinyos_asid()",
    "output $tinyos_stack(1)",
    "output $tinyos_task()",
    "output $tinyos_lazy(0x200000003000)",
    "output $tinyos_translate(0x200000003000)",
    "output $tinyos_level()",
)


@functools.cache
def words():
    """The commands' words, from the help of the prefix."""
    listed = re.findall(r"^tinyos (\w+)(?:, .*)? -- ", gdb("help tinyos").output, re.MULTILINE)
    assert {"report", "maps", "check"} <= set(listed)
    return tuple(word for word in listed if len(word) > 1)


def every_command(*, running=False):
    """The commands, with words of all kinds, in text and as JSON, and the convenience functions."""
    given = [command for word in words() for command in _MORE.get(word, (word,))]
    chosen = [command for command in given if running or command not in RUNS_THE_TARGET]
    return [f"tinyos {command}{form}" for command in chosen for form in ("", " --json")] + list(EXPRESSIONS)


def play(rounds, directory, *before, elf=None, ram=None):
    """Have rounds played in one GDB; returns what came of each command, and GDB's standard error."""
    plan, answer = directory / "rounds.json", directory / "answer.json"
    content = {"rounds": rounds, "answer": str(answer), **({"ram": str(ram)} if ram else {})}
    plan.write_text(json.dumps(content))
    arguments = [find_gdb(), "--nx", "--quiet", "--batch", "-iex", "set debuginfod enabled off"]
    arguments += ["-x", str(PLUGIN), *([str(elf)] if elf else [])]
    for command in (*before, f"source {INSIDE}"):
        arguments += ["-ex", command]
    done = subprocess.run(
        ["env", f"TINYOS_ROUNDS={plan}", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
    )
    assert answer.exists(), done.stderr
    return [given for one in json.loads(answer.read_text()) for given in one], done.stderr


def assert_unbroken(given, errors):
    """Each command gave an answer or one clear line, and was not for ever about it."""
    assert "Traceback" not in errors
    assert "Python Exception" not in errors
    for one in given:
        said = one["command"], one["error"]
        if one["error"] is not None:
            assert "Error occurred in Python" not in one["error"], said
            assert "\n" not in one["error"].strip(), said
        else:
            assert one["output"].strip(), said
        assert one["json"] is not False, one
        # It tells a hang from a busy machine; what bounds the work is counted in packets.
        assert one["seconds"] < 20, (said, one["seconds"])
