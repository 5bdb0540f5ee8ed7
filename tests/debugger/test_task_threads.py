"""`tinyos threads`: each task is a thread, at GDB's prompt, for MI front ends and for GDB's DAP server."""

import contextlib
import hashlib
import json
import os
import queue
import re
import subprocess
import time

import pytest

from gdbplugin.dump.core_file import data_of
from gdbplugin.layout import cache
from gdbplugin.layout.types import locate_path
from gdbplugin.programs import RAM_VARIABLE
from gdbplugin.session.gdb import find_gdb
from tests.debugger.conftest import PLUGIN, gdb
from tests.debugger.dap_client import DapClient

WORKER = "program_worker"


def threads(session):
    """The threads that GDB/MI lists: number, name and innermost function."""
    found = session.mi("-thread-info").payload["threads"]
    return [(one["id"], one.get("name", ""), one["frame"].get("func")) for one in found]


def task_threads(session):
    """Those that show tasks: the number of the task, and the innermost function."""
    named = [(re.fullmatch(r"task (\d+) \w+", name), function) for _, name, function in threads(session)]
    return {int(name[1]): function for name, function in named if name}


@pytest.fixture
def shown(machine):
    """A machine of the test's own, stopped, with its tasks shown."""
    with machine.stopped() as session:
        session.execute("tinyos threads on", timeout=60)
        yield machine, session


def alive(machine):
    """The tasks that live, by number, with the function where each is."""
    found = machine.json("backtrace --all")["backtraces"]
    return {one["task"]: one["frames"][0]["function"] for one in found if one["task"] is not None}


def test_every_task_is_a_thread_where_the_kernel_says(shown):
    machine, session = shown
    found, expected = task_threads(session), alive(machine)
    assert found.keys() == expected.keys()
    for number, function in expected.items():
        assert function.rpartition("::")[2] == found[number].rpartition("::")[2]


def test_a_front_end_gets_the_frames_of_each_thread(shown):
    """As editors ask for them: each thread's frames, then the arguments and variables of each frame."""
    machine, session = shown
    expected = {
        one["task"]: [frame["function"] for frame in one["frames"]]
        for one in machine.json("backtrace --all")["backtraces"]
        if one["task"] is not None
    }
    for number, name, _ in threads(session):
        stack = session.mi(f"-stack-list-frames --thread {number}").payload["stack"]
        for frame in stack:
            level = frame["level"]
            session.mi(f"-stack-list-variables --thread {number} --frame {level} --simple-values")
        task = re.fullmatch(r"task (\d+) \w+", name)
        if task:
            names = [frame["func"].rpartition("::")[2] for frame in stack]
            assert names[-1] == expected[int(task[1])][-1].rpartition("::")[2]
    shell = next(number for number, name, _ in threads(session) if name == "task 0 shell")
    files = [
        frame.get("file", "") for frame in session.mi(f"-stack-list-frames --thread {shell}").payload["stack"]
    ]
    assert any(file.endswith("main.rs") for file in files)


def test_a_tasks_frames_and_memory_are_its_own(shown, tmp_path):
    machine, session = shown
    tasks = {one["id"]: one for one in machine.json("tasks")["tasks"] if one["state"] != "Ended"}
    inferiors = {one["task"]: one["inferior"] for one in machine.json("threads")["threads"]}
    # Each task has a page of its own at the same address.
    page = 0x80_0000
    spaces = {one["number"]: one["asid"] for one in machine.json("context")["context"]["spaces"]}
    for number, inferior in inferiors.items():
        session.execute(f"thread {inferior}.1")
        assert int(session.execute("output/x $pc"), 16) == tasks[number]["pc"]
        if number:
            session.execute(f"dump binary memory {tmp_path}/page {page:#x} {page + 64:#x}")
            walk = machine.json(f"translate {page:#x} --asid {spaces[number]}")
            physical = walk["output"]
            with machine.stopped_target() as target:
                expected = target.machine.read_physical(physical, 64)
            assert (tmp_path / "page").read_bytes() == expected
    session.execute("inferior 1")


def test_statics_have_their_values_there(shown):
    machine, session = shown
    path = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER.value.value.stats.total_lazy_pages"
    session.execute("set language rust")  # The CPU may be in a task's program, which is in assembly.
    live = session.execute(f"output {path}")
    session.execute("thread 3.1")
    assert session.execute(f"output {path}") == live
    assert live == str(machine.json("stats")["stats"]["total_lazy_pages"])


