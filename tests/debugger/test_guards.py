"""Text that GDB's host charset does not have is escaped; there is never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS
from gdbplugin.session.process import PLUGIN, find_gdb

_PRINTED = r"""
import gdb
from gdbplugin.debugger import printers
from gdbplugin.debugger.guards import failure, fitted, write
from gdbplugin.render import Style

class Shown:
    def to_string(self):
        return printers.short("kernel::Caf\u00e9<a::B>")

gdb.pretty_printers.append(lambda value: Shown() if value.type.code == gdb.TYPE_CODE_INT else None)

class Fails(gdb.Command):
    def invoke(self, argument, from_tty):
        raise failure("it \u2014 fails \udcff")

Fails("fails", gdb.COMMAND_DATA)
write("\u2014 \udcff\n", Style(gdb.host_charset()))
write("\u2014\n", Style("utf-8"))
write("\u2014\n", Style("no-such-charset"))
"""


def _gdb(script: str, tmp_path: Path, *arguments: str | Path, **environment: str) -> tuple[str, str]:
    file = tmp_path / "script.py"
    file.write_text(script)
    done = subprocess.run(
        [find_gdb(), "-nx", "-q", "-batch", "-x", PLUGIN, "-x", file, *arguments],
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )
    return done.stdout.decode(errors="backslashreplace"), done.stderr.decode(errors="backslashreplace")


@pytest.mark.parametrize(
    ("locale", "dash", "name"), [("C", "\\u2014", "Caf\\xe9<B>"), ("C.UTF-8", "—", "Café<B>")]
)
def test_what_the_host_charset_lacks_is_escaped(tmp_path: Path, locale: str, dash: str, name: str) -> None:
    said, errors = _gdb(_PRINTED, tmp_path, "-ex", "print 5", "-ex", "fails", LC_ALL=locale)
    assert said == f"{dash} \\udcff\n—\n\\u2014\n$1 = {name}\n"
    assert errors == f"it {dash} fails \\udcff\n"


def test_a_program_whose_path_is_not_text_is_one_line(
    tmp_path: Path, kernel_elf: Path, shared_machine: TinyOS
) -> None:
    kernel = tmp_path / os.fsdecode(b"k\xe9.elf")
    shutil.copy(kernel_elf, kernel)
    asked = ["maps", "check", "fault", "report"]
    words = [word for name in asked for word in ("-ex", f"tinyos {name}")]
    shared_machine.detach()
    attach = ("-ex", f"target remote {shared_machine.address}", *words, kernel)
    _, errors = _gdb("", tmp_path, *attach, LC_ALL="C.UTF-8")
    said = "GDB has a text that is not valid utf-8 (b'k\\xe9.elf'): load the program from another path, or"
    lines = [line for line in errors.splitlines() if "k\\xe9.elf" in line and "warning" not in line]
    assert [line.startswith(said) for line in lines] == [True] * len(asked), errors
    assert "Python Exception" not in errors
