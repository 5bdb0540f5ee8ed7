"""Kernels of TinyOS's design by other names, in QEMU: what they write, against what is shown."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gdbplugin.kernel.design import NAMES, candidates
from gdbplugin.layout import cache
from gdbplugin.render import Style
from gdbplugin.repl.status import StatusReader
from gdbplugin.session import (
    KernelUnusableError,
    QemuOptions,
    ReadFailedError,
    SessionError,
    TinyOS,
)
from tests.commands.forms import words
from tests.integration.designs import FIRST, SECOND, merged, told
from tests.schemas.validation import validate

OBJECTS = words("events", "tasks")


def shown(session, command):
    """What GDB prints for a command, the target held still for it."""
    with session.stopped():
        return session.gdb(command)


def among(objects, records, *without):
    """Whether the objects are the records, as far as those go; both in any order."""
    names = [name for name in records[0] if name not in without]
    picked = [tuple(entry[name] for name in names) for entry in objects]
    assert sorted(picked) == sorted(tuple(entry[name] for name in names) for entry in records)


def test_the_figures_are_those_the_kernel_wrote(design):
    session, figures = design
    assert session.json("stats")["stats"] == merged(figures["stats"])
    assert session.json("stats")["enabled"] is figures["manager"][0]["enabled"]
    stacks = session.json("stacks")
    among(stacks["stacks"], figures["stack"])
    assert stacks["stack_manager"] == figures["stacks"][0]
    assert {entry["is_active"] for entry in stacks["stacks"]} == {True}
    lazy = session.json("lazy")
    among(lazy["pages"], figures["page"])
    kept = figures["lazy"][0]
    assert lazy["lazy"]["zero_frame"] == kept["zero_page_address"]
    assert lazy["lazy"]["allocation_policy"] == kept["allocation_policy"]
    assert lazy["lazy"]["next_page_index"] == kept["next_page_index"]
    pressure, handler = session.json("pressure")["pressure"], figures["pressure"][0]
    assert pressure["level"] == handler.pop("current_pressure")
    assert {name: pressure[name] for name in handler} == handler
    context, switcher = session.json("context")["context"], dict(figures["switcher"][0])
    assert context["switch_count"] == switcher.pop("context_switch_count")
    assert {name: context[name] for name in switcher} == switcher


def test_its_statics_are_found_in_the_debug_information_itself(design_elf, variant_elf, tmp_path):
    for elf, expected in ((design_elf, 1), (variant_elf, 3)):
        first = cache.load(elf, crates=None, names=NAMES, directory=tmp_path)
        assert len(first.statics) == expected
        again = cache.load(elf, crates=None, names=NAMES, directory=tmp_path)
        assert (again.statics, again.problems) == (first.statics, ())
    assert sorted(static.name for static in candidates(again.statics.values())) == [FIRST, SECOND]
    assert cache.load(design_elf, directory=tmp_path).statics == {}
    # A mistyped manager leaves no file.
    kept = set(tmp_path.iterdir())
    assert not cache.load(design_elf, crates=None, names={"nonsense"}, directory=tmp_path).statics
    assert set(tmp_path.iterdir()) == kept


def test_the_states_of_pages_follow_from_what_it_wrote(design):
    session, figures = design
    pages = figures["page"]
    states = {
        "allocated": sum(page["is_allocated"] for page in pages),
        "zero": sum(
            page["is_zero_page"] and not page["is_allocated"] and page["physical_address"] != 0
            for page in pages
        ),
    }
    found = session.json("lazy")["lazy"]["states"]
    assert {name: found[name] for name in states} == states
    assert found["pending"] == len(pages) - sum(states.values())
    assert states["allocated"]
    assert states["zero"]
    assert found["pending"]


def test_the_library_has_the_same(design):
    session, figures = design
    assert vars(session.stats().stats) == merged(figures["stats"])
    assert {stack.id for stack in session.stacks()} == {entry["id"] for entry in figures["stack"]}
    assert len(session.lazy()) == len(figures["page"])
    assert session.pressure().pressure.thresholds is None
    assert session.context().spaces.spaces is None
    report = session.report()
    assert (report.events, report.counters.enabled) == (None, True)


@pytest.mark.parametrize("word", OBJECTS)
def test_each_object_fits_its_schema_with_one_note_on_what_lacks(design, word):
    session, _ = design
    content = session.json(word)
    validate(content)
    lacking = [note for note in content["notes"] if note.startswith("this kernel has no")]
    assert len(lacking) <= 1
    assert shown(session, f"tinyos {word}")
    if word in ("stats", "stacks", "lazy", "pressure", "context", "report"):
        assert len(lacking) == 1


def test_the_check_names_the_records_that_claim_a_mapping(design):
    session, figures = design
    claiming = {
        page["virtual_address"]
        for page in figures["page"]
        if page["physical_address"] not in (0, page["virtual_address"])
    }
    check = session.check()
    found = {int(finding.object.removeprefix("lazy page "), 0) for finding in check.findings}
    assert found == claiming
    assert claiming
    assert check.checked.stacks == len(figures["stack"])


def test_what_it_has_not_is_said_in_one_line(design):
    session, _ = design
    with pytest.raises(ReadFailedError, match=r"^this kernel has no event ring: [^\n]*$"):
        session.events()
    for command in ("tinyos stress", "tinyos context --test"):
        with pytest.raises(SessionError, match=r"this kernel has no interface for debuggers[^\n]*$"):
            shown(session, command)
    with pytest.raises(SessionError, match="events"):
        shown(session, "tinyos events")
    with pytest.raises(KernelUnusableError, match="without one a kernel cannot be watched"):
        session.watch()
    with pytest.raises(KernelUnusableError, match=r"^this kernel has no probes for debuggers"):
        session.run_until("stack-growth", timeout=5)


def test_addresses_are_physical_at_el3(design):
    session, figures = design
    place = figures["manager"][0]["at"]
    found = session.translate(place)
    assert (found.output, found.view.level, found.view.regime.enabled) == (place, 3, False)
    assert session.maps().view.regime.name == "EL3"
    (register,) = session.registers("SCTLR_EL3")
    assert register.values[0].value & 1 == 0


def test_the_cores_show_the_regimes_they_are_in(design, variant):
    session, _ = design
    off = {"name": "EL3", "enabled": False, "table": None}
    assert [core["own_regime"] for core in session.json("context")["cores"]] == [off] * 4
    assert "cores 0, 1, 2, 3: EL3 regime, MMU off" in shown(session, "tinyos context")
    session, *_ = variant
    (register,) = session.registers("TTBR0_EL2", core=0)
    own = session.json("context")["cores"][0]["own_regime"]
    assert own == {"name": "EL2", "enabled": True, "table": register.values[0].value}


def test_the_prompts_status_line_shows_what_it_can(design):
    session, _ = design
    reader = StatusReader(session, Style())
    assert reader.read().running
    with session.stopped():
        status = reader.read()
    assert (status.exception_level, status.pressure, status.problem) == (3, "High", "")
    assert status.task is None


def test_values_in_expressions(design):
    session, figures = design
    stack = figures["stack"][0]
    assert f"current_size: {stack['current_size']}," in shown(session, f"print $tinyos_stack({stack['id']})")
    states = {"allocated": 2, "zero": 1, "pending": 0}
    for page in session.json("lazy")["pages"]:
        address = page["virtual_address"]
        state = session.json(f"lazy {address:#x}")["page"]["state"]
        assert shown(session, f"print $tinyos_lazy({address:#x})").split()[-1] == str(states[state])
    assert shown(session, "print $tinyos_level()").split()[-1] == "2"


def test_a_fault_at_el3_is_explained(design_elf):
    with TinyOS.boot(design_elf) as session:
        told(session)
        session.console.send("f")
        session.pump.wait(lambda: fault_taken(session), 10, "the fault")
        found = session.fault()
        (report,) = found.reports
        assert (found.level, report.record.level, report.record.address) == (3, 3, 1 << 50)
        assert report.record.syndrome.name.startswith("data abort")
        assert report.contradictions == ()
        assert "ldr" in shown(session, "tinyos fault")
        validate(session.json("fault"))


def fault_taken(session):
    """Whether core 0 stands in its vector. The target runs on if not."""
    with session.stopped() as stopped:
        return "fault_taken" in stopped.execute("info symbol $pc")


def says_so(session):
    """Commands on its records say that it has not got that far; those on the MMU work."""
    with pytest.raises(ReadFailedError, match=r"has not set up its memory manager yet [^\n]*is None"):
        session.stats()
    with pytest.raises(SessionError, match="has not set up its memory manager yet"):
        session.gdb("tinyos report")
    assert session.translate(0x80000).output == 0x80000


def test_before_it_has_set_up_its_memory_it_says_so(design_elf):
    with TinyOS.boot(design_elf, options=QemuOptions(kernel=design_elf, paused=True)) as session:
        says_so(session)
        session.gdb("break before_the_manager")
        session.gdb("continue", timeout=10)
        says_so(session)
        session.gdb("delete")
        session.resume()
        told(session)
        assert session.stats().stats.total_lazy_pages


def test_a_lock_that_is_held_is_told(design_elf):
    with TinyOS.boot(design_elf) as session:
        told(session)
        session.console.send("l")
        session.console.expect("locked\n")
        found = session.stats()
        assert found.changing
        assert "was locked when the machine stopped" in found.notes[0]
        check = session.check()
        assert (check.findings, check.changing) == ([], True)
        assert check.transient_count


def test_the_second_manager_of_the_variant(variant):
    session, first, second = variant
    assert first["stats"] != second["stats"]
    content = session.json("report")
    validate(content)
    assert content["stats"] == merged(second["stats"])
    among(content["stacks"], second["stack"])
    among(content["pages"], second["page"])
    assert content["pressure"]["level"] == second["pressure"][0]["level"]
    assert content["context"]["switch_count"] == second["switcher"][0]["switch_count"]
    assert vars(session.stats().stats) == merged(second["stats"])
    assert content["enabled"] is None
    assert {stack["pressure_level"] for stack in content["stacks"]} == {None}


def lacks(session, word):
    """The note on what the kernel has not got, of a command's JSON."""
    (note,) = [note for note in session.json(word)["notes"] if note.startswith("this kernel has no")]
    return note


