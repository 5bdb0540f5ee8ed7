"""The kernel's tests, started by its request word: run to their end, interrupted, refused."""

import contextlib
import json
import os
import signal
import struct
import threading
import time

import pytest
from elftools.elf.elffile import ELFFile

from gdbplugin.kernel.interface import STRESS_TEST
from gdbplugin.session import CommandFailedError
from tests.debugger.conftest import gdb
from tests.debugger.stub_proxy import StubProxy
from tests.debugger.test_anywhere import EXCEPTION_LEVEL
from tests.integration.load import fill_pool, stop_at_el0, tasks_at_el0
from tests.schemas.validation import validate

# The beginning of DEBUGGER_INTERFACE, as kernel/src/debugger.rs has it: magic, version, request, served,
# result, progress, progress_total, is_ready, active.
INTERFACE = struct.Struct("<8s8I")
IMAGE_OFFSET = 0xFFFF_8000_0000_0000
RELIEVE = "tinyos::memory::dynamic::DynamicMemoryManager::relieve"


@pytest.fixture
def proxy_to(tmp_path):
    """Makes a proxy of a machine's stub, which records the packets."""

    @contextlib.contextmanager
    def connect(machine, refused=(), **losing):
        with StubProxy(tmp_path, machine.qemu.gdb_address, refused, **losing) as between:
            yield between

    return connect


def failure(debugger, command):
    with pytest.raises(CommandFailedError) as caught:
        debugger.execute(command, timeout=60)
    assert "Traceback" not in caught.value.reason
    return caught.value.reason


# Ctrl-C at the first read of the kernel's progress, as Python gets it there.
PRESSES_DURING_THE_LOOK = """
from gdbplugin.debugger.resume import Waiting
looks = []
def cut_short(self, changed=Waiting._changed):
    looks.append(self)
    if len(looks) == 1:
        raise KeyboardInterrupt
    return changed(self)
Waiting._changed = cut_short
"""


def source(debugger, tmp_path, program):
    script = tmp_path / "script.py"
    script.write_text(program)
    debugger.execute(f"source {script}")


def leaves_no_trace(debugger):
    assert "Num" not in debugger.execute("info breakpoints").replace("Number", "")
    assert json.loads(debugger.execute("tinyos check --json"))["findings"] == []


def test_stress_shows_what_changed_and_loses_no_frame(shared_machine):
    with shared_machine.stopped() as debugger:
        run = stress(debugger)
        validate(run)
        assert (run["schema"], run["result"], run["findings"]) == ("tinyos.stress/1", "passed", [])
        assert run["progress"] == run["progress_total"] == 100
        assert run["changes"]["total_lazy_page_faults"] > 1000
        after = {**run["stats"], **run["counters"]}
        before = {**run["stats_before"], **run["counters_before"]}
        assert run["changes"] == {name: after[name] - before[name] for name in after}
        assert run["changes"]["frame_allocations"] > 0
        assert run["levels_entered"]["Critical"] >= 1
        assert run["frames_lost"] == 0
        assert run["frames_after"]["used"] == run["frames_after"]["owned"]
        assert json.loads(debugger.execute("tinyos stats --json"))["stats"] == run["stats"]
        leaves_no_trace(debugger)
        assert debugger.execute("tinyos stress --last").startswith("Stress test: passed")
        again = json.loads(debugger.mi("-tinyos-stress --last").payload["json"])
        assert again == run
    assert shared_machine.shell("uptime")


def test_the_context_test_shows_what_changed(shared_machine):
    with shared_machine.stopped() as debugger:
        text = debugger.execute("tinyos context --test", timeout=60)
        assert "Context switching test: passed" in text
        run = json.loads(debugger.execute("tinyos *c --last-test --json"))
        leaves_no_trace(debugger)
    validate(run)
    assert run["schema"] == "tinyos.context-test/1"
    assert run["changes"]["switch_count"] >= 1600
    checkers = [task for task in run["tasks"] if task["is_new"]]
    assert {(task["name"], task["end_reason"]) for task in checkers} == {("checker", "Exited")}
    assert len(checkers) == 8
    assert all(task["switches"] >= 200 for task in checkers)


