"""Reports of the real kernel: of a session that records, of a dump, and by the program."""

import html
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdbplugin.session import QemuOptions, ReadFailedError, TinyOS
from tests.html.reading import read

pytestmark = pytest.mark.xdist_group("report-file")

TOP = Path(__file__).resolve().parents[2]


def page_of(path):
    return read(path.read_text(encoding="utf-8"))


def number(text):
    return int(text.replace(",", ""))


@pytest.fixture(scope="module")
def recorded(tinyos_kernel, tmp_path_factory):
    """A recorded machine, held still after some work, and its page."""
    path = tmp_path_factory.mktemp("report") / "recorded.html"
    with TinyOS.boot(options=QemuOptions(kernel=tinyos_kernel, record=True)) as machine:
        machine.shell("spawn hog 4 20")
        time.sleep(0.3)
        machine.shell("hold")
        with machine.stopped():
            machine.checkpoint("held")
            machine.report_file(path)
            yield machine, page_of(path)


@pytest.fixture(scope="module")
def dumps(tinyos_kernel, tmp_path_factory):
    """Two dumps of one machine, the second after the stress test; with the path of the second's page."""
    folder = tmp_path_factory.mktemp("dumps")
    first, second = folder / "first.dump", folder / "second.dump"
    with TinyOS.boot(tinyos_kernel) as machine:
        machine.dump(first)
        machine.shell("*t")
        machine.dump(second)
    return first, second


def test_figures_are_those_of_the_commands(recorded):
    machine, shown = recorded
    pressure, tasks, report = machine.pressure(), machine.tasks(), machine.report()
    frames = pressure.frames
    said = shown.one("section", id="pool").all("p")[0].text
    assert [number(one) for one in re.findall(r"([\d,]+) (?:free|cached|used|retired)", said)] == [
        frames.free_frames,
        frames.cached_frames,
        frames.used_frames,
        frames.retired_frames,
    ]
    bands = shown.one("section", id="pool").captions()
    assert sum(number(said.split()[0]) for said in bands.values()) == frames.total_frames
    rows = shown.table("Tasks that live")
    assert [row["name"] for row in rows] == [one.task.name for one in tasks if one.task.is_alive]
    assert len(shown.one("section", id="stacks").all("svg")) == len(report.stacks.active)
    backtraces = machine.backtrace(all=True)
    titles = [each.text for each in shown.one("section", id="backtraces").all("summary")]
    assert len(titles) == len(backtraces)
    newest = machine.events(1).events[-1]
    assert shown.table("Newest of")[-1]["number"] == str(newest.sequence)
    assert shown.one("header").facts()["Build-id"] == machine.kernel.image.build_id.hex()
    # On the way to the checkpoint and back, a replay may differ from what was recorded: that is a finding.
    findings = [each.text for each in shown.one("section", id="findings").all("li")]
    assert [said for said in findings if not said.startswith(("Note: ", "the replay: "))] == []


def test_the_recording_is_a_timeline_with_turns_and_faults(recorded):
    machine, shown = recorded
    timeline = shown.one("section", id="timeline")
    assert timeline.all("p")[0].text.startswith("From the recording: ")
    captions = timeline.captions()
    assert re.search(r"^\d+ turns, .* in all, [\d,]+ faults?, ", captions["core 0: task 1 (worker)"])
    free = machine.pressure().frames.free_frames
    assert captions["Free frames"].startswith(f"frames: {free:,} at the stop, ")
    assert "Pressure level" in captions


def test_the_difference_is_that_from_the_last_checkpoint(recorded):
    machine, shown = recorded
    last = machine.checkpoints().checkpoints[-1]
    found = machine.diff(last.id)
    said = shown.one("section", id="difference").text
    assert f"From {last.id} to now, " in said
    assert len(found.rows) == sum(
        number(count) for count in re.findall(r"\(([\d,]+) changes?\)", said.replace(" times (", " ("))
    ) - len([row for row in found.rows if not row.is_state])


def test_a_kernel_that_failed_says_so_first(tinyos_kernel, tmp_path):
    with TinyOS.boot(tinyos_kernel) as machine:
        machine.console.send("crash\r")
        machine.console.expect("KERNEL FAILURE")
        machine.report_file(tmp_path / "page.html")
        record = machine.fault().failure.record
    shown = page_of(tmp_path / "page.html")
    assert shown.one("header").facts()["State"] == "failed"
    (failure,) = shown.one("section", id="findings").all("div", "failure")
    assert record.message in failure.text
    assert failure.facts()["FAR_EL1"] == hex(record.fault_address)
    first = shown.one("section", id="backtraces").all("details")[0]
    assert "open" in first.attributes
    assert "kernel::failure::halted" in first.text


def test_a_running_machine_runs_on(tinyos_kernel, tmp_path):
    with TinyOS.boot(tinyos_kernel) as machine:
        written = machine.report_file(tmp_path / "page.html")
        assert machine.running
        assert "total_dynamic_stacks" in machine.shell("*s")
    assert written.size == (tmp_path / "page.html").stat().st_size
    about = page_of(tmp_path / "page.html").one("header").facts()
    assert about["From"] == "a running machine"