def test_a_static_of_one_of_our_names_is_not_denied(variant):
    session, *_ = variant
    for word in ("stacks", "lazy", "context"):
        assert "no SCHEDULER with tasks and current" in lacks(session, word)


def test_every_null_that_is_the_kernels_is_named(variant):
    session, _, second = variant
    pressure, stacks = session.json("pressure"), session.json("stacks")
    assert pressure["pressure"]["pressure_events"] == second["pressure"][0]["events"]
    for name in ("pressure_thresholds", "last_pressure_check"):
        assert pressure["pressure"][name] is None
        assert f"no {name}" in lacks(session, "pressure")
    assert {stack["pressure_level"] for stack in stacks["stacks"]} == {None}
    assert set(stacks["stack_manager"].values()) == {None}
    for said in ("no pressure_level of stacks", "no settings of the stack manager"):
        assert said in lacks(session, "stacks")


def test_thresholds_that_are_shown_are_not_denied(design):
    session, _ = design
    assert session.json("pressure")["pressure"]["pressure_thresholds"]
    assert "thresholds" not in lacks(session, "pressure")


def test_what_is_lacking_is_said_in_plain_words(design, variant):
    for session in (design[0], variant[0]):
        report = lacks(session, "report")
        for said in ("frame pool", "event ring", "address spaces", "owners of pages"):
            assert report.count(f"no {said}") == 1
        for own in ("zero_fault_count", "high_water_mark", "fast_switch_count", "LazyPageAllocator"):
            assert own not in report
        for word in ("maps", "fault"):
            assert not any("lazy" in note or "pages" in note for note in session.json(word)["notes"])
        assert "lazy" not in lacks(session, "stacks")
        assert "TLB" not in lacks(session, "lazy")


