"""QEMU's own table walker, asked about registers and tables of the tests' making.

The guest's memory is a file that is mapped here, so tables are written and read without a debugger; the
stub sets the registers; `gva2gpa` of QEMU's monitor translates for the core as it stands then.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import re
import socket
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gdbplugin.machine import PhysicalReadError
from gdbplugin.session import process
from gdbplugin.session.qemu import find_qemu, ram_arguments
from gdbplugin.session.recorder import option_value
from tests.aarch64 import stub

_SECONDS = 20.0
STUB, MAILBOX, SPIN = 0x10_0000, 0x11_0000, 0x12_0000
"""Offsets in memory. The spin page has 64 KiB to itself, so that every granule can map it."""
TABLES, TABLES_END = 0x20_0000, 0x80_0000


@dataclass(frozen=True)
class Board:
    """A machine of QEMU's: its arguments, its memory, and the registers its processor lacks."""

    arguments: tuple[str, ...]
    memory_base: int
    memory_bytes: int
    absent: frozenset[str] = frozenset()
    translations: tuple[str, ...] = tuple(stub.TRANSLATIONS)
    """The AT instructions it has."""


RASPI4B = Board(
    ("-machine", "raspi4b"),
    memory_base=0,
    memory_bytes=2 << 30,
    absent=frozenset({"TTBR1_EL2"}),
    translations=tuple(name for name in stub.TRANSLATIONS if name not in stub.WITH_PAN),
)
VIRT = Board(
    ("-machine", "virt,secure=on,virtualization=on", "-cpu", "max"),
    memory_base=1 << 30,
    memory_bytes=64 << 20,
)


class Permissions:
    """Whether QEMU's `gva2gpa` heeds permissions, as QEMU 10.0 does and 11 does not: learnt on the way."""

    def __init__(self) -> None:
        self._heeds: set[bool] = set()

    def agree(self, asked: int | None, output: int | None, is_permitted: bool) -> bool:
        """Whether QEMU's answer fits where a walk ends, and whether the access is permitted there."""
        if output is None or is_permitted:
            return asked == output
        self._heeds.add(asked is None)
        # Now this, now that is neither.
        return asked in (None, output) and len(self._heeds) == 1


class Target:
    """A running QEMU; satisfies `gdbplugin.machine.Machine` once `start` has set it up."""

    def __init__(self, board: Board, memory: mmap.mmap, monitor: Monitor, gdb_address: str) -> None:
        self.board = board
        self.gdb_address = gdb_address
        """What GDB's `target remote` takes."""
        self.base = board.memory_base
        self.cores = (0,)
        self._memory = memory
        self._monitor = monitor
        self._registers: dict[str, int] = {}

    def read_physical(self, address: int, length: int) -> bytes:
        start = address - self.base
        if start < 0 or start + length > self.board.memory_bytes:
            raise PhysicalReadError(address, length)
        return self._memory[start : start + length]

    def register(self, name: str, _core: int) -> int | None:
        return self._registers.get(name)

    def start(
        self,
        registers: Mapping[str, int],
        words: Mapping[int, int],
        *,
        state: int,
        at: int,
        probes: Sequence[int] = (),
    ) -> None:
        """Reset, lay down `words` (physical address to bytes' value), load `registers`, go to `state`.

        On the way AT instructions are executed on `probes`; `translated` gives what they found.
        """
        self._monitor.execute("stop")
        self._memory[TABLES:TABLES_END] = bytes(TABLES_END - TABLES)
        for address, word in words.items():
            assert TABLES <= address - self.base < TABLES_END
            struct.pack_into("<Q", self._memory, address - self.base, word)
        self._memory[SPIN : SPIN + 4] = stub.SPIN
        self._memory[MAILBOX : MAILBOX + stub.MAILBOX_BYTES] = bytes(stub.MAILBOX_BYTES)
        for name, value in {**registers, "SPSR_EL3": state, "ELR_EL3": at}.items():
            struct.pack_into("<Q", self._memory, MAILBOX + stub.SLOTS[name], value)
        assert len(probes) <= stub.MAXIMUM_PROBES
        struct.pack_into("<Q", self._memory, MAILBOX + stub.COUNT, len(probes))
        struct.pack_into(f"<{len(probes)}Q", self._memory, MAILBOX + stub.PROBES, *probes)
        self._monitor.reset()
        self._monitor.execute("cont")
        self._wait(state >> 2 & 3)
        read = [name for name in stub.READ if name not in self.board.absent]
        where = MAILBOX + stub.READ_BACK
        values = {name: struct.unpack_from("<Q", self._memory, where + stub.SLOTS[name])[0] for name in read}
        self._registers = {**values, "SCTLR_EL3": registers.get("SCTLR_EL3", 0), "CPSR": self.state()}

    def write(self, address: int, word: int) -> None:
        """Change eight bytes of memory, as a program might have."""
        struct.pack_into("<Q", self._memory, address - self.base, word)

    def translated(self, count: int) -> list[dict[str, int]]:
        """PAR_EL1 by AT instruction, for each of the `count` probes of `start`."""
        names = self.board.translations
        values = struct.unpack_from(f"<{count * len(names)}Q", self._memory, MAILBOX + stub.RESULTS)
        rows = (values[first : first + len(names)] for first in range(0, len(values), len(names)))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _wait(self, level: int) -> None:
        deadline = time.monotonic() + _SECONDS
        while not self._memory[MAILBOX + stub.DONE]:
            assert time.monotonic() < deadline, "the stub did not come to its end"
            time.sleep(0.0002)
        # It has some instructions left, to its return; where EL0 cannot run, EL1 or EL2 takes over.
        while True:
            self._monitor.execute("stop")
            reached = self.state() >> 2 & 3
            if level == 3 or reached != 3:
                return
            assert time.monotonic() < deadline, f"the stub did not get to EL{level}"
            self._monitor.execute("cont")
            time.sleep(0.0005)

    def run_to(self, address: int) -> None:
        """Let the machine go on until the first core is at `address`, where it stays by itself."""
        deadline = time.monotonic() + _SECONDS
        while self.pc() != address:
            assert time.monotonic() < deadline, f"it is at {self.pc():#x}, not at {address:#x}"
            self._monitor.execute("cont")
            time.sleep(0.001)
            self._monitor.execute("stop")

    def pc(self) -> int:
        """The program counter."""
        found = re.search(r"PC=([0-9a-f]+)", self._monitor.human("info registers"))
        assert found
        return int(found[1], 16)

    def state(self) -> int:
        """PSTATE."""
        found = re.search(r"PSTATE=([0-9a-f]+)", self._monitor.human("info registers"))
        assert found
        return int(found[1], 16)

    def gva2gpa(self, address: int) -> int | None:
        """QEMU's translation at the present exception level; None if there is none. See `Permissions`."""
        said = self._monitor.human(f"gva2gpa {address:#x}").strip()
        if said == "Unmapped":
            return None
        assert said.startswith("gpa: "), said
        return int(said.removeprefix("gpa: "), 16)


