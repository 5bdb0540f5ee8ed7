"""What QEMU needs to record the guest, and to go back to what is recorded."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gdbplugin.session import directory as names
from gdbplugin.session.errors import ToolMissingError

DEFAULT_RECORDS = 1 << 20
MOST_RECORDS = 1 << 28
_RECORDER = Path(__file__).resolve().parents[2] / "build" / "recorder.so"
# Of all checkpoints together, where a page that did not change counts once: 1 GiB.
_CHECKPOINT_PAGES = 1 << 18
# The PL011 that is the first serial line of raspi4b.
_UART = 0xFE201000


def find_recorder() -> Path:
    """QEMU's plugin that records the guest: $TINYOS_RECORDER, or the one that scripts/build makes.

    Raises `ToolMissingError`.
    """
    path = Path(os.environ.get("TINYOS_RECORDER") or _RECORDER)
    if not path.is_file():
        raise ToolMissingError(f"no recorder at {path}: build it with scripts/build, in a checkout")
    return path


def option_value(value: str | os.PathLike[str]) -> str:
    """A value inside one of QEMU's `key=value,...` options, where commas are doubled."""
    return os.fspath(value).replace(",", ",,")


def recorder_arguments(recording: Path, ram: str, records: int, more: Sequence[str]) -> tuple[str, ...]:
    """The arguments that have the guest recorded into a file. `ram` is its RAM's name in /proc/PID/maps."""
    given = (f"ring={recording}", f"ram={ram}", f"records={records}", *more)
    return ("-plugin", ",".join(option_value(one) for one in (str(find_recorder()), *given)))


@dataclass(frozen=True)
class Travel:
    """What a machine needs that can go back: the recorder stands between its serial line and the console."""

    directory: Path
    ram: str
    """The file of the guest's RAM, as QEMU finds it."""
    serial: socket.socket
    """Where QEMU waits for the other end of the serial line."""
    line: socket.socket
    """That other end."""
    console: socket.socket
    """Where the recorder waits for those at the console."""
    protocol: socket.socket
    """Where QEMU waits for the recorder's commands."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """All that QEMU inherits."""
        return (self.serial, self.line, self.console, self.protocol)

    def machine_arguments(self) -> tuple[str, ...]:
        """QEMU's arguments, and the file for its snapshots."""
        snapshots = self.directory / names.SNAPSHOTS
        snapshots.write_bytes(empty_qcow2())
        drive = f"file={option_value(snapshots)},if=none,id=snapshots,format=qcow2,cache=unsafe"
        chardev = f"socket,id=travel,fd={self.protocol.fileno()},server=on,wait=off"
        return ("-drive", drive, "-chardev", chardev, "-qmp", "chardev:travel")

    def recorder_arguments(self, *, starts: bool) -> tuple[str, ...]:
        """The recorder's arguments. With `starts` it lets the machine run after the first checkpoint."""
        return (
            f"protocol={self.directory / names.TRAVEL}",
            f"memory={self.ram}",
            f"checkpoints={self.directory / names.CHECKPOINTS}",
            f"pages={_CHECKPOINT_PAGES}",
            f"console={self.line.fileno()}-{self.console.fileno()}",
            f"uart={_UART:#x}",
            f"starts={'on' if starts else 'off'}",
        )


def empty_qcow2() -> bytes:
    """An empty image, for snapshots without a disk (QEMU, docs/interop/qcow2.rst, version 2)."""
    cluster_bits, clusters = 16, 4
    cluster = 1 << cluster_bits
    # In this order: the header, the table of reference counts, its one block, the level 1 table.
    image = bytearray(clusters * cluster)
    header = (b"QFI\xfb", 2, 0, 0, cluster_bits, cluster, 0, 1, 3 * cluster, cluster, 1, 0, 0)
    struct.pack_into(">4sIQIIQIIQQIIQ", image, 0, *header)
    struct.pack_into(">Q", image, cluster, 2 * cluster)
    struct.pack_into(f">{clusters}H", image, 2 * cluster, *[1] * clusters)
    return bytes(image)