def test_they_are_made_anew_at_each_stop(shown):
    machine, session = shown
    before = task_threads(session)
    machine.resume()
    machine.shell("spawn worker 10 20")
    machine.interrupt()
    after = task_threads(session)
    assert after.keys() == alive(machine).keys()
    (new,) = after.keys() - before.keys()
    machine.resume()
    machine.shell(f"kill {new}")
    machine.interrupt()
    assert task_threads(session).keys() == alive(machine).keys() == before.keys()


LOOK = """python
import json
for inferior in sorted(gdb.inferiors(), key=lambda one: one.num):
    for thread in inferior.threads():
        if (thread.name or "").startswith("task"):
            thread.switch()
            read = lambda text: int(gdb.parse_and_eval(text)) & (1 << 64) - 1
            print(json.dumps([inferior.num, thread.name, thread.global_num, {values}]))
gdb.inferiors()[-1].threads()[0].switch()
end
"""


def looks(shown, script, values, count):
    """What is in each task's thread at some stops: inferior, name, number, and values that Python reads."""
    machine, session = shown
    script.write_text("set language c\n" + LOOK.replace("{values}", values))
    for _ in range(count):
        session.execute("thread 1.1")
        machine.resume()
        machine.shell("console")
        time.sleep(0.1)  # The tasks go on.
        machine.interrupt()
        said = session.execute(f"source {script}").splitlines()
        yield [json.loads(line) for line in said if line.startswith("[")]


def test_each_stop_has_the_registers_of_then(shown, tmp_path):
    """Also where a core's file is written anew in place, which GDB may have buffered."""
    machine, _ = shown
    names = [*(f"$x{number}" for number in range(31)), "$sp", "$pc"]
    values, shown_before, kept = set(), {}, 0
    for found in looks(shown, tmp_path / "look", f"*map(read, {names})", 8):
        inferiors = {one["inferior"]: one["task"] for one in machine.json("threads")["threads"]}
        spaces = {one["number"]: one["asid"] for one in machine.json("context")["context"]["spaces"]}
        for inferior, name, number, *registers in found:
            task = inferiors[inferior]
            # A front end keeps a thread's number, unless the task maps something else.
            mapped = machine.json(f"maps --asid {spaces[task]}")["mappings"] if task else None
            mapped_before, number_before = shown_before.get(task, (None, None))
            if number_before is not None and mapped == mapped_before:
                assert number == number_before
                kept += 1
            shown_before[task] = mapped, number
            known = machine.json(f"tasks {task}")
            assert name == f"task {task} {known['tasks'][0]['name']}"
            saved = known["registers"]
            # The current task's registers may be in the CPU.
            if task not in (0, known["current"]):
                assert registers == [*saved["x"], saved["sp"], saved["pc"]]
            values.add(tuple(registers))
    assert len(values) > len(inferiors)
    assert kept > len(inferiors)


def test_each_stop_has_the_memory_of_then(shown, kernel_elf, tmp_path):
    machine, _ = shown
    scheduler = cache.load(kernel_elf).static("SCHEDULER")
    ticks = scheduler.address + locate_path(scheduler.type, "tick_count").offset
    seen = set()
    there = f"read('*(long *){ticks}'), read('$sp'), bytes(inferior.read_memory(read('$sp') & ~15, 8)).hex()"
    values = f"*(({there}) if read('$sp') % 4096 else (0, 0, 0))"
    for found in looks(shown, tmp_path / "look", values, 8):
        inferiors = {one["inferior"]: one["task"] for one in machine.json("threads")["threads"]}
        spaces = {one["number"]: one["asid"] for one in machine.json("context")["context"]["spaces"]}
        for inferior, _, _, ticks_there, pointer, top in found:
            if not pointer:
                continue  # The stack is empty.
            assert ticks_there == int.from_bytes(machine.qemu.ram.read(ticks & 0xFFFF_FFFF, 8), "little")
            seen.add(ticks_there)
            if inferiors[inferior]:
                walk = machine.json(f"translate {pointer & ~15:#x} --asid {spaces[inferiors[inferior]]}")
                assert machine.qemu.ram.read(walk["output"], 8).hex() == top
    assert len(seen) > 2