def test_a_dump_has_the_page_of_its_moment(dumps, tinyos_kernel, tmp_path):
    first, second = dumps
    with TinyOS.open_dump(second, tinyos_kernel) as session:
        session.report_file(tmp_path / "page.html", since=first)
        tasks, found = session.tasks(), session.diff(first)
    shown = page_of(tmp_path / "page.html")
    assert shown.one("header").facts()["From"] == "the dump second.dump"
    assert [row["name"] for row in shown.table("Tasks that live")] == [
        one.task.name for one in tasks if one.task.is_alive
    ]
    said = shown.one("section", id="difference").text
    assert f"From {first} to now, " in said
    assert found.rows


def test_errors_are_one_line(dumps, tinyos_kernel, tmp_path):
    with TinyOS.open_dump(dumps[0], tinyos_kernel) as session:
        with pytest.raises(ReadFailedError, match=r"^cannot write .*/missing/x\.html: No such file"):
            session.report_file(tmp_path / "missing/x.html")
        with pytest.raises(ReadFailedError, match=r"nothing\.dump: No such file"):
            session.report_file(tmp_path / "x.html", since="nothing.dump")
    assert list(tmp_path.iterdir()) == []


# The program


def run(*words, cwd, kernel):
    program = [sys.executable, "-m", "gdbplugin.repl.report", *map(str, words)]
    environment = os.environ | {"TINYOS_KERNEL": str(kernel), "PYTHONPATH": str(TOP)}
    return subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_the_program_names_the_file_after_the_dump(dumps, tinyos_kernel, tmp_path):
    first, second = dumps
    done = run(second, "--since", first, cwd=tmp_path, kernel=tinyos_kernel)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"Wrote second\.html: 0 findings, [\d,.]+ K?i?B\n", done.stdout)
    assert html.escape(str(first)) in (tmp_path / "second.html").read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["second.html"]


@pytest.mark.parametrize("is_recorded", [False, True])
def test_the_program_stops_a_session_for_a_moment_only(tinyos_kernel, tmp_path, is_recorded):
    with TinyOS.boot(options=QemuOptions(kernel=tinyos_kernel, record=is_recorded)) as machine:
        done = run(machine.qemu.directory, "-o", "x.html", cwd=tmp_path, kernel=tinyos_kernel)
        assert (done.returncode, done.stderr) == (0, "")
        shown = page_of(tmp_path / "x.html")
        said = shown.one("section", id="difference").text
        assert ("From c" in said) is is_recorded
        assert ("From the recording" in shown.text) is is_recorded
        assert machine.qemu.status == "running"
        assert "total_dynamic_stacks" in machine.shell("*s")
        assert machine.stats().stats.context_switch_count


def test_a_session_with_a_debugger_is_left_alone(tinyos_kernel, tmp_path):
    if not Path("/proc/net/unix").exists():
        pytest.skip("this system does not list connections")
    with TinyOS.boot(tinyos_kernel) as machine:
        machine.stats()
        began = time.monotonic()
        done = run(machine.qemu.directory, cwd=tmp_path, kernel=tinyos_kernel)
        assert time.monotonic() - began < 5
        assert done.returncode == 1
        assert done.stderr.startswith("tinyos: error: the session has a debugger already")
        machine.detach()
        assert "total_dynamic_stacks" in machine.shell("*s")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "nothing is neither a dump's file, nor a running session, nor HOST:PORT"),
        (("localhost:1",), "cannot attach to localhost:1"),
        ((".",), ". is neither a dump's file"),
        (("--nonsense",), "unrecognized arguments: --nonsense; see --help"),
        (("--register", "X=1", "nothing"), "--register is for a dump"),
        ((__file__,), "is not a dump"),
    ],
)
def test_an_error_of_the_program_is_one_line(tinyos_kernel, tmp_path, words, said):
    done = run(*words, cwd=tmp_path, kernel=tinyos_kernel)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_option():
    done = subprocess.run(
        [TOP / "scripts/report", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    for option in ("--output", "--since", "--register", "--kernel", "--manager"):
        assert option in done.stdout


# Looked at


_MEASURE = """<body><iframe style="width:400px;height:800px;border:0" src="file://{page}"></iframe><p></p><script>
document.querySelector("iframe").onload = event => {{
  const root = event.target.contentDocument.documentElement;
  document.querySelector("p").textContent = "width " + root.scrollWidth; }}
</script>"""


@pytest.mark.parametrize("kind", ["recorded", "hostile"])
def test_a_browser_scrolls_nothing_sideways_at_400_pixels(recorded, tmp_path, kind):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    machine, _ = recorded
    machine.report_file(tmp_path / "page.html")
    if kind == "hostile":
        text = (tmp_path / "page.html").read_text()
        (tmp_path / "page.html").write_text(text.replace("worker", "w" * 500))
    (tmp_path / "measure.html").write_text(_MEASURE.format(page=tmp_path / "page.html"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]
    options += ["--allow-file-access-from-files", "--virtual-time-budget=5000"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [chromium, *options, profile, f"file://{tmp_path / 'measure.html'}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "<p>width 400</p>" in done.stdout
