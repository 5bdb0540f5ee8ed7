"""What instructions do to memory, held against GDB's own disassembler."""

from __future__ import annotations

import random
import re
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.aarch64.instructions import MemoryOperation, memory_operation
from gdbplugin.session.gdb import find_gdb
from tests.aarch64 import stub

START = 0x10_0000
COUNT = 12_000
_CORE = 4  # e_type of a core file, which GDB reads without any section.
_BOTH = re.compile(r"(cas|swp|(ld|st)(add|clr|eor|set|[su]max|[su]min)(?!r))")
_WIDTHS = {"b": 1, "h": 2, "s": 4, "d": 8, "q": 16, "w": 4, "x": 8}
_ADDRESS = re.compile(r"\[(x\d+|sp|x29|x30)(?:, (#-?\d+|[wx]\w+(?:, [a-z]+(?: #\d+)?)?))?\](!?)(?:, (\S+))?")


def disassembled(words, directory):
    """The text of each word, as if they stood one after the other from `START` on."""
    image = bytearray(stub.elf(START, struct.pack(f"<{len(words)}I", *words)))
    image[16] = _CORE
    path = directory / "words.core"
    path.write_bytes(image)
    commands = ["set architecture aarch64", "set print max-symbolic-offset 1", f"core-file {path}"]
    commands.append(f"x/{len(words)}i {START:#x}")
    arguments = [part for command in commands for part in ("-ex", command)]
    done = subprocess.run(
        [find_gdb(), "--nx", "--quiet", "--batch", *arguments], capture_output=True, text=True, timeout=60
    )
    lines = re.findall(r"^ +0x[0-9a-f]+:\s(.*)$", done.stdout, re.MULTILINE)
    assert len(lines) == len(words)
    return [line.replace("\t", " ").partition(" //")[0].strip() for line in lines]


def size_of(mnemonic, operands):
    """Bytes of one register's part, by the mnemonic's ending or the register's letter."""
    if mnemonic.startswith(("ldpsw", "ldrsw", "ldursw", "ldtrsw", "ldapursw")):
        return 4
    if not re.match(r"(ld|st)(n?p|xp|axp|lxp)\b", mnemonic):
        ending = re.search(r"(?<=[a-z])(s?)(b|h)$", mnemonic)
        if ending and not mnemonic.startswith("ldra"):  # LDRAB has eight bytes.
            return _WIDTHS[ending[2]]
    registers = [part for part in operands if re.fullmatch(r"[wxbhsdq](\d+|zr)", part)]
    exclusive_store = re.match(r"stl?x", mnemonic)
    return _WIDTHS[registers[1 if exclusive_store else 0][0]]


