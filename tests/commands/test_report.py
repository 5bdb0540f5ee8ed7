"""The report of a small kernel, as text and JSON."""

from gdbplugin.kernel.snapshot import read_report
from gdbplugin.layout.types import Struct
from tests.commands.forms import json_of, text_of
from tests.kernel.synthetic import LAZY_BASE, STATISTICS, World


def report_of(world):
    return read_report(world.kernel())


def test_the_report_as_json():
    report = report_of(World())
    content = json_of("report", report)
    assert set(content["stats"]) == set(STATISTICS)
    assert content["stacks"][0]["current_size"] == 0x3000
    assert content["stacks"][0]["is_active"] is True
    assert content["pages"][3]["virtual_address"] == LAZY_BASE + 3 * 4096
    assert content["pages"][3]["is_allocated"] is True
    assert content["pages"][3]["is_zero_page"] is False
    assert content["lazy"]["states"] == {"pending": 2, "zero": 1, "allocated": 2, "corrupt": 0}
    assert content["lazy"]["ranges"] == [{"number": 0, "first": 0, "pages": 5, "owner": 1}]
    assert [run["state"] for run in content["lazy"]["runs"]] == ["pending", "zero", "allocated"]
    assert content["pressure"]["level"] == "Medium"
    assert content["pressure"]["thresholds"][0] == {"enter_below": 48, "leave_at": 52}
    assert content["frames"]["used_frames"] == 27
    assert content["tasks"][0]["name"] == "worker"
    (core,) = content["cores"]
    assert core["exception_level"] == 1
    assert set(core["ttbr0"]) >= {"value", "base", "asid"}
    assert core["ttbr0"]["asid"] == 11
    assert content["changing"] is False


def test_the_report_as_text():
    report = report_of(World())
    text = text_of("report", report)
    assert "2 active of 3 created" in text
    assert "1 worker  Conservative  0x7000003fd000..400000     12K/64K  #...  3fffc0" in text
    assert "Lazy pages (5: 2 pending, 1 zero, 2 allocated; zero page at 0x8000000)" in text
    assert "Medium below 48 until 52" in text
    assert "0     EL1    on       TTBR0_EL1  0x000b" in text
    assert "Note" not in text
    assert "Findings" not in text
    assert text.isascii()
    assert text.endswith("\n")
    assert len(text.splitlines()) < 60


def test_many_ranges_do_not_fill_the_screen():
    world = World()
    world.manager["lazy_allocator"]["ranges"] = [{"first": 0, "pages": 5, "owner": 1}] * 4
    report = report_of(world)
    more = report.lazy.ranges * 10
    object.__setattr__(report.lazy, "ranges", more)
    assert f"and {len(more) - 12} more ranges" in text_of("report", report)


def test_findings_and_notes_follow_the_report():
    world = World()
    world.sequence = 3
    world.manager["stack_manager"]["stacks"][0]["policy"] = 99
    report = report_of(world)
    lines = text_of("report", report).splitlines()
    assert "Findings: 1" in lines
    assert "  stack 1: policy: expected one of Conservative, Aggressive, Predictive; found 0x63" in lines
    assert lines[-2].startswith("Note: the kernel was stopped in the middle of a change")
    assert lines[-1].startswith("  ")
    assert max(map(len, lines)) <= 100


def test_what_is_missing_is_shown_as_missing():
    world = World()
    manager = {name: type_ for name, type_ in world.types.items() if "MANAGER" in name}
    ((name, type_),) = manager.items()
    world.types[name] = Struct(type_.name, type_.size, (type_.fields[0],))
    report = report_of(world)
    text = text_of("report", report)
    assert "- active of - created" in text
    assert "this kernel's DYNAMIC_MEMORY_MANAGER has no stats" in text
    content = json_of("report", report)
    assert content["stats"]["total_lazy_pages"] is None