class Monitor:
    """QEMU's machine protocol."""

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(_SECONDS)
        self._stream = stream
        self._lines = stream.makefile("rb")
        self._lines.readline()  # The greeting.
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        request = {"execute": command, "arguments": arguments}
        self._stream.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "return" in answer:
                return answer["return"]
            assert "error" not in answer, answer

    def reset(self) -> None:
        """Reset the machine, and wait until that is done."""
        self._stream.sendall(b'{"execute": "system_reset"}\n')
        answered = happened = False
        while not (answered and happened):
            answer = json.loads(self._lines.readline())
            answered = answered or "return" in answer
            happened = happened or answer.get("event") == "RESET"

    def human(self, line: str) -> str:
        """What QEMU's monitor for people says to a line."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))


@contextlib.contextmanager
def running(board: Board) -> Iterator[Target]:
    """A QEMU for the length of a `with`."""
    with contextlib.ExitStack() as resources:
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="stub-")))
        ram = resources.enter_context((directory / "ram").open("w+b"))
        ram.truncate(board.memory_bytes)
        memory = resources.enter_context(mmap.mmap(ram.fileno(), board.memory_bytes))
        program = stub.code(board.memory_base + MAILBOX, board.absent, board.translations)
        image = directory / "stub.elf"
        image.write_bytes(stub.elf(board.memory_base + STUB, program))
        listener = resources.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(directory / "qmp"))
        listener.listen(1)
        resources.callback(process.end, _start(board, directory, image))
        listener.settimeout(_SECONDS)
        stream, _ = listener.accept()
        resources.enter_context(stream)
        yield Target(board, memory, Monitor(stream), str(directory / "gdb"))


def _start(board: Board, directory: Path, image: Path):
    arguments = [find_qemu(), "-nodefaults", "-display", "none", "-S", *board.arguments]
    arguments += ram_arguments(directory / "ram", board.memory_bytes)
    arguments += ["-kernel", str(image), "-qmp", f"unix:{option_value(directory / 'qmp')}"]
    arguments += ["-gdb", f"unix:{option_value(directory / 'gdb')},server=on,wait=off"]
    with (directory / "log").open("wb") as log:
        return process.start(arguments, stdout=log, stderr=log)