def check(found: MemoryOperation, text: str, at: int) -> None:
    mnemonic, _, rest = text.partition(" ")
    operands = rest.split(", ")
    if _BOTH.match(mnemonic):
        assert (found.reads, found.writes) == (True, True)
    else:
        assert (found.reads, found.writes) == (mnemonic.startswith("ld"), mnemonic.startswith("st"))
    if "{" not in text:
        assert found.size == size_of(mnemonic, operands)
        pair = re.match(r"(ld|st)(n?p|xp|axp|lxp)|casp", mnemonic)
        assert found.count == (2 if pair else 1)
    assert found.unprivileged == bool(re.match(r"(ld|st)tr", mnemonic))
    if not found.has_address:
        assert mnemonic.startswith(("ldraa", "ldrab"))
        return
    place = _ADDRESS.search(text)
    if place is None:
        assert found.base is None
        assert found.address(at, lambda *_: None) == int(operands[-1].split()[0], 16)
        return
    base, more, *_ = place.groups()
    assert found.base == (31 if base == "sp" else int(base[1:]))
    more = more or ""
    assert found.offset == (int(more[1:]) if more.startswith("#") else 0)
    if more.startswith(("w", "x")):
        index, _, extension = more.partition(", ")
        assert found.index == (31 if index.endswith("zr") else int(index[1:]))
        assert found.extend & 3 == (2 if index[0] == "w" else 3)
        assert bool(found.extend & 4) == extension.startswith("sxt")
        assert found.shift == int(extension.partition("#")[2] or 0)
    else:
        assert found.index is None
    if found.register is not None:
        name = operands[0][1:]
        assert found.register == (31 if name == "zr" else int(name))
        assert found.signed == bool(re.search(r"s(b|h|w)$", mnemonic))
        assert found.wide == (operands[0][0] == "x")
        assert found.ordered == bool(re.match(r"(ldap|ldar|ldlar|stlr|stllr|stlur)", mnemonic))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Words of the loads' and stores' encodings, and of any, with GDB's text of each."""
    random.seed(7)
    chosen = [random.getrandbits(32) & ~(1 << 25) | 1 << 27 for _ in range(COUNT)]
    # Of the loads of one register there are many forms in a small part of the encodings.
    chosen += [random.getrandbits(32) & ~(1 << 25 | 1 << 24 | 1 << 26) | 7 << 27 for _ in range(COUNT // 3)]
    chosen += [random.getrandbits(32) for _ in range(COUNT // 3)]
    # Exclusives and ordered ones, whose unused registers are 31.
    chosen += [random.getrandbits(32) & 0xC0E0_83FF | 0x081F_7C00 for _ in range(1000)]
    # System instructions.
    fields = ((op1, crm, op2) for op1 in range(8) for crm in range(16) for op2 in range(8))
    chosen += [
        0xD508_7000 | op1 << 16 | crm << 8 | op2 << 5 | random.getrandbits(5) for op1, crm, op2 in fields
    ]
    return list(zip(chosen, disassembled(chosen, tmp_path_factory.mktemp("words")), strict=True))


def test_loads_and_stores_are_as_gdb_has_them(words):
    kinds = set()
    for number, (word, text) in enumerate(words):
        found = memory_operation(word)
        if found is None or found.reads is None or found.zeroing or text.startswith(("undefined", ".inst")):
            continue
        if text.startswith(("udf", "prf", "rprfm")):
            continue
        try:
            check(found, text, START + 4 * number)
        except AssertionError as error:
            raise AssertionError(f"{word:#010x} {text}: {found}") from error
        kinds.add(text.partition(" ")[0])
    assert {"ldr", "str", "ldp", "stp", "ldtr", "ldxr", "stxr", "ldar", "swpal", "ldursw", "ld1"} <= kinds


def test_what_accesses_no_memory_has_no_operation(words):
    seen = 0
    for word, text in words:
        if "undefined" in text or text.startswith((".inst", "udf")):
            continue
        mnemonic = text.partition(" ")[0]
        if "[" not in text and not mnemonic.startswith(
            ("ld", "st", "prf", "dc", "ic", "at", "sys", "cas", "swp")
        ):
            found = memory_operation(word)
            # Of SVE and SME only the part of the encodings is known.
            assert found is None or found.reads is None, f"{word:#010x} {text}: {found}"
            seen += 1
        elif re.match(r"(ld|st|cas|swp)", mnemonic) and "[" in text:
            assert memory_operation(word) is not None, f"{word:#010x} {text}"
    assert seen > 500


def test_system_instructions_on_an_address_are_as_gdb_has_them(words):
    kinds = set()
    for word, text in words:
        mnemonic, _, rest = text.partition(" ")
        if mnemonic not in ("dc", "ic", "at"):
            continue
        operation, _, register = rest.partition(", ")
        found = memory_operation(word)
        assert found is not None, text
        kinds.add(operation)
        assert found.zeroing == operation.endswith(("zva", "gva", "gbva")), text
        assert found.maintenance == (not found.zeroing), text
        # By set and way, all of it, or by physical address (up to the PoE and the PoPA).
        without = operation.endswith(("sw", "pae", "papa")) or operation.startswith("iall")
        assert found.has_address == (not without or operation.startswith(("s1", "s12"))), text
        if found.has_address:
            assert found.base == int(register[1:] if register != "xzr" else 31)
    assert {"zva", "civac", "ivau", "isw", "s1e1r"} <= kinds


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1))
def test_any_word_has_a_text_and_an_address_within_64_bits(word, value):
    found = memory_operation(word)
    if found is not None:
        assert str(found).isascii()
        computed = found.address(value, lambda _number, _pointer: value)
        assert computed is None or 0 <= computed < 1 << 64
