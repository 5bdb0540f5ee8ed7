"""The guest's RAM, shared with QEMU."""

import contextlib
import os
import struct

import pytest

from gdbplugin.machine import PhysicalReadError
from gdbplugin.session.ram import MappedRam, RamUnavailableError

SIZE = 1 << 20


def written(ram, address, data):
    """Write as QEMU does: to the file of that name."""
    with open(ram.path, "r+b") as file:
        file.seek(address)
        file.write(data)


def test_what_is_written_to_the_file_is_read(tmp_path):
    with MappedRam.create(tmp_path, SIZE) as ram:
        written(ram, 0x1000, struct.pack("<QQ", 0x1122334455667788, 7))
        assert ram.size == SIZE
        assert ram.word(0x1008) == 7
        assert ram.read(0x1000, 4) == bytes.fromhex("88776655")
        assert ram.read(SIZE - 8, 8) == bytes(8)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("address", "length"), [(SIZE - 4, 8), (-8, 8), (SIZE, 1), (0, -1)])
def test_a_read_outside_of_it_is_refused(tmp_path, address, length):
    with MappedRam.create(tmp_path, SIZE) as ram, pytest.raises(PhysicalReadError, match="not all RAM"):
        ram.read(address, length)


@pytest.mark.parametrize("address", [4, SIZE, -8])
def test_a_word_not_aligned_or_outside_is_refused(tmp_path, address):
    with MappedRam.create(tmp_path, SIZE) as ram, pytest.raises(PhysicalReadError, match="aligned word"):
        ram.word(address)


def test_close_leaves_nothing_open(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    ram = MappedRam.create(tmp_path, SIZE)
    ram.close_descriptor()
    assert ram.word(0) == 0
    ram.close()
    ram.close()
    assert set(os.listdir("/proc/self/fd")) == before


def fails(*_):
    raise OSError(38, "Function not implemented")


def test_without_memfd_it_is_a_private_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "memfd_create", fails)
    with MappedRam.create(tmp_path, SIZE) as ram:
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        written(ram, 8, b"\1")
        assert ram.word(8) == 1


def test_without_memfd_and_space_both_reasons_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "memfd_create", fails)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(RamUnavailableError, match=r"Function not implemented.*too little space"):
        MappedRam.create(tmp_path, 1 << 60)
    assert set(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_cannot_be_mapped_leaves_nothing_open(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    with contextlib.suppress(RamUnavailableError), MappedRam.create(tmp_path, 1 << 62):
        pytest.fail("that much was mapped")
    assert set(os.listdir("/proc/self/fd")) == before
