"""scripts/run and tinyos-repl without a person: output, exit status and errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS
from tests.repl.runner import START, Runner
from tests.session import elfs
from tests.session.processes import wait_until_gone

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run"


def test_batch_prints_only_the_output(run: Runner) -> None:
    done = run("--batch", "output 6*7", "echo \\nnext\\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\nnext\n", "")


def test_batch_has_the_plugin_and_a_stopped_kernel(run: Runner) -> None:
    done = run("--batch", "info threads", "help tinyos report")
    assert done.returncode == 0, done.stderr
    assert "CPU#3" in done.stdout
    assert "tinyos report" in done.stdout


def test_batch_with_a_failed_command_runs_the_rest_and_fails(run: Runner) -> None:
    done = run("--batch", "output 1", "nonsense", "output 2")
    assert (done.returncode, done.stdout) == (1, "12")
    assert 'nonsense: Undefined command: "nonsense"' in done.stderr


def test_batch_fails_with_a_command_that_fails_in_during(run: Runner) -> None:
    done = run("--batch", "during nonsense", "during during next", "during")
    assert done.returncode == 1
    assert "Difference from before `nonsense`" in done.stdout
    assert 'tinyos: error: during nonsense: Undefined command: "nonsense"' in done.stderr
    assert "not another `during`" in done.stderr
    assert "COMMAND is missing" in done.stderr


def test_batch_waits_for_the_stop_after_continue(run: Runner) -> None:
    done = run("--batch", "tbreak shell_interrupted", "continue", "output 5")
    assert (done.returncode, done.stdout[-1:]) == (0, "5")
    assert "shell_interrupted" in done.stdout


def test_a_restart_keeps_the_breakpoints(run: Runner) -> None:
    words = ("tbreak shell_interrupted if 1 == 1", "restart", "info breakpoints", "continue", "restart")
    done = run(*(word for command in words for word in ("-c", command)), "-c", "info breakpoints")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("stop only if 1 == 1") == 1
    assert "No breakpoints" in done.stdout


def test_a_kernel_that_fails_answers_no_more(run: Runner) -> None:
    done = run("--timeout", "600", "-c", "console panic", "-c", "console t", "-c", "check")
    assert "panic" in done.stdout
    assert "console t: the kernel has failed and reads nothing: `fault` says why" in done.stderr
    assert "the kernel: expected running; found halted" in " ".join(done.stdout.split())


def test_a_mistyped_command_is_guessed(run: Runner) -> None:
    done = run("-c", "stcks", "-c", "tinyos stcks")
    assert done.stderr.count("(did you mean stacks?)") == 2


def test_batch_ends_a_command_at_its_time_limit(run: Runner) -> None:
    done = run("--timeout", "0.5", "--batch", "continue")
    assert done.returncode == 1
    assert "waited 0.5 s for the target to stop" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("way", ["--batch", "stdin", "--gdb"])
def test_signal_ends_all_programs(run: Runner, number: signal.Signals, way: str) -> None:
    more = {"--batch": ["--batch", "continue"], "stdin": [], "--gdb": ["--gdb"]}[way]
    command = [*START, "--kernel", str(run.kernel), *more]
    pipe = subprocess.PIPE
    environment = os.environ | {"TMPDIR": str(run.directory)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as child:
        deadline = time.monotonic() + 20
        # QEMU, and GDB if its arguments name the session.
        while len(run.pids()) < (2 if way == "--gdb" else 1):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(number)
        if number == signal.SIGINT and way == "--gdb":
            # GDB gets this signal from the terminal and handles it itself: the session goes on.
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.5)
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(b"echo still here\\n\n")
            child.stdin.flush()
            assert any(b"still here" in piece for piece in iter(child.stdout.read1, b""))
            child.terminate()
            number = signal.SIGTERM
        assert child.wait(10) == 128 + number
    wait_until_gone(run.pids())
    assert not list(run.directory.glob("tinyos-*"))


def test_batch_into_a_closed_pipe_prints_no_error(run: Runner) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        os.fdopen(writer, "wb") as gone,
        subprocess.Popen(
            [*START, "--kernel", str(run.kernel), "--batch", "info threads"],
            stdout=gone,
            stderr=subprocess.PIPE,
        ) as child,
    ):
        _, errors = child.communicate(timeout=60)
    assert errors == b""


def test_gdb_option_runs_gdb_attached_until_it_ends(run: Runner) -> None:
    done = run("--gdb", text="info threads\nhelp tinyos report\n")
    assert done.returncode == 0
    assert "CPU#3" in done.stdout
    assert "tinyos report" in done.stdout
    assert re.search(rf"scripts/run --console {run.directory}/tinyos-\S+/console", done.stderr)


def test_commands_are_read_from_standard_input(run: Runner) -> None:
    done = run(text="echo one\\n\n\n# a remark\nnonsense\nquit\necho never\\n\n")
    assert (done.returncode, done.stdout) == (1, "one\n")
    assert done.stderr == 'tinyos: error: nonsense: Undefined command: "nonsense".  Try "help".\n'


def test_commands_see_one_moment_until_the_console_is_used(run: Runner) -> None:
    stats = ["-c", "*s --json"]
    done = run(*stats, *stats, "-c", "console spawn worker", *stats)
    assert done.returncode == 0, done.stderr
    first, second, answer, third = done.stdout.splitlines()
    assert re.fullmatch(r"task [0-9]+ \(worker\) started on stack [0-9]+", answer)
    assert first == second
    before, after = (json.loads(line)["stats"]["total_dynamic_stacks"] for line in (second, third))
    assert after == before + 1


def test_console_command_at_a_breakpoint_reads_no_more(run: Runner) -> None:
    point = "kernel::shell::control::uptime"
    done = run("-c", f"tbreak {point}", "-c", "console uptime", "-c", "frame", "-c", "console uptime")
    assert done.returncode == 1
    assert "hit Temporary breakpoint" in done.stdout
    assert re.search(rf"^#0 .*{point}", done.stdout, re.MULTILINE)
    assert "the kernel is stopped and reads nothing: `continue` lets it run" in done.stderr


def test_json_prints_one_object_per_line(run: Runner) -> None:
    done = run("--json", "-c", "*s", "-c", "output 6*7", "-c", "nonsense", "-c", "stacks 999", "-c", "d 1")
    stats, answer, mistake, refusal, other = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert stats["schema"] == "tinyos.stats/1"
    assert answer == {"output": "42"}
    assert mistake["command"] == "nonsense"
    assert mistake["error"].startswith('Undefined command: "nonsense"')
    assert "999" in refusal["error"]
    # Without its star, a letter is GDB's: here `delete`.
    assert other == {"output": "No breakpoint number 1.\n"}


def test_impossible_command_is_one_line_with_a_remedy(run: Runner) -> None:
    done = run("-c", "*x", "-c", "live", "-c", "commands 1")
    assert (done.returncode, done.stdout) == (1, "")
    letter, live, commands = done.stderr.splitlines()
    assert 'no command "x" (known: back, backtrace, ' in letter
    assert "live needs a terminal" in live
    assert "`source FILE`" in commands


def test_restart_starts_a_new_session(run: Runner) -> None:
    done = run("-c", "set $mine = 5", "-c", "output $mine", "-c", "restart", "-c", "output $mine", "-c", "*s")
    assert done.returncode == 0, done.stderr
    assert re.match(r"5(void|\(\))", done.stdout)
    assert "total_dynamic_stacks" in done.stdout


def test_connect_attaches_and_leaves_the_machine_running(run: Runner, boot: Callable[..., TinyOS]) -> None:
    machine = boot(gdb_port=0)
    machine.shell("spawn worker")
    before = machine.shell("*s")
    done = run("--connect", machine.address, "-c", "stats --json", "-c", "console *s")
    assert done.returncode == 1
    stats = json.loads(done.stdout)["stats"]
    assert f"total_dynamic_stacks: {stats['total_dynamic_stacks']}\n" in before
    assert "no console" in done.stderr
    # It still runs, as before.
    assert machine.shell("uptime")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--connect", "localhost:1", "--port", "0"], "--connect boots nothing"),
        (["--connect", "nowhere"], "nowhere"),
        (["--gdb", "-c", "*s"], "--gdb boots a kernel, for a prompt"),
        (["--nonsense"], "--nonsense"),
        (["-c"], "-c"),
    ],
)
def test_options_that_exclude_each_other_are_refused(run: Runner, arguments: list[str], said: str) -> None:
    assert said in run.refusal(*arguments)


def test_second_start_takes_less_than_three_seconds() -> None:
    """With everything in place, the script installs, builds and looks up nothing."""
    for _ in range(2):
        start = time.monotonic()
        done = subprocess.run([_SCRIPT], input="output 6*7\n", capture_output=True, text=True, check=True)
        took = time.monotonic() - start
    assert done.stdout == "42"
    assert "building" not in done.stderr
    assert took < 3


def test_script_passes_on_output_and_status() -> None:
    done = subprocess.run([_SCRIPT, "--batch", "output 6*7"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "42")
    done = subprocess.run([_SCRIPT, "--batch", "nonsense"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_script_has_help(option: str) -> None:
    done = subprocess.run([_SCRIPT, option], capture_output=True, text=True, check=True)
    for word in ("--batch", "--console", "--kernel", "--image", "--port", "--timeout", "--gdb", "--connect"):
        assert word in done.stdout
    assert done.stderr == ""


def test_missing_kernel_is_refused(run: Runner) -> None:
    assert "no kernel at nowhere.elf: build it with scripts/build" in run.refusal("--kernel", "nowhere.elf")


def test_stripped_kernel_is_refused(run: Runner, tmp_path: Path) -> None:
    stripped = elfs.stripped(run.kernel, tmp_path / "stripped.elf")
    assert "is stripped" in run.refusal("--kernel", stripped, "--batch", "output 1")


def test_program_of_another_machine_is_refused(run: Runner) -> None:
    assert "is not an AArch64 ELF" in run.refusal("--kernel", Path(sys.executable).resolve())


def test_kernel_that_is_not_running_is_refused(run: Runner, tmp_path: Path, kernel_image: Path) -> None:
    other = elfs.of_another_build(run.kernel, tmp_path / "other.elf")
    said = run.refusal("--kernel", other, "--image", kernel_image, "--batch", "output 1")
    assert f"{other} is not what the machine runs" in said


def test_busy_port_is_refused(run: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be used: something listens there" in run.refusal(
            "--port", str(port)
        )


@pytest.mark.parametrize("port", ["99999", "many"])
def test_invalid_port_is_refused(run: Runner, port: str) -> None:
    assert port in run.refusal("--port", port)


def test_qemu_without_raspi4b_is_refused(run: Runner, tmp_path: Path) -> None:
    old = tmp_path / "old-qemu"
    old.write_text(
        '#!/bin/sh\n[ "$1" = -M ] && { echo "virt  QEMU 8.2 ARM Virtual Machine"; exit; }\n'
        "echo 'unsupported machine type: \"raspi4b\"' >&2\nexit 1\n"
    )
    old.chmod(0o755)
    said = run.refusal(TINYOS_QEMU=str(old))
    assert f"found {old}, which is of no known version and has no machine raspi4b" in said
    assert "QEMU 9.0 or newer" in said
    assert "bookworm-backports" in said


@pytest.mark.parametrize(("variable", "name"), [("TINYOS_GDB", "GDB"), ("TINYOS_QEMU", "QEMU")])
def test_missing_program_is_named_with_its_package(run: Runner, variable: str, name: str) -> None:
    said = run.refusal(**{variable: "/nowhere/program"})
    assert f"{name} is missing: there is no program /nowhere/program; install it with: apt install" in said


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_ctrl_c_in_gdb_stops_only_the_kernel(run: Runner, tmp_path: Path) -> None:
    tmux = ["tmux", "-S", str(tmp_path / "tmux")]
    command = [*START, "--kernel", str(run.kernel), "--gdb"]
    environment = os.environ | {"TMPDIR": str(run.directory)}

    def screen() -> str:
        capture = [*tmux, "capture-pane", "-p", "-J"]
        return subprocess.run(capture, capture_output=True, text=True, check=True).stdout

    def wait_for(text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in screen():
            assert time.monotonic() < deadline, f"no {text!r} on:\n{screen()}"
            time.sleep(0.05)

    def type_keys(*keys: str) -> None:
        subprocess.run([*tmux, "send-keys", *keys], check=True)

    size = ["-x", "120", "-y", "40"]
    subprocess.run([*tmux, "new-session", "-d", *size, *command], env=environment, check=True)
    subprocess.run([*tmux, "set-option", "remain-on-exit", "on"], check=True)
    try:
        wait_for("(gdb)")
        pids = run.pids()
        assert pids
        type_keys("continue", "Enter")
        wait_for("Continuing.")
        typed = subprocess.Popen(
            [*START, "--console"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with typed:
            assert typed.stdin is not None
            assert typed.stdout is not None
            typed.stdin.write(b"h\r")
            typed.stdin.flush()
            assert typed.stdout.read1(1)  # The kernel's echo.
            typed.stdin.close()
        type_keys("C-c")
        wait_for("received signal SIGINT")
        assert run.pids() == pids
        type_keys("quit", "Enter")
        wait_for("Quit anyway?")
        type_keys("y", "Enter")
        wait_until_gone(pids)
        status = [*tmux, "display-message", "-p", "#{pane_dead}"]
        while subprocess.run(status, capture_output=True, text=True, check=True).stdout != "1\n":
            time.sleep(0.05)  # Bounded by the test's own time limit.
        assert not list(run.directory.glob("tinyos-*"))
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
