"""Tables in Secure RAM, which physical packets do not reach: read where they are mapped, else named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debugger.conftest import gdb, stopped

# On QEMU's machine virt Secure RAM begins here, and has 16 MiB; other RAM begins at 1 GiB.
SECURE, NORMAL = 0x0E00_0000, 0x4000_0000
ROOT, SECOND, LAST, CODE = SECURE + 0x1000, SECURE + 0x2000, SECURE + 0x3000, SECURE + 0x8000
BLOCK, TABLE, PAGE = 0x401, 3, 0x403
_4_GIB_FROM_LEVEL_1 = 0x8080_0020

ENTER = """
import gdb, struct
memory = gdb.selected_inferior()
def words(address, size, *values):
    memory.write_memory(address, b"".join(value.to_bytes(size, "little") for value in values))
# msr TTBR0_EL3, x0; msr TCR_EL3, x1; isb; msr SCTLR_EL3, x2; isb; b .
words({code:#x}, 4, 0xD51E2000, 0xD51E2041, 0xD5033FDF, 0xD51E1002, 0xD5033FDF, 0x14000000)
for address, descriptor in {words!r}.items():
    words(address, 8, descriptor)
for name, value in dict(x0={root:#x}, x1={control:#x}, x2=0x30C50831, pc={code:#x}).items():
    gdb.execute(f"set ${{name}} = {{value}}")
gdb.execute("stepi 5", to_string=True)
assert int(gdb.parse_and_eval("$SCTLR_EL3")) & 1
"""


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[str]:
    """The address of the stub of a machine with Secure RAM, stopped at EL3 before its first instruction."""
    with stopped(tmp_path, "-M", "virt,secure=on", "-cpu", "cortex-a72") as address:
        yield address


def after_entering(stub: str, folder: Path, words: dict[int, int], *commands: str) -> list[str]:
    """The output of commands once the MMU is on at EL3, with these descriptors."""
    script = folder / "enter.py"
    script.write_text(ENTER.format(code=CODE, words=words, root=ROOT, control=_4_GIB_FROM_LEVEL_1))
    separated = [command for wanted in commands for command in ("echo --\\n", wanted)]
    done = gdb("set architecture aarch64", f"target remote {stub}", f"source {script}", *separated)
    assert "Traceback" not in done.output + done.errors
    return [part.strip() or done.errors for part in done.output.split("--\n")[1:]]


IDENTITY = {
    ROOT: SECOND | TABLE,
    ROOT + 8: NORMAL | BLOCK,
    SECOND + 8 * (SECURE >> 21): SECURE | BLOCK,
    # Mapped to other memory: what is read there is not what lies at that address.
    SECOND + 8 * ((SECURE >> 21) + 1): NORMAL | BLOCK,
}


def test_tables_in_secure_ram_are_read_by_their_addresses(stub: str, tmp_path: Path) -> None:
    probes = [ROOT, CODE, NORMAL + 0x1234, SECURE + 0x20_0010, 0x1000_0000]
    asked = [f"tinyos translate {probe:#x} --json" for probe in probes]
    oracle = [f"python print(gdb.execute('monitor gva2gpa {probe:#x}', to_string=True))" for probe in probes]
    answers = after_entering(stub, tmp_path, IDENTITY, *asked, *oracle, "tinyos maps --json")
    found = [json.loads(answer) for answer in answers[: len(probes)]]
    said = [None if "Unmapped" in answer else int(answer.split()[-1], 16) for answer in answers[5:10]]
    assert [one["output"] for one in found] == said == [ROOT, CODE, NORMAL + 0x1234, NORMAL + 0x10, None]
    assert found[-1]["fault"]["kind"] == "translation"
    mapped = [(one["start"], one["physical"]) for one in json.loads(answers[-1].splitlines()[0])["mappings"]]
    assert sorted(mapped) == [(SECURE, SECURE), (SECURE + (2 << 20), NORMAL), (NORMAL, NORMAL)]


def test_unmapped_secure_ram_is_named(stub: str, tmp_path: Path) -> None:
    """Only the code is mapped: the tables cannot be read, which is not a fault."""
    words = {
        ROOT: SECOND | TABLE,
        SECOND + 8 * (SECURE >> 21): LAST | TABLE,
        LAST + 8 * (CODE >> 12 & 0x1FF): CODE | PAGE,
    }
    text, content, fault = after_entering(
        stub,
        tmp_path,
        words,
        f"tinyos translate {CODE:#x}",
        f"tinyos translate {CODE:#x} --json",
        "tinyos fault",
    )
    reason = "it is Secure memory, which the debug stub's physical packets do not reach"
    assert "translation not known" in text
    assert reason in " ".join(text.split())
    assert "there is no memory" not in text + fault
    found = json.loads(content)["fault"]
    assert found["kind"] == "unknown"
    assert reason in found["reason"]


def test_secure_ram_is_read_with_the_mmu_off(stub: str, tmp_path: Path) -> None:
    script = tmp_path / "read.py"
    script.write_text(
        f"import gdb\ngdb.selected_inferior().write_memory({SECURE:#x}, b'secure!!')\n"
        "from gdbplugin.debugger import current\n"
        f"print('--', current.machine().read_physical({SECURE:#x}, 8))\n"
    )
    done = gdb("set architecture aarch64", f"target remote {stub}", f"source {script}")
    assert "-- b'secure!!'" in done.output, done