def test_a_report_counts_what_the_kernel_counts(design, variant):
    said = shown(design[0], "tinyos report")
    assert re.search(r"^  Stacks .* 13 growths, 1 shrink$", said, re.MULTILINE)
    assert re.search(r"^  Pressure .* 3 level changes, 1 optimization$", said, re.MULTILINE)
    assert re.search(r"^  Switches +37$", said, re.MULTILINE)
    assert "5 optimizations" in shown(variant[0], "tinyos report")


def test_what_the_kernel_has_not_has_no_column(design, variant):
    session, _, second = variant
    said = shown(session, "tinyos report").partition("Note:")[0]
    assert "zero page at" not in said
    # Its pages have such a state.
    assert "no zero page" not in lacks(session, "lazy")
    assert "no zero_page_address" in lacks(session, "lazy")
    for text in (said, shown(session, "tinyos stacks"), shown(session, "tinyos lazy")):
        assert not re.search(r" pressure |—", text)
    assert "pressure" not in shown(session, f"tinyos stacks {second['stack'][0]['id']}").partition("Note:")[0]
    said = shown(design[0], "tinyos report")
    assert " pressure " in said
    assert "zero page at 0x3f0000" in said


def test_a_lazy_page_has_the_permissions_of_its_regime(variant):
    session, _, second = variant
    page = next(page for page in second["page"] if page["physical_address"])
    address, frame = page["virtual_address"], page["physical_address"]
    said = shown(session, f"tinyos lazy {address:#x}")
    allowed = re.search(r"EL2 (...),", shown(session, f"tinyos translate {address:#x}")).group(1)
    assert f"maps to    {address:#x}, EL2 {allowed}; the frame on record is {frame:#x}" in said
    assert "EL0" not in said
    pending = next(page["virtual_address"] for page in second["page"] if not page["physical_address"])
    assert "on record" not in shown(session, f"tinyos lazy {pending:#x}")


