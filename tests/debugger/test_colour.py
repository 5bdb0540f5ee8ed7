"""Output has colour only on a terminal, if GDB's own style and NO_COLOR allow it."""

import os
import pty
import re
import subprocess

import pytest

from gdbplugin.session.gdb import find_gdb
from tests.debugger.conftest import PLUGIN


def on_a_terminal(address, elf, *commands, **environment):
    """What GDB writes to its own terminal."""
    ours, its = pty.openpty()
    arguments = [
        find_gdb(),
        "--nx",
        "--quiet",
        "-iex",
        "set pagination off",
        "-iex",
        "set debuginfod enabled off",
        "-x",
        str(PLUGIN),
        str(elf),
    ]
    for command in (f"target remote {address}", *commands, "disconnect", "quit"):
        arguments += ["-ex", command]
    process = subprocess.Popen(
        arguments,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(its)
    written = bytearray()
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:
        pass  # The other end of the terminal is closed.
    finally:
        os.close(ours)
        process.wait(timeout=60)
    return written.decode()


@pytest.mark.parametrize(
    ("commands", "environment", "coloured"),
    [
        ((), {}, True),
        (("set style enabled off",), {}, False),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),
        ((), {"TERM": "dumb"}, False),
    ],
)
def test_colour_follows_the_users_settings(shared_machine, kernel_elf, commands, environment, coloured):
    before = ("echo [begin]", "tinyos pressure", "echo [end]")
    text = on_a_terminal(shared_machine.qemu.gdb_address, kernel_elf, *commands, *before, **environment)
    shown = text.rpartition("[end]")[0].rpartition("[begin]")[2]
    assert "Pressure:" in shown
    # GDB 18 rewrites the escape: bold, with all other attributes.
    assert bool(re.search(r"\033\[(\d+;)*1(;\d+)*mPressure:\033\[0?m", shown)) == coloured
    # GDB itself may reset the terminal before it.
    assert bool(re.search(r"\033\[\d", shown)) == coloured
