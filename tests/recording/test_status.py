"""`tinyos recording` over the real kernel: what is recorded, and more memory recorded from then on."""

import time

import pytest

from gdbplugin.recording.ring import STORE, Recording
from gdbplugin.session import CommandFailedError, ReadFailedError, TinyOS
from tests.commands.forms import json_of, text_of
from tests.schemas.validation import validate

pytestmark = pytest.mark.xdist_group("recording-status")
PAGE = 4096
KERNEL, LINEAR = 1 << 63, 0xFFFF_0000_0000_0000


@pytest.fixture(scope="module")
def machine(kernel_elf):
    with TinyOS.boot(kernel_elf, record=True) as session:
        yield session


def test_it_says_how_much_is_recorded(machine):
    found = machine.recording()
    assert 0 < found.stores < found.records
    assert found.room == 1 << 20
    assert found.can_go_back
    assert found.checkpoints == len(machine.checkpoints()) > 0
    validate(json_of("recording", found))
    assert f"{found.records:,} records" in " ".join(text_of("recording", found).split())


def test_what_is_added_has_a_history(machine):
    """What tasks write to their own pages."""
    frames = machine.pressure().frames
    start, end = frames.base, frames.base + 4096 * PAGE
    before = machine.recording().ranges
    assert machine.recording(add_physical=[(start + 1, end)]).ranges == (*before, (start, end))
    machine.resume()
    time.sleep(0.5)
    machine.interrupt()
    recording = Recording(str(machine.qemu.recording))
    stores = recording.records(
        lambda fields: fields[9] == STORE and fields[2] < KERNEL and fields[3] >= start
    )
    last = {(one.ttbr0, one.virtual): one for _, one in stores}
    recording.close()
    asids = {space.asid: space.number for space in machine.context().spaces.active}
    checked = 0
    for one in reversed(last.values()):
        asid = one.ttbr0 >> 48
        # It may have given the page back since.
        if machine.translate(one.virtual, asid=asid).output == one.physical and checked < 5:
            checked += 1
            alias = LINEAR + one.physical
            found = [change for change in machine.history(alias) if change.pc == one.pc][-1]
            assert (found.task, found.instructions) == (asids[asid], one.instructions)
            assert found.function in ("descend", "program_worker", "program_lazy")
    assert checked
    assert machine.recording(drop=True).ranges == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--add 5", "is not a range"),
        ("--add 0x700000000000+8", "0x700000000000"),
        ("--add-physical 0x5000..0x4000", "is an empty range"),
    ],
)
def test_a_wrong_range_is_one_line(machine, words, said):
    with pytest.raises(CommandFailedError, match="recording") as error:
        machine.json(f"recording {words}")
    assert said in error.value.reason
    assert "\n" not in error.value.reason


def test_without_a_recording_it_says_how_to_get_one(shared_machine):
    with pytest.raises(ReadFailedError, match="scripts/run --record"):
        shared_machine.recording()


def test_another_target_in_the_same_gdb_is_not_recorded(machine, shared_machine):
    shared_machine.detach()
    with machine.stopped() as gdb:
        gdb.execute("disconnect")
        gdb.execute(f"target remote {shared_machine.qemu.gdb_address}")
        with pytest.raises(CommandFailedError, match="this target is not recorded"):
            gdb.execute("tinyos recording")
        gdb.execute("disconnect")
        gdb.execute(f"target remote {machine.qemu.gdb_address}")
        assert "records" in gdb.execute("tinyos recording")