def test_the_users_selection_stays_through_a_stop(shown):
    machine, session = shown
    session.execute("thread 1.1")
    session.execute("stepi")
    assert "thread is 1.1 " in session.execute("thread")
    # Commands are about the live target, and the selection stays.
    session.execute("thread 3.1")
    assert machine.json("context")["cores"][0]["core"] == 0
    assert "thread is 3.1 " in session.execute("thread")


def test_functions_are_about_the_live_target_too(shown):
    _, session = shown
    expected = session.execute("output $tinyos_task(1).context.pc")
    session.execute("thread 3.1")
    assert session.execute("output $tinyos_task(1).context.pc") == expected
    assert session.execute("output $tinyos_task() >= 0") in ("true", "1")
    assert session.execute("output $tinyos_translate($pc) == -1") in ("true", "false", "0", "1")
    assert "thread is 3.1 " in session.execute("thread")


def test_only_the_live_target_is_resumed(shown):
    _, session = shown
    session.execute("thread 3.1")
    with pytest.raises(Exception, match="not being run"):
        session.execute("continue")
    assert session.execute("inferior 1").startswith("[Switching to inferior 1")


def test_nothing_is_left_once_they_are_off(shown):
    machine, session = shown
    session.execute("thread 4.1")
    session.execute("tinyos threads off")
    assert task_threads(session) == {}
    assert len(session.execute("info inferiors").strip().splitlines()) == 2
    assert machine.json("threads") == {
        "schema": "tinyos.threads/1",
        "findings": [],
        "notes": [],
        "is_on": False,
        "threads": [],
    }
    machine.resume()
    machine.interrupt()
    assert task_threads(session) == {}


def test_their_files_do_not_pile_up(shown):
    machine, session = shown
    count = "python import os; print(len(os.listdir('/proc/self/fd')))"
    counts = []
    for _ in range(10):
        machine.resume()
        machine.interrupt()
        counts.append(int(session.execute(count)))
    # GDB opens each core a second time.
    assert max(counts) <= min(counts) + 2 * len(task_threads(session))


@pytest.mark.parametrize("command", ["disconnect", "detach"])
def test_a_target_that_goes_takes_them_along(shown, command):
    machine, session = shown
    session.execute(command)
    session.execute("echo")
    assert task_threads(session) == {}
    assert len(session.execute("info inferiors").strip().splitlines()) == 2
    session.execute(f"target remote {machine.address}")
    assert session.execute("tinyos threads").startswith("Tasks are not shown")
    session.execute("tinyos threads on", timeout=60)
    assert task_threads(session).keys() >= {0, 1, 2}


def contents(machine):
    """A digest of all of the guest's memory, read without GDB."""
    digest = hashlib.sha256()
    with open(machine.qemu.files[RAM_VARIABLE], "rb") as ram:
        for address, data in data_of(ram.fileno(), os.fstat(ram.fileno()).st_size):
            digest.update(b"%d" % address + data)
    return digest.digest()


def test_nothing_is_written_to_the_target(machine):
    with machine.stopped() as session:
        before, registers = contents(machine), session.execute("info all-registers")
        session.execute("tinyos threads on", timeout=60)
        session.execute("thread apply all bt", timeout=60)
        session.execute("thread 3.1")
        session.execute("tinyos threads off")
        session.execute("thread 1")
        assert contents(machine) == before
        assert session.execute("info all-registers") == registers


