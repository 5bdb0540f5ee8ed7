"""The kernel's ELF, as far as a session must know it: is it TinyOS, can it be debugged, is it what runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdbplugin.session.errors import CommandFailedError, KernelUnusableError
from gdbplugin.session.gdb import Gdb

MANAGER_SYMBOL = b"DYNAMIC_MEMORY_MANAGER"
_BUILD = "build it with scripts/build"
_SAMPLE_BYTES = 256


@dataclass(frozen=True)
class LoadedBytes:
    """Bytes of the ELF that must lie in the memory of a machine that runs it."""

    what: str
    virtual_address: int
    physical_address: int
    content: bytes


@dataclass(frozen=True)
class KernelFile:
    """A TinyOS ELF with its symbols and debug information."""

    path: Path
    build_id: str
    """In hexadecimal; empty where the ELF has none."""
    sample: LoadedBytes
    """The build-id's note where it is loaded, else the first bytes of the code."""

    @classmethod
    def open(cls, path: Path) -> KernelFile:
        """Look at the file; raises `KernelUnusableError`, saying what is wrong and what to do."""
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            raise KernelUnusableError(f"no kernel at {path}: {_BUILD}") from None
        except OSError as error:
            raise KernelUnusableError(
                f"cannot read {path} ({error.strerror}): give kernel.elf, or {_BUILD}"
            ) from error
        with stream:
            # Not at the top: of all that imports this module, only this function needs 60 ms of it.
            from elftools.common.exceptions import ELFError
            from elftools.elf.elffile import ELFFile

            try:
                elf = ELFFile(stream)
                return cls._of(path, elf)
            except ELFError as error:
                raise KernelUnusableError(f"{path} is not a whole ELF file ({error}): {_BUILD}") from error

    @classmethod
    def _of(cls, path: Path, elf: Any) -> KernelFile:
        if elf["e_machine"] != "EM_AARCH64":
            raise KernelUnusableError(f"{path} is not an AArch64 ELF: give TinyOS's kernel.elf, or {_BUILD}")
        symbols = elf.get_section_by_name(".strtab")
        if symbols is None or elf.get_section_by_name(".debug_info") is None:
            raise KernelUnusableError(
                f"{path} is stripped: the symbols and debug information are needed; give the unstripped ELF, "
                f"or {_BUILD}"
            )
        if MANAGER_SYMBOL not in symbols.data():
            name = MANAGER_SYMBOL.decode()
            raise KernelUnusableError(
                f"{path} is not TinyOS (it has no {name}): give kernel.elf, or {_BUILD}"
            )
        note = elf.get_section_by_name(".note.gnu.build-id")
        build_id = next(iter(note.iter_notes()))["n_desc"] if note is not None else ""
        return cls(path, build_id, _sample(path, elf, note))

    def require_running(self, gdb: Gdb) -> None:
        """Raise `KernelUnusableError` if the machine that GDB is stopped at runs something else.

        Compares what lies in its memory at the ELF's physical addresses, or, for a gdbstub that knows no
        physical memory, at the virtual ones.
        """
        found = _read(gdb, self.sample)
        if found != self.sample.content:
            raise KernelUnusableError(
                f"{self.path} is not the kernel that is running: its {self.sample.what} is not in the "
                "machine's memory; give the ELF that was booted, or boot this one"
            )


def _sample(path: Path, elf: Any, note: Any) -> LoadedBytes:
    segments = [segment for segment in elf.iter_segments("PT_LOAD") if segment["p_filesz"]]
    for segment in segments:
        if note is not None and note["sh_addr"] and segment.section_in_segment(note):
            return _cut(segment, "build-id", note["sh_addr"], note.data())
    for segment in segments:
        if segment["p_flags"] & 1:  # PF_X
            return _cut(segment, "code", segment["p_vaddr"], segment.data()[:_SAMPLE_BYTES])
    raise KernelUnusableError(f"{path} has nothing in it to run: {_BUILD}")


def _cut(segment: Any, what: str, address: int, content: bytes) -> LoadedBytes:
    return LoadedBytes(what, address, segment["p_paddr"] + address - segment["p_vaddr"], content)


def _read(gdb: Gdb, sample: LoadedBytes) -> bytes | None:
    """What lies where the sample should; None where nothing can be read."""
    physical = "OK" in gdb.execute("maint packet Qqemu.PhyMemMode:1")
    address = sample.physical_address if physical else sample.virtual_address
    try:
        answer = gdb.mi(f"-data-read-memory-bytes {address:#x} {len(sample.content)}")
    except CommandFailedError:
        return None
    finally:
        if physical:
            gdb.execute("maint packet Qqemu.PhyMemMode:0")
    return bytes.fromhex(answer.payload["memory"][0]["contents"])
