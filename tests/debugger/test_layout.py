"""The layout from GDB's symbols and the one from the DWARF are the same."""

import json
from pathlib import Path

import pytest

from gdbplugin.kernel.kernel import MANAGER, SCHEDULER
from gdbplugin.layout import cache
from gdbplugin.layout.types import locate_path
from tests.debugger.conftest import gdb
from tests.elf_files import COMPRESSIONS, changed, debug_link, debug_only, stripped, without_indexes

EXPECTED = {
    *("DynamicMemoryManager", "DynamicMemoryStats", "DynamicStackManager", "DynamicStack", "GrowthPolicy"),
    *("MemoryPressureHandler", "PressureLevel", "StrategyRecord", "Strategy", "HardwareContextSwitcher"),
    *("AddressSpace", "EventRing", "Event", "EventKind", "FrameAllocator", "FrameInfo", "FrameUse"),
    *("LazyPageAllocator", "LazyRange", "LazyPage", "Scheduler", "Task", "TaskState", "EndReason", "Context"),
    *("DebuggerInterface", "FailureRecord"),
}


@pytest.fixture
def files(kernel_elf, dwarf5_elf, tmp_path):
    """Gives the kernel's file in one of its forms."""

    def file_of(form: str) -> Path:
        if form == "dwarf-4":
            return kernel_elf
        # Without the compiler's index, with which GDB 13 reads nothing.
        content = without_indexes(dwarf5_elf)
        path = tmp_path / "kernel.elf"
        if form == "separate":
            debug = debug_only(content)
            (tmp_path / "kernel.debug").write_bytes(debug)
            path.write_bytes(stripped(content, [debug_link("kernel.debug", debug)]))
        else:
            path.write_bytes(changed(content, COMPRESSIONS.get(form, lambda one: one)))
        return path

    return file_of


@pytest.mark.parametrize("form", ["dwarf-4", "dwarf-5", "separate", *COMPRESSIONS])
def test_both_layouts_agree(files, form, tmp_path):
    kernel_elf = files(form)
    by_dwarf = cache.load(kernel_elf, directory=tmp_path / "cache")
    script = Path(__file__).with_name("inside_layouts.py")
    outcome = gdb(f"source {script}", elf=kernel_elf)
    found = json.loads(outcome.output)
    # GDB can describe every type of the kernel's statics.
    assert found["asked"] == []
    reached = set()
    for name, by_gdb in found["layouts"].items():
        assert by_gdb is not None, name
        assert cache.loads(by_gdb) == {name: by_dwarf.static(name)}
        reached |= {tuple(row[:2]) for row in json.loads(by_gdb)["types"] if row[0] != "array"}
    assert len(found["layouts"]) == 4
    # Every struct and enum in the kernel's statics.
    declared = {name for kind, name in reached if kind in ("struct", "enumeration") and "<" not in name}
    assert {name.rpartition("::")[2] for name in declared} >= EXPECTED
    manager = by_dwarf.static(MANAGER)
    page = locate_path(manager.type, "lazy_allocator.pages").type.element
    assert (page.name, page.size) == ("tinyos::memory::lazy::LazyPage", 40)
    assert SCHEDULER in found["layouts"]
