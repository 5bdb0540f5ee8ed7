"""Values in options and commands of QEMU and GDB arrive unchanged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS
from gdbplugin.session.mi import quote
from gdbplugin.session.qemu import find_qemu, ram_arguments
from gdbplugin.session.recorder import option_value

NAMES = [
    "plain",
    "a, b",
    "a,,b",
    ",",
    "key=value",
    "a=b,size=1",
    'it\'s "quoted"',
    "$HOME;#%s|&",
    "é",
    "back\\slash",
]


@pytest.mark.parametrize("name", NAMES)
def test_qemu_takes_a_file_of_any_name_as_ram(tmp_path: Path, name: str) -> None:
    """QEMU shows what it understood: it makes the file, in its size."""
    ram = tmp_path / name
    arguments = [find_qemu(), "-nodefaults", "-display", "none", "-S", "-machine", "virt", "-m", "8M"]
    monitor = ["-chardev", "stdio,id=monitor", "-monitor", "chardev:monitor"]
    done = subprocess.run(
        [*arguments, *monitor, *ram_arguments(ram, 8 << 20)],
        input="quit\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert ram.stat().st_size == 8 << 20
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_comma_in_a_value_is_doubled() -> None:
    assert option_value(Path("/a,b")) == "/a,,b"


@pytest.mark.parametrize("text", ['say "no"', "back\\slash", "a\ttab", "it's", "é", "|&;$HOME"])
def test_gdb_takes_any_text_as_one_argument(shared_machine: TinyOS, text: str) -> None:
    command = f"python print(ascii(r'''{text}'''))"
    assert shared_machine.mi(f"-interpreter-exec console {quote(command)}").console == ascii(text) + "\n"


def test_a_bar_in_an_expression_reaches_the_command(shared_machine: TinyOS) -> None:
    """JSON goes through GDB's `pipe`, whose default delimiter is a bar."""
    found = shared_machine.json("translate 0x80000|0x1000")
    assert found["input"] == 0x81000