def plain_gdb(machine, kernel_elf, *commands):
    """The outcome of a plain GDB on the machine, which has been told nothing of the session."""
    machine.detach()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TINYOS_")}
    command = [find_gdb(), "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-x", str(PLUGIN)]
    for one in (f"target remote {machine.address}", *commands):
        command += ["-ex", one]
    return subprocess.run(
        [*command, str(kernel_elf)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("last", ["quit", "detach", "disconnect", "echo"])
def test_gdb_ends_well_while_they_are_shown(last, machine, kernel_elf):
    done = plain_gdb(machine, kernel_elf, "tinyos threads on", last)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_file_that_cannot_be_written_is_one_line(machine, kernel_elf):
    limit = "python import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    done = plain_gdb(machine, kernel_elf, limit, "tinyos threads on", "tinyos threads", "info inferiors")
    assert done.stderr.splitlines() == ["the tasks cannot be shown as threads: File too large"]
    assert "Tasks are not shown as threads" in done.stdout
    assert len(done.stdout.partition("Executable")[2].strip().splitlines()) == 2


def test_without_ram_as_a_file_the_stub_is_asked(machine, kernel_elf):
    done = plain_gdb(machine, kernel_elf, "tinyos threads on", "thread apply all bt", "detach")
    assert "Traceback" not in done.stderr
    assert done.stdout.count(WORKER) >= 4
    (shell,) = re.findall(r'^Thread .* "task 0 shell"\):\n((?:.+\n)+)', done.stdout, re.MULTILINE)
    assert "in_upper_half" in shell
    assert "corrupt stack" not in shell
    assert "[Switching to inferior" not in done.stdout


def test_of_many_tasks_the_stub_is_asked_for_the_stacks(machine, kernel_elf):
    machine.shell("hold")
    for _ in range(12):
        machine.shell("spawn nested")
    find = "from gdbplugin.debugger.packets import StubSocket; StubSocket.find(gdb.inferiors()[0].connection)"
    done = plain_gdb(
        machine,
        kernel_elf,
        "tinyos threads on",
        f"python {find.replace('; ', '; print(')} is not None)",
        "thread apply all bt",
        "detach",
    )
    assert done.stderr == ""
    assert "True" in done.stdout.splitlines(), "the packets would go through GDB, one by one"
    stacks = re.findall(r'"task \d+ nested"\):\n((?:#.+\n)+)', done.stdout)
    assert [stack.splitlines()[-1].split()[-2] for stack in stacks] == ["program_nested"] * 12


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (["tinyos threads on"], "there is no target: connect to one first (target remote HOST:PORT)"),
        (["tinyos threads maybe"], 'tinyos threads: "maybe" is not one of on, off. Usage: tinyos threads'),
    ],
)
def test_what_cannot_be_is_one_line(commands, said):
    (line,) = gdb(*commands).errors.splitlines()
    assert line.startswith(said)


def test_a_dump_has_its_threads_already(machine, kernel_elf, tmp_path):
    machine.dump(tmp_path / "dump")
    outcome = gdb(f"core-file {tmp_path}/dump", "tinyos threads on", elf=kernel_elf)
    assert outcome.errors.splitlines()[-1] == (
        "the target is a dump, whose tasks are threads already: `info threads`"
    )


def _has_dap():
    said = subprocess.run(
        [find_gdb(), "-nx", "-batch", "-ex", "python import gdb.dap"], capture_output=True, check=False
    )
    return not said.stderr


def test_gdbs_dap_server_shows_them(machine, kernel_elf):
    """As an editor does: after the stop it asks for the threads, and for the stack of each."""
    if not _has_dap():
        pytest.skip("this GDB has no DAP server")
    machine.detach()
    environment = {**os.environ, **machine.qemu.files}
    command = (find_gdb(), "-i", "dap", "-nx", "-iex", "set debuginfod enabled off", "-x", str(PLUGIN))
    with DapClient(*command, environment=environment) as client:
        client.ask("initialize", clientID="test", adapterID="gdb")
        attach = client.send("attach", program=str(kernel_elf), target=machine.address)
        client.ask("configurationDone")
        client.answer(attach)
        client.event("stopped")
        client.ask("evaluate", expression="tinyos threads on", context="repl")
        _require_stacks(client)
        client.ask("continue", threadId=1)
        _pause(client)
        _require_stacks(client)
        assert [event for event in client.events if event["event"] == "stopped"] == []


def _pause(client):
    """Stop the target. GDB may lose the interrupt while it still resumes the target: then once more."""
    for _ in range(4):
        client.send("pause", threadId=1)
        with contextlib.suppress(queue.Empty):
            client.event("stopped", 10)
            return
    pytest.fail("GDB did not stop the target")


def _require_stacks(client):
    """Each task's stack is that of its program; that of the cores is theirs."""
    found = client.ask("threads")["threads"]
    names = [one["name"] for one in found]
    assert [name for name in names if name.startswith("task ")][:2] == ["task 0 shell", "task 1 worker"]
    for one in found:
        frames = client.ask("stackTrace", threadId=one["id"])["stackFrames"]
        if "worker" in one["name"]:
            assert frames[0]["name"] == WORKER
        elif not one["name"].startswith("task"):
            assert frames[-1]["name"] in (
                "in_upper_half",
                "secondary_parked",
                "program_worker",
                "program_lazy",
            )
