"""The views of the report and of the check, over a small kernel."""

from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.journal import Journal, Noticed
from gdbplugin.kernel.report import read_report
from gdbplugin.layout.types import Struct
from gdbplugin.render import check as check_view
from gdbplugin.render import report as report_view
from gdbplugin.render.style import Style
from tests.commands.forms import json_of
from tests.kernel.synthetic import LAZY_BASE, STATISTICS, World

ASCII = Style("ascii")


def report_of(world):
    kernel = world.kernel()
    return read_report(kernel)


def test_the_report_json_of():
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
    text = report_view.text(report, ASCII)
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
    assert f"and {len(more) - 12} more ranges" in report_view.text(report, ASCII)


def test_findings_and_notes_stand_behind_the_report():
    world = World()
    world.sequence = 3
    world.manager["stack_manager"]["stacks"][0]["policy"] = 99
    report = report_of(world)
    lines = report_view.text(report, ASCII).splitlines()
    assert "Findings: 1" in lines
    assert "  stack 1: policy: expected one of Conservative, Aggressive, Predictive; found 0x63" in lines
    assert lines[-2].startswith("Note: the kernel was stopped in the middle of a change")
    assert lines[-1].startswith("  ")
    assert max(map(len, lines)) <= 100


def test_what_is_missing_is_shown_as_missing():
    world = World()
    manager = {name: type_ for name, type_ in world.types.items() if "MANAGER" in name}
    ((name, type_),) = manager.items()
    empty = Struct("DynamicMemoryManager", 64, ())
    world.types[name] = Struct(type_.name, type_.size, (type_.fields[0],))
    assert empty.fields == ()
    report = report_of(world)
    text = report_view.text(report, ASCII)
    assert "- active of - created" in text
    assert "this kernel's DYNAMIC_MEMORY_MANAGER has no stats" in text
    content = json_of("report", report)
    assert content["stats"]["total_lazy_pages"] is None


def test_the_check_counts_its_findings_last():
    kernel = World().kernel()
    check = read_check(kernel)
    text = check_view.text(check, ASCII)
    assert text.splitlines()[-1] == "0 findings"
    world = World()
    world.manager["stack_manager"]["stacks"][0]["current_size"] = 0x4000
    kernel = world.kernel()
    check = read_check(kernel)
    lines = check_view.text(check, ASCII).splitlines()
    assert lines[-1] == f"{kernel.journal.finding_count} findings"
    assert check_view.content(check)["finding_count"] == kernel.journal.finding_count > 0


def test_a_check_amid_a_change_says_what_it_saw():
    world = World()
    world.sequence = 1
    world.manager["stack_manager"]["stacks"][0]["current_size"] = 0x4000
    kernel = world.kernel()
    check = read_check(kernel)
    text = check_view.text(check, ASCII)
    assert "disagreements amid the change are no findings" in text
    assert text.endswith("0 findings\n")
    assert check_view.content(check)["passing"][0]["object"] == "stack 1"


def test_a_flood_of_findings_is_counted_but_not_all_shown():
    journal = Journal(limit=50)
    for number in range(200):
        journal.find(f"page {number}", "mapped", "not mapped")
    journal.find("page 3", "mapped", "not mapped")
    lines = ASCII.noticed(Noticed(journal=journal)).splitlines()
    assert lines[0] == "Findings: 200"
    assert lines[-1] == "  and 180 more"
    assert len(journal.findings) == 50
