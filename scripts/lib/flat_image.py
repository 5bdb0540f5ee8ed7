"""Write an ELF's loadable segments as one flat image, the form a Raspberry Pi's firmware loads.

usage: flat_image.py KERNEL.ELF KERNEL8.IMG

The firmware of the Raspberry Pi 4 copies ``kernel8.img`` to physical address 0x80000 and starts it at
its first byte (https://www.raspberrypi.com/documentation/computers/config_txt.html, ``kernel_address``).
The image therefore holds the file contents of every ``PT_LOAD`` segment at its physical address less
0x80000, with zeroes between them. What a segment has in memory only (``.bss``) is left out: the kernel
clears it itself.
"""

import os
import sys
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

LOAD_ADDRESS = 0x80000
"""Physical address, in bytes, of the image's first byte."""

MAXIMUM_SIZE = 64 << 20
"""Bytes. A larger image means that a segment carries a wrong physical address."""


class ImageError(Exception):
    """The ELF cannot be written as a flat image; the message says why."""


def flat_image(elf: ELFFile) -> bytes:
    """Return the flat image of ``elf`` for ``LOAD_ADDRESS``; raise ImageError where there is none."""
    loaded = [s for s in elf.iter_segments("PT_LOAD") if s["p_filesz"] > 0]
    loaded.sort(key=lambda segment: segment["p_paddr"])
    if not loaded:
        raise ImageError("it has no loadable segment")
    first = loaded[0]["p_paddr"]
    if first != LOAD_ADDRESS:
        raise ImageError(f"its first segment is at physical {first:#x}, not at {LOAD_ADDRESS:#x}")
    image = bytearray()
    for segment in loaded:
        address = segment["p_paddr"]
        offset = address - LOAD_ADDRESS
        if offset < len(image):
            raise ImageError(f"two segments overlap at physical {address:#x}")
        if offset + segment["p_filesz"] > MAXIMUM_SIZE:
            raise ImageError(f"a segment at physical {address:#x} lies beyond {MAXIMUM_SIZE >> 20} MiB")
        image += bytes(offset - len(image))
        image += segment.data()
    return bytes(image)


def write_image(elf_path: Path, image_path: Path) -> None:
    """Write ``elf_path`` as a flat image, whole or not at all; leave an equal file alone."""
    with elf_path.open("rb") as stream:
        try:
            image = flat_image(ELFFile(stream))
        except (ELFError, ImageError) as error:
            raise ImageError(f"{elf_path}: {error}") from error
    if image_path.exists() and image_path.read_bytes() == image:
        return
    unfinished = image_path.with_name(image_path.name + ".new")
    unfinished.write_bytes(image)
    os.replace(unfinished, image_path)


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    if len(arguments) != 2:
        print("usage: flat_image.py KERNEL.ELF KERNEL8.IMG", file=sys.stderr)
        return 2
    try:
        write_image(Path(arguments[0]), Path(arguments[1]))
    except (ImageError, OSError) as error:
        print(f"tinyos: error: no flat image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
