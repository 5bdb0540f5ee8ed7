"""Dumps made to harm: one line or a partial answer, in bounded memory and time, and never a traceback."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gdbplugin.dump import foreign
from gdbplugin.dump.core_file import DumpError
from gdbplugin.dump.machine import DumpMachine

PAGE = 4096
HEADER = struct.Struct("<4s4BQHHIQQQIHHHHHH")
PROGRAM = struct.Struct("<IIQQQQQQ")
MOST_MEMORY = 1 << 30  # Of address space, of which Python itself takes most.
MOST_SECONDS = 20


def note(owner, kind, data):
    name = owner.encode() + b"\0"
    head = struct.pack("<III", len(name), len(data), kind)
    return head + name.ljust(-(-len(name) // 4) * 4, b"\0") + data.ljust(-(-len(data) // 4) * 4, b"\0")


STATUS = note("CORE", 1, bytes(392))


def elf(loads, notes=STATUS, views_of_notes=1, body=bytes(range(1, 129)) * 32):
    """A core with segments: (physical address, size, place), place None for the body's."""
    count = len(loads) + views_of_notes
    start = HEADER.size + PROGRAM.size * count
    place_of_body = -(-(start + len(notes)) // PAGE) * PAGE
    ident = (b"\x7fELF", 2, 1, 1, 0, 0, 4, 183, 1, 0, HEADER.size, 0, 0)
    data = HEADER.pack(*ident, HEADER.size, PROGRAM.size, count, 64, 0, 0)
    data += PROGRAM.pack(4, 4, start, 0, 0, len(notes), 0, 4) * views_of_notes
    for physical, size, place in loads:
        offset = place_of_body if place is None else place
        data += PROGRAM.pack(1, 6, offset, 0, physical, size, size, PAGE)
    return (data + notes).ljust(place_of_body, b"\0") + body


def information(data):
    """Our note."""
    return note("TinyOS", 0x5401, data if isinstance(data, bytes) else json.dumps(data).encode())


ONE = [(0, PAGE, None)]
SEGMENTS = {
    "the end of addresses": [((1 << 64) - PAGE, PAGE, None)],
    "an address no machine has": [(1 << 63, PAGE, None)],
    "more than all memory": [(0, (1 << 64) - 1, None)],
    "a place at the end of places": [(0, PAGE, (1 << 64) - PAGE)],
    "a place and size that overflow": [(0, 1 << 63, (1 << 63) + 5)],
    "many views of one part": [(number * PAGE, 1 << 30, 0) for number in range(60_000)],
    "nothing at all": [(0, 0, None)],
}
CORES = {
    "a number": 5,
    "numbers": [1, 2],
    "a text": "text",
    "nothing": [],
    "no registers": [None],
    "very many": [{}] * 200_000,
    "a text as register": [{"SP": "x"}],
    "a list as register": [{"SP": [1]}],
    "a fraction": [{"TTBR1_EL1": 1.5}],
    "a truth": [{"TTBR1_EL1": True}],
    "a negative number": [{"PC": -1}],
    "more than 64 bits": [{"TTBR1_EL1": 1 << 64}],
}


def refusal(path, given=()):
    """The one line with which a file is refused; empty if it is not."""
    try:
        found, plain = foreign.open_dump(path, dict.fromkeys(given, 1), None)
        DumpMachine(Path(f"/proc/self/fd/{plain.fileno()}") if plain else path).register("SP", 0)
    except DumpError as error:
        return str(error)
    assert found.cores >= 1
    return ""


@pytest.mark.parametrize("name", SEGMENTS)
def test_absurd_segments_are_refused_in_one_line(name, tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(elf(SEGMENTS[name]))
    assert len(refusal(path).splitlines()) == 1


@pytest.mark.parametrize("given", [(), ("TCR_EL1",)])
@pytest.mark.parametrize("name", CORES)
def test_wrong_types_in_our_note_are_refused_in_one_line(name, given, tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(elf(ONE, STATUS + information({"cores": CORES[name]})))
    assert refusal(path, given) == f"the note of {path} with the system registers is damaged"


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000])
def test_deeply_nested_notes_are_refused_in_one_line(data, tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(elf(ONE, STATUS + information(data)))
    assert refusal(path) == f"the note of {path} with the system registers is damaged"


def kdump(bitmap_blocks, page_count, notes_size=0, bits=b""):
    header = struct.pack("<8sI390s22sIIIII", b"KDUMP   ", 6, b"", b"", 0, PAGE, 1, bitmap_blocks, page_count)
    sub = struct.pack("<QIIQQQQQQQQQQQ", 0, 0, 0, 0, 0, 0, 0, 0, notes_size, 0, 0, 0, 0, 0)
    return header.ljust(PAGE, b"\0") + sub.ljust(PAGE, b"\0") + bits


def flattened(*parts):
    data = b"makedumpfile".ljust(PAGE, b"\0")
    return (
        data + b"".join(struct.pack(">qq", place, len(part)) + part for place, part in parts) + b"\xff" * 16
    )


# What a short file can ask for, by holes in the file proper and by parts that are read again and again.
BOMBS = {
    "views of notes": elf(ONE, STATUS * 2600, 60_000),
    "threads": elf(ONE, STATUS * 30_000),
    "bitmaps": flattened((0, kdump(2 << 20, (1 << 32) - 1)), (1 << 40, b"x")),
    "notes": flattened((0, kdump(2, 16, 1 << 62)), (1 << 40, b"x")),
    "pages": flattened(
        (0, kdump(32_768, 1 << 31, 0, b"")),
        *((PAGE * 2 + (64 << 20) + place, b"\xff" * PAGE) for place in range(0, 4 << 20, PAGE)),
        (1 << 40, b"x"),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_short_file_does_not_take_much_memory_or_time(name, tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(BOMBS[name])
    program = (
        "import resource, sys; from pathlib import Path; from gdbplugin.dump import foreign; "
        "from gdbplugin.dump.core_file import DumpError\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({MOST_MEMORY}, {MOST_MEMORY}))\n"
        "try: print(foreign.open_dump(Path(sys.argv[1]), {}, None)[0].memory_size)\n"
        "except DumpError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    assert (done.stderr, len(done.stdout.splitlines())) == ("", 1)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert refusal(path) == f"cannot read {path}: it is a pipe, and a dump is read at many places"


def test_segments_that_go_on_in_memory_and_file_are_one(tmp_path):
    path = tmp_path / "dump"
    body = os.urandom(4 * PAGE)
    at = -(-(HEADER.size + 4 * PROGRAM.size + len(STATUS)) // PAGE) * PAGE
    path.write_bytes(elf([(n * PAGE, (4 - n) * PAGE, at + n * PAGE) for n in range(3)], body=body))
    source, _ = foreign.source_of(path)
    assert source.ranges == ((0, 4 * PAGE),)
    assert source.read(PAGE - 8, 16) == body[PAGE - 8 : PAGE + 8]
    assert [(address, data) for address, data in source.parts()] == [(0, body)]