def test_pending_pages_in_blocks_are_not_compared(variant):
    session, _, second = variant
    count = sum(not page["physical_address"] for page in second["page"])
    (note,) = [note for note in session.check().notes if "pending" in note]
    assert note.startswith(f"{count} pending pages were not compared with the tables: a block maps")


def test_its_records_are_held_against_its_tables(variant):
    session, _, second = variant
    check = session.check()
    # The tables map every address to itself.
    claiming = [page for page in second["page"] if page["physical_address"]]
    assert check.checked.mapped_pages == len(claiming)
    assert [finding.found for finding in check.findings] == [
        f"mapped to {page['virtual_address']:#x}" for page in claiming
    ]
    page = claiming[0]["virtual_address"]
    assert session.lazy(page).page.translation.output == page
    assert session.translate(page).view.level == 2
    assert "lazy pages" in shown(session, "tinyos maps")


def test_its_fault_is_a_translation_fault_at_el2(variant_elf):
    with TinyOS.boot(variant_elf, manager=FIRST) as session:
        told(session)
        session.console.send("f")
        session.pump.wait(lambda: fault_taken(session), 10, "the fault")
        (report,) = session.fault().reports
        assert (report.record.level, report.record.address) == (2, 0x8000_1230)
        assert report.record.syndrome.status.kind == "translation fault"
        assert report.now.fault is not None
    assert report.where.text == "nothing that this kernel has on record"


def test_its_console_is_typed_to_without_waiting_for_a_prompt(design_elf):
    done = subprocess.run(
        [sys.executable, "-m", "gdbplugin.repl.main", "--kernel", design_elf, "-c", "console l", "-c", "*s"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "locked" in done.stdout
    assert "Counters" in done.stdout
    with TinyOS.boot(design_elf) as session, pytest.raises(SessionError, match=r"not have TinyOS's shell"):
        session.shell("*s")


@pytest.mark.parametrize("name", ["design", "variant"])
def test_an_address_is_told_and_its_record_is_found(request, name):
    """By sections, tables and QEMU's map: at EL3 with the MMU off, and at EL2 with it on."""
    session = request.getfixturevalue(name)[0]
    with session.stopped():
        here = session.json("where pc")
        assert here["section"] == ".text"
        assert here["physical"] == session.json("translate $pc")["mapped_to"]
        assert here["memory"]["kind"] == "ram"
        assert (here["frame"], here["stack"]) == (None, None)
        page = max(page["virtual_address"] for page in session.json("lazy")["pages"])
        found = session.json(f"search {page:#x}")
        assert (found["scope"], found["limited"]) == ("physical", False)
        validate(found)
        fields = [hit["field"] for hit in found["hits"]]
        assert any(field is not None and field.endswith("virtual_address") for field in fields), found
        text = session.gdb(f"tinyos where {page:#x}")
        assert f"{page:#018x}: lazy pages" in text