def test_a_message_says_that_the_target_runs(shared_machine):
    with shared_machine.stopped() as debugger:
        debugger.execute("tinyos context --test")
        assert "The target runs now" in "".join(debugger.warnings)
    assert shared_machine.json("context --test")["result"] == "passed"
    assert shared_machine.json("stress")["result"] == "passed"


def test_control_c_ends_the_stress_test(shared_machine, kernel_elf):
    under_way = UnderWay(shared_machine, kernel_elf)
    with shared_machine.stopped() as debugger:
        ends_early(debugger, cancelled_run(debugger, under_way))
    assert shared_machine.shell("uptime")


def test_control_c_during_a_read_ends_the_stress_test(shared_machine, tmp_path):
    with shared_machine.stopped() as debugger:
        ends_early(debugger, cancelled_at_the_first_look(debugger, tmp_path))
    assert shared_machine.shell("uptime")


def ends_early(debugger, run):
    assert run["result"] == "cancelled"
    assert run["progress"] < run["progress_total"]
    assert run["frames_lost"] == 0
    leaves_no_trace(debugger)
    assert stress(debugger)["result"] == "passed"


def cancelled_run(debugger, under_way):
    """A run ended by Ctrl-C. On a busy machine the key may come too late; then it is repeated."""
    for _ in range(5):
        key = threading.Thread(target=press_control_c, args=(debugger, under_way))
        key.start()
        run = stress(debugger)
        key.join()
        if run["result"] == "cancelled":
            return run
        assert run["result"] == "passed"
    pytest.fail("five stress tests ended before Ctrl-C was pressed, or in spite of it")


def cancelled_at_the_first_look(debugger, tmp_path):
    """A run ended by Ctrl-C there. On a busy machine an earlier stop may come late; then it is repeated."""
    for _ in range(3):
        source(debugger, tmp_path, PRESSES_DURING_THE_LOOK)
        try:
            return stress(debugger)
        except CommandFailedError as error:
            if "interrupted before the stress test began" not in error.reason:
                raise
    pytest.fail("three stress tests were stopped before they began")


