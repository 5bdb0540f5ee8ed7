"""Dumps compressed with zstd: a stream in place of a file with holes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gdbplugin.dump.core_file import DumpError, not_zero
from gdbplugin.layout.elf import zstd_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

MAGIC = b"\x28\xb5\x2f\xfd"
SUFFIX = ".zst"
NO_ZSTD = "this Python has no zstd: install the package backports.zstd for it"
_PART_BYTES = 1 << 20
_MOST_BYTES = 1 << 37


class ZstdWriter:
    """Takes what `write_core` writes, in the order of the places, and compresses it; gaps become zeros.

    `finish` writes the end. Raises `DumpError` if this Python has no zstd, `OSError`.
    """

    def __init__(self, file: BinaryIO) -> None:
        module = zstd_module()
        if module is None:
            raise DumpError(NO_ZSTD)
        self._stream: Any = module.ZstdFile(file, "wb")
        self._written = self._place = self._size = 0

    def write(self, data: bytes) -> int:
        """Write at the current place."""
        self._fill(self._place)
        self._stream.write(data)
        self._written = self._place = self._place + len(data)
        return len(data)

    def seek(self, place: int) -> int:
        """Go to a place at or after the end of what was written."""
        assert place >= self._written, "a stream cannot go back"
        self._place = place
        return place

    def truncate(self, size: int) -> int:
        """Set the size that `finish` fills up to."""
        self._size = size
        return size

    def finish(self) -> None:
        """Write the zeros at the end, and end the stream; the file stays open."""
        self._fill(self._size)
        self._stream.close()

    def _fill(self, end: int) -> None:
        zeros = bytes(min(_PART_BYTES, max(0, end - self._written)))
        while self._written < end:
            part = zeros[: end - self._written]
            self._stream.write(part)
            self._written += len(part)


def decompressed(file: BinaryIO, path: Path) -> BinaryIO:
    """The plain file, with holes, as an unnamed temporary one. Raises `DumpError`, `OSError`."""
    module = zstd_module()
    if module is None:
        raise DumpError(f"{path} is compressed with zstd, and {NO_ZSTD}, or decompress it (zstd -d)")
    found: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    file.seek(0)
    size = 0
    try:
        with module.ZstdFile(file) as stream:
            while part := stream.read(_PART_BYTES):
                for offset, data in not_zero(part):
                    found.seek(size + offset)
                    found.write(data)
                size += len(part)
                if size > _MOST_BYTES:
                    raise DumpError(f"{path} has more than {_MOST_BYTES:,} bytes when it is decompressed")
    except (module.ZstdError, EOFError) as error:
        raise DumpError(f"{path} is damaged: {error}") from error
    found.truncate(size)
    return found
