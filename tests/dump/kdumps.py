"""Writes kdump files, as `kexec-tools` describes them: an independent writer for the tests of the reader."""

import struct
import zlib

BLOCK = 4096


def kdump(pages, count, notes=b"", *, compress=zlib.compress, flag=1, block=BLOCK):
    """A kdump file of `count` page frames, of which `pages`, by number, are in it."""
    bitmap_blocks = -(-count // (8 * block))
    present, exist = bytearray(bitmap_blocks * block), bytearray(bitmap_blocks * block)
    for number in range(count):
        exist[number // 8] |= 1 << number % 8
    for number in pages:
        present[number // 8] |= 1 << number % 8
    table = block * (2 + 2 * bitmap_blocks)
    place = table + 24 * len(pages) + len(notes)
    rows, data, zero_place = b"", b"", None
    for number in sorted(pages):
        page = pages[number].ljust(block, b"\0")
        packed = compress(page) if compress else page
        if not any(page) and zero_place is not None:
            here = zero_place
        else:
            here = place + len(data)
            data += packed
            zero_place = here if not any(page) else zero_place
        rows += struct.pack("<QIIQ", here, len(packed), flag if compress else 0, 0)
    header = struct.pack("<8sI", b"KDUMP   ", 6) + bytes(390 + 22)
    header += struct.pack("<IIIIIIIIII", 0, block, 1, 2 * bitmap_blocks, count, 0, 0, 0, 0, 4)
    sub = struct.pack("<QII", 0, 1, 0) + struct.pack("<QQQQ", 0, 0, 0, 0)
    sub += struct.pack("<QQQQ", table + len(rows), len(notes), 0, 0) + struct.pack("<QQQ", 0, 0, count)
    return b"".join([header.ljust(block, b"\0"), sub.ljust(block, b"\0"), exist, present, rows, notes, data])


def flattened(data, step=1000):
    """A file in makedumpfile's flattened form, in parts, the last first."""
    parts = [(start, data[start : start + step]) for start in range(0, len(data), step)]
    stream = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
    for start, part in reversed(parts):
        stream += struct.pack(">qq", start, len(part)) + part
    return stream + struct.pack(">qq", -1, -1)