class UnderWay:
    """The progress of a running stress test, read from the machine's RAM."""

    def __init__(self, machine, kernel_elf):
        self._ram = machine.qemu.ram
        with kernel_elf.open("rb") as file:
            (symbol,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name("DEBUGGER_INTERFACE")
        self._address = symbol["st_value"] - IMAGE_OFFSET

    def wait(self, seconds=30):
        """Wait until its first steps are done; returns whether they were in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            raw = self._ram.read(self._address, INTERFACE.size)
            magic, *_, progress, _, _, active = INTERFACE.unpack(raw)
            assert magic == b"TinyOSdb"
            if active == STRESS_TEST and 0 < progress < 100:
                return True
            time.sleep(0.001)
        return False


def press_control_c(debugger, under_way):
    if under_way.wait():
        os.kill(debugger.pid, signal.SIGINT)


def stress(debugger):
    return json.loads(last_line(debugger.execute("tinyos stress --json", timeout=60)))


def last_line(text):
    return text.strip().splitlines()[-1]


def test_a_breakpoint_of_the_users_does_not_lose_the_test(shared_machine):
    with shared_machine.stopped() as debugger:
        debugger.execute("delete")
        debugger.execute(f"break {RELIEVE}")
        said = failure(debugger, "tinyos stress")
        assert "stopped at breakpoint" in said
        assert "then waits for its end" in said
        assert "relieve" in debugger.execute("frame")
        assert "is already running a stress test" in failure(debugger, "tinyos context --test")
        debugger.execute("delete")
        run = stress(debugger)
        assert run["result"] == "passed"
        assert run["changes"]["total_lazy_page_faults"] > 1000
        leaves_no_trace(debugger)


def test_a_test_that_ended_meanwhile_is_shown(shared_machine):
    # Reads what earlier tests left on the console, so that the end below is this test's.
    shared_machine.shell("uptime")
    with shared_machine.stopped() as debugger:
        debugger.execute(f"tbreak {RELIEVE}")
        failure(debugger, "tinyos stress")
        debugger.resume()
        shared_machine.console.expect("stress_frames_lost: 0", 30)
        shared_machine.console.wait_for_prompt()
        debugger.interrupt()
        run = stress(debugger)
        assert run["result"] == "passed"


def test_a_request_at_el0_can_time_out(machine):
    machine.console.send("faults 2000000\r")
    for _ in range(200):
        with machine.stopped() as debugger:
            machine.gdb("thread 1")
            if machine.gdb(EXCEPTION_LEVEL).strip() != "0":
                continue
            # The shell starts the request only after the faults.
            debugger.execute("python import gdbplugin.debugger.resume as waiting")
            debugger.execute("python waiting._SECONDS_TO_BEGIN = 2")
            said = failure(debugger, "tinyos context --test")
            assert "did not start the context switching test" in said
            assert "withdrawn" in said
            assert debugger.execute("info breakpoints").startswith("No breakpoints")
        return
    pytest.fail("no stop in 200 was at EL0")


def test_a_request_at_el0_is_carried_out(machine):
    tasks_at_el0(machine)
    with machine.stopped() as debugger:
        stop_at_el0(machine)
        assert debugger.execute(EXCEPTION_LEVEL).strip() == "0"
        run = stress(debugger)
        assert (run["result"], run["frames_lost"]) == ("passed", 0)
        assert run["changes"]["total_lazy_page_faults"] > 1000
        stop_at_el0(machine)
        assert debugger.execute(EXCEPTION_LEVEL).strip() == "0"
        assert "Context switching test: passed" in debugger.execute("tinyos context --test", timeout=60)
        leaves_no_trace(debugger)


def test_no_room_for_the_tests_tasks_is_a_finding(machine):
    fill_pool(machine)
    with machine.stopped() as debugger:
        for command in ("stress", "context --test"):
            run = json.loads(last_line(debugger.execute(f"tinyos {command} --json", timeout=60)))
            validate(run)
            assert run["result"] == "no room"
            (finding,) = run["findings"]
            assert "not all of its tasks could be started" in finding["found"]
        leaves_no_trace(debugger)
    machine.shell("pool all")
    with machine.stopped() as debugger:
        assert stress(debugger)["result"] == "passed"


def test_a_kernel_that_holds_its_tasks_is_refused(machine):
    machine.shell("hold")
    with machine.stopped() as debugger:
        assert "the kernel holds its tasks" in failure(debugger, "tinyos stress")
    machine.shell("go")


def test_a_halted_kernel_is_refused(machine):
    machine.console.send("panic\r")
    machine.console.expect("KERNEL FAILURE", 10)
    with machine.stopped() as debugger:
        for command in ("tinyos stress", "tinyos context --test"):
            said = failure(debugger, command)
            assert "the kernel has halted after a failure (panicked at" in said
        for command in ("report", "check"):
            (found,) = (
                entry for entry in machine.json(command)["findings"] if entry["object"] == "the kernel"
            )
            assert found["found"].startswith("halted (see `tinyos fault`): panic on core 0: panicked at")
        assert "1 finding" in failure(debugger, "tinyos check --strict")


def test_a_failure_of_the_kernel_ends_the_wait(machine):
    with machine.stopped() as debugger:
        debugger.execute(f"tbreak {RELIEVE}")
        failure(debugger, "tinyos stress")
        debugger.execute("set $pc = 0xfffffffffffff000")
        said = failure(debugger, "tinyos stress")
        assert "the kernel failed during the stress test: unexpected synchronous exception" in said
        assert debugger.execute("info breakpoints").startswith("No breakpoints")


def test_a_kernel_that_still_boots_is_refused(boot):
    machine = boot(paused=True)
    with machine.stopped() as debugger:
        assert "MMU is off" in failure(debugger, "tinyos stress")
        debugger.execute("thbreak kernel::workload::run")
        debugger.execute("continue")
        assert "workload has not ended" in failure(debugger, "tinyos stress")


def test_only_the_request_word_is_written(machine, kernel_elf, proxy_to):
    machine.console.close()
    with proxy_to(machine) as proxy:
        outcome = gdb(
            f"target remote {proxy.address}",
            "print &DEBUGGER_INTERFACE.request",
            "tinyos context --test",
            "maint packet qqemu.PhyMemMode",
            "info breakpoints",
            elf=kernel_elf,
        )
    assert "Context switching test: passed" in outcome.output
    assert 'received: "0"' in outcome.output
    assert "No breakpoints" in outcome.output
    writes = [packet for packet in proxy.packets if packet[0] in "MXGP"]
    assert [packet.partition(",")[2] for packet in writes] == ["4:01000000"]


def test_stress_works_with_a_stub_of_virtual_addresses(machine, kernel_elf, proxy_to):
    machine.console.close()
    for _ in range(10):
        with proxy_to(machine, ("qqemu", "Qqemu")) as proxy:
            outcome = gdb(f"target remote {proxy.address}", "tinyos stress", elf=kernel_elf)
        assert not any("PhyMemMode:1" in packet for packet in proxy.packets)
        if "no core is stopped in the kernel" not in outcome.errors:  # A task ran when GDB connected.
            break
    assert "Stress test: passed" in outcome.output


# The connection closes instead of answering packet number `lose_at` after `armed_by`. Not the second after
# vCont;s, where GDB reinserts the breakpoint that it has stepped over: GDB 13.1 itself aborts then, also
# without the plugin. It handles the error of that packet and continues as if there still were a thread
# ("thread.c:85: internal-error: inferior_thread: Assertion `current_thread_ != nullptr' failed").
@pytest.mark.parametrize(
    ("armed_by", "lose_at"),
    [("vCont;c:p1.-1", 1), ("vCont;c:p1.-1", 2), ("vCont;s:p1.1", 1), ("vCont;s:p1.1", 3)],
)
def test_a_connection_lost_at_a_packet_is_one_line(
    machine, kernel_elf, proxy_to, tmp_path, armed_by, lose_at
):
    machine.console.close()
    with proxy_to(machine, armed_by=armed_by, lose_at=lose_at) as proxy:
        attach = f"target remote {proxy.address}"
        outcome = gdb(attach, "tinyos stress", "info breakpoints", elf=kernel_elf)
        if outcome.status < 0:
            # GDB 15 and later crash if a breakpoint's Python loses the target, also without the plugin.
            script = tmp_path / "reads.py"
            script.write_text(READS_AT_A_BREAKPOINT)
            plain = gdb(attach, f"source {script}", "continue", elf=kernel_elf, plugin=None)
            assert plain.status < 0, plain
            return
    is_lost_in_one_line(outcome)


READS_AT_A_BREAKPOINT = """
class Reading(gdb.Breakpoint):
    def stop(self):
        gdb.selected_inferior().read_memory(0x80000, 8)
        return False
Reading("kernel::scheduler::reschedule", type=gdb.BP_HARDWARE_BREAKPOINT)
"""


def test_a_connection_lost_while_the_kernel_runs_is_one_line(machine, kernel_elf, proxy_to):
    under_way = UnderWay(machine, kernel_elf)
    machine.console.close()
    with proxy_to(machine) as proxy:
        cut = threading.Thread(target=lambda: under_way.wait() and proxy.cut())
        cut.start()
        outcome = gdb(f"target remote {proxy.address}", "tinyos stress", "info breakpoints", elf=kernel_elf)
        cut.join()
    is_lost_in_one_line(outcome)


def is_lost_in_one_line(outcome):
    lines = outcome.errors.strip().splitlines()
    assert lines[-1].startswith("the connection to the target was lost: ")
    assert [line for line in lines[:-1] if not line.startswith("The target runs now: ")] == []
    assert "No breakpoints" in outcome.output
