"""scripts/run and tinyos-repl without a person: output, exit status, and what bad input is told."""

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
from tests.session import elfs
from tests.session.processes import wait_until_gone

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run"
_START = [sys.executable, "-m", "gdbplugin.repl.main"]


class Runner:
    """Runs scripts/run's program, in a temporary directory of its own, and sees what it leaves there."""

    def __init__(self, kernel: Path, directory: Path) -> None:
        self.kernel = kernel
        self.directory = directory

    def __call__(
        self, *arguments: str | Path, text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        if "--kernel" not in words:
            words = ["--kernel", str(self.kernel), *words]
        done = subprocess.run(
            [*_START, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"TMPDIR": str(self.directory)} | environment,
        )
        assert not self.pids(), "a process was left behind"
        assert not list(self.directory.glob("tinyos-*")), "a directory was left behind"
        return done

    def refusal(self, *arguments: str | Path, **environment: str) -> str:
        """The one line said to bad input."""
        done = self(*arguments, **environment)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("tinyos: error: ")
        return done.stderr

    def pids(self) -> list[int]:
        """The processes that were started on a session of ours."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{self.directory}/tinyos-".encode() in words:
                found.append(int(entry.parent.name))
        return found


@pytest.fixture
def run(kernel_elf: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """tinyos-repl, as scripts/run starts it after its set-up and build."""
    return Runner(kernel_elf, tmp_path_factory.mktemp("run"))


def test_batch_prints_the_output_and_nothing_else(run: Runner) -> None:
    done = run("--batch", "output 6*7", "echo \\nnext\\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\nnext\n", "")


def test_batch_runs_with_the_plugin_at_a_stop_after_the_boot_workload(run: Runner) -> None:
    done = run("--batch", "info threads", "help tinyos report")
    assert done.returncode == 0, done.stderr
    assert "CPU#3" in done.stdout
    assert "tinyos report" in done.stdout


def test_batch_fails_when_any_command_fails_and_still_runs_the_others(run: Runner) -> None:
    done = run("--batch", "output 1", "nonsense", "output 2")
    assert (done.returncode, done.stdout) == (1, "12")
    assert 'nonsense: Undefined command: "nonsense"' in done.stderr


def test_batch_waits_for_the_stop_of_a_command_that_runs_the_target(run: Runner) -> None:
    done = run("--batch", "tbreak shell_interrupted", "continue", "output 5")
    assert (done.returncode, done.stdout[-1:]) == (0, "5")
    assert "shell_interrupted" in done.stdout


def test_batch_ends_a_command_that_takes_too_long(run: Runner) -> None:
    done = run("--timeout", "0.5", "--batch", "continue")
    assert done.returncode == 1
    assert "waited 0.5 s for the target to stop" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("way", ["--batch", "stdin", "--gdb"])
def test_a_signal_ends_everything(run: Runner, number: signal.Signals, way: str) -> None:
    more = {"--batch": ["--batch", "continue"], "stdin": [], "--gdb": ["--gdb"]}[way]
    command = [*_START, "--kernel", str(run.kernel), *more]
    pipe = subprocess.PIPE
    environment = os.environ | {"TMPDIR": str(run.directory)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as child:
        deadline = time.monotonic() + 20
        # QEMU, and GDB where its arguments name the session.
        while len(run.pids()) < (2 if way == "--gdb" else 1):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(number)
        if number == signal.SIGINT and way == "--gdb":
            # That is GDB's own there: it reaches GDB from the terminal, and the session goes on.
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


def test_batch_survives_a_reader_that_has_gone(run: Runner) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        os.fdopen(writer, "wb") as gone,
        subprocess.Popen(
            [*_START, "--kernel", str(run.kernel), "--batch", "info threads"],
            stdout=gone,
            stderr=subprocess.PIPE,
        ) as child,
    ):
        _, errors = child.communicate(timeout=60)
    assert errors == b""


def _raw(run: Runner, redirected: str, data: bytes = b"", **environment: str) -> tuple[int, bytes, bytes]:
    """Status, output and errors of a program whose streams are redirected as a shell does it, as bytes."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", *_START, "--kernel", str(run.kernel)],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"TMPDIR": str(run.directory)} | environment,
    )
    assert not run.pids(), "a process was left behind"
    assert not list(run.directory.glob("tinyos-*")), "a directory was left behind"
    return done.returncode, done.stdout, done.stderr


_BYTES = b'echo \\377 \\303\\251\\377\\n\necho \xe9\\n\nset language c\noutput "\\xff"\n'


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"LC_ALL": "C.UTF-8"}, "\\xff é\\xff\n\\xe9\n".encode()),
        ({"LC_ALL": "C"}, "\\xff é\\xff\n\\xe9\n".encode()),
        ({"PYTHONIOENCODING": "ascii"}, b"\\xff \\xe9\\xff\n\\xe9\n"),
        ({"PYTHONIOENCODING": "latin-1"}, b"\\xff \xe9\\xff\n\xe9\n"),
    ],
)
def test_bytes_that_are_not_text_are_shown_escaped(
    run: Runner, environment: dict[str, str], text: bytes
) -> None:
    status, output, _ = _raw(run, "", _BYTES, **environment)
    assert status == 0
    assert output.startswith(text)
    assert output.endswith(b'"\\377"')


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_gdb_is_spoken_to_in_utf_8_in_any_locale(run: Runner, locale: str) -> None:
    commands = "show host-charset\ntinyos é\n".encode()
    status, output, errors = _raw(run, "", commands, LC_ALL=locale)
    assert (status, output) == (1, b'The host character set is "UTF-8".\n')
    assert 'there is no "é"; the commands are: '.encode() in errors


def test_json_holds_no_bytes_that_are_not_text(run: Runner) -> None:
    status, output, _ = _raw(run, "--json", b"nonsense \xe9\necho \xe9\n")
    assert status == 1
    assert [json.loads(line) for line in output.splitlines()] == [
        {"command": "nonsense \\xe9", "error": 'Undefined command: "nonsense".  Try "help".', "output": ""},
        {"output": "\\xe9"},
    ]


@pytest.mark.parametrize("data", ["output 42\n".encode("utf-8-sig"), b"output 42\n"])
def test_a_mark_that_says_utf_8_is_no_command(run: Runner, data: bytes) -> None:
    assert _raw(run, "", data) == (0, b"42", b"")


def test_commands_in_utf_16_are_told_so(run: Runner) -> None:
    status, output, errors = _raw(run, "", "output 42".encode("utf-16"))
    assert (status, output) == (1, b"")
    assert errors.endswith(b": GDB takes no NUL byte: give commands in UTF-8, not in UTF-16\n")


@pytest.mark.parametrize(
    ("redirected", "status", "said"),
    [
        ("-c 'output 1' >/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("-c 'output 1' >&-", 1, "cannot write to standard output: it is closed"),
        ("--help >/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("<&-", 1, "cannot read standard input: it is closed"),
        ("-c 'output 1' <&-", 0, ""),
        ("-c 'output 1' 2>&-", 0, ""),
        ("-c nonsense 2>/dev/full", 1, ""),
        ("-c 'help all' -c 'help all' | head -1; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE, ""),
    ],
)
def test_a_stream_that_fails_is_one_line(run: Runner, redirected: str, status: int, said: str) -> None:
    found, _, errors = _raw(run, redirected)
    assert (found, errors.decode()) == (status, f"tinyos: error: {said}\n" if said else "")


@pytest.mark.parametrize("name", [b"no\nsuch.elf", b"\xff.elf"])
def test_a_missing_kernel_of_any_name_is_one_line(run: Runner, name: bytes) -> None:
    shown = name.decode(errors="backslashreplace").replace("\n", "\\n")
    assert f"no kernel at {shown}: build it" in run.refusal("--kernel", os.fsdecode(name), "-c", "output 1")


def test_a_kernel_whose_name_has_a_line_end_is_decoded(run: Runner, tmp_path: Path) -> None:
    kernel = tmp_path / 'a\nké".elf'
    shutil.copy(run.kernel, kernel)
    done = run("--kernel", kernel, "-c", "maps --json", "-c", "check --strict")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_kernel_whose_name_gdb_cannot_take_is_one_line(run: Runner, tmp_path: Path) -> None:
    kernel = tmp_path / os.fsdecode(b"k\xe9.elf")
    shutil.copy(run.kernel, kernel)
    said = run.refusal("--kernel", kernel, "-c", "maps")
    assert "k\\xe9.elf: GDB takes only paths in UTF-8: rename the file, or copy it" in said


def test_the_flat_image_is_booted_with_the_symbols_of_the_elf(run: Runner, kernel_image: Path) -> None:
    done = run("--image", kernel_image, "--batch", "info address DYNAMIC_MEMORY_MANAGER")
    assert done.returncode == 0, done.stderr


STRANGE = "a, b=c'd $x;#%s | é"


def test_a_folder_of_any_name_serves_for_sockets(run: Runner) -> None:
    run.directory = run.directory / STRANGE
    run.directory.mkdir()
    done = run("--batch", "stats --json", "output 6*7", "console uptime")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r'\{"schema": "tinyos\.stats/1".*\}\n42[0-9]+ ms\n', done.stdout)
    done = run("--gdb", text="info threads\n")
    assert "CPU#3" in done.stdout
    assert f"--console {run.directory}/tinyos-" in done.stderr


@pytest.mark.parametrize("way", [["--batch", "tinyos check", "output 6*7"], ["--gdb"]])
def test_variables_of_the_hosts_python_do_not_reach_gdbs(run: Runner, tmp_path: Path, way: list[str]) -> None:
    """A `json` of the user's own would be taken for Python's by both."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    start = [sys.executable, "-E", "-m", "gdbplugin.repl.main", "--kernel", str(run.kernel), *way]
    hostile = {"PYTHONHOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error"}
    environment = os.environ | hostile | {"TMPDIR": str(run.directory)}
    done = subprocess.run(
        start,
        input="tinyos check\noutput 6*7\n",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "wrong json" not in done.stdout + done.stderr
    assert "42" in done.stdout


def test_a_temporary_folder_that_is_not_there_is_told(run: Runner) -> None:
    done = run("--batch", "output 6*7", TMPDIR="/nowhere", XDG_RUNTIME_DIR=str(run.directory))
    assert (done.returncode, done.stdout) == (0, "42")
    assert done.stderr == (
        f"tinyos: no sockets can be made in /nowhere: No such file or directory; using {run.directory}\n"
    )


@pytest.mark.parametrize("command", ["continue", "finish", "stepi 100000000"])
def test_the_next_command_is_carried_out_after_one_that_took_too_long(run: Runner, command: str) -> None:
    done = run("--timeout", "1", "--batch", "thread 1", command, "stats --json", command, "output 6*7")
    assert done.returncode == 1
    # A second `stepi` may end at once, by the trap that was on its way when the first was given up.
    assert f"tinyos: error: {command}: waited 1 s for " in done.stderr
    assert "error: stats" not in done.stderr
    assert '{"schema": "tinyos.stats/1"' in done.stdout
    assert done.stdout.endswith("42")


def test_gdbs_own_prompt_is_attached_and_the_session_ends_with_gdb(run: Runner) -> None:
    done = run("--gdb", text="info threads\nhelp tinyos report\n")
    assert done.returncode == 0
    assert "CPU#3" in done.stdout
    assert "tinyos report" in done.stdout
    assert re.search(rf"scripts/run --console {run.directory}/tinyos-\S+/console", done.stderr)


def test_commands_are_read_from_standard_input(run: Runner) -> None:
    done = run(text="echo one\\n\n\n# a remark\nnonsense\nquit\necho never\\n\n")
    assert (done.returncode, done.stdout) == (1, "one\n")
    assert done.stderr == 'tinyos: error: nonsense: Undefined command: "nonsense".  Try "help".\n'


def test_commands_tell_of_one_moment_and_the_kernel_runs_on_for_its_console(run: Runner) -> None:
    stats = ["-c", "*s --json"]
    done = run(*stats, *stats, "-c", "console spawn worker", *stats)
    assert done.returncode == 0, done.stderr
    first, second, answer, third = done.stdout.splitlines()
    assert re.fullmatch(r"task [0-9]+ \(worker\) started on stack [0-9]+", answer)
    assert first == second
    before, after = (json.loads(line)["stats"]["total_dynamic_stacks"] for line in (second, third))
    assert after == before + 1


def test_the_kernels_console_leads_to_a_breakpoint_and_then_reads_nothing(run: Runner) -> None:
    point = "kernel::shell::control::uptime"
    done = run("-c", f"tbreak {point}", "-c", "console uptime", "-c", "frame", "-c", "console uptime")
    assert done.returncode == 1
    assert "hit Temporary breakpoint" in done.stdout
    assert re.search(rf"^#0 .*{point}", done.stdout, re.MULTILINE)
    assert "the kernel is stopped and reads nothing: `continue` lets it run" in done.stderr


def test_json_is_an_object_a_line(run: Runner) -> None:
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


def test_what_cannot_be_done_is_one_line_with_a_remedy(run: Runner) -> None:
    done = run("-c", "*x", "-c", "live", "-c", "commands 1")
    assert (done.returncode, done.stdout) == (1, "")
    letter, live, commands = done.stderr.splitlines()
    assert 'there is no "x"; the commands are: check, context' in letter
    assert "live needs a terminal" in live
    assert "`source FILE`" in commands


def test_a_session_can_be_begun_again(run: Runner) -> None:
    done = run("-c", "set $mine = 5", "-c", "output $mine", "-c", "restart", "-c", "output $mine", "-c", "*s")
    assert done.returncode == 0, done.stderr
    assert re.match(r"5(void|\(\))", done.stdout)
    assert "total_dynamic_stacks" in done.stdout


def test_attached_to_a_machine_that_runs_already(run: Runner, boot: Callable[..., TinyOS]) -> None:
    machine = boot(gdb_port=0)
    machine.shell("spawn worker")
    before = machine.shell("*s")
    done = run("--connect", machine.address, "-c", "stats --json", "-c", "console *s")
    assert done.returncode == 1
    stats = json.loads(done.stdout)["stats"]
    assert f"total_dynamic_stacks: {stats['total_dynamic_stacks']}\n" in before
    assert "no console" in done.stderr
    # It is let go of as it was found: running.
    assert machine.shell("uptime")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--connect", "localhost:1", "--port", "0"], "--connect boots nothing"),
        (["--connect", "nowhere"], "nowhere"),
        (["--gdb", "-c", "*s"], "--gdb boots, and gives a prompt"),
        (["--nonsense"], "--nonsense"),
        (["-c"], "-c"),
    ],
)
def test_what_does_not_fit_together_is_refused(run: Runner, arguments: list[str], said: str) -> None:
    assert said in run.refusal(*arguments)


def test_a_second_start_answers_in_less_than_three_seconds() -> None:
    """By the script itself: with everything in place, nothing is installed, built or looked up again."""
    for _ in range(2):
        start = time.monotonic()
        done = subprocess.run([_SCRIPT], input="output 6*7\n", capture_output=True, text=True, check=True)
        took = time.monotonic() - start
    assert done.stdout == "42"
    assert "building" not in done.stderr
    assert took < 3


def test_the_script_passes_on_output_and_status() -> None:
    done = subprocess.run([_SCRIPT, "--batch", "output 6*7"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "42")
    done = subprocess.run([_SCRIPT, "--batch", "nonsense"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_script_explains_itself(option: str) -> None:
    done = subprocess.run([_SCRIPT, option], capture_output=True, text=True, check=True)
    for word in ("--batch", "--console", "--kernel", "--image", "--port", "--timeout", "--gdb", "--connect"):
        assert word in done.stdout
    assert done.stderr == ""


def test_a_missing_kernel(run: Runner) -> None:
    assert "no kernel at nowhere.elf: build it with scripts/build" in run.refusal("--kernel", "nowhere.elf")


def test_a_stripped_kernel(run: Runner, tmp_path: Path) -> None:
    stripped = elfs.stripped(run.kernel, tmp_path / "stripped.elf")
    assert "is stripped" in run.refusal("--kernel", stripped, "--batch", "output 1")


def test_another_machines_program(run: Runner) -> None:
    assert "is not an AArch64 ELF" in run.refusal("--kernel", Path(sys.executable).resolve())


def test_a_kernel_that_is_not_the_one_running(run: Runner, tmp_path: Path, kernel_image: Path) -> None:
    other = elfs.of_another_build(run.kernel, tmp_path / "other.elf")
    said = run.refusal("--kernel", other, "--image", kernel_image, "--batch", "output 1")
    assert f"{other} is not the kernel that is running" in said


def test_a_busy_port(run: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be used: something listens there" in run.refusal(
            "--port", str(port)
        )


@pytest.mark.parametrize("port", ["99999", "many"])
def test_no_port_at_all(run: Runner, port: str) -> None:
    assert port in run.refusal("--port", port)


def test_a_qemu_without_raspi4b(run: Runner, tmp_path: Path) -> None:
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
def test_a_missing_program(run: Runner, variable: str, name: str) -> None:
    said = run.refusal(**{variable: "/nowhere/program"})
    assert f"{name} is missing: there is no program /nowhere/program; install it with: apt install" in said


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_ctrl_c_in_gdb_stops_the_kernel_not_the_session_and_the_console_can_be_joined(
    run: Runner, tmp_path: Path
) -> None:
    tmux = ["tmux", "-S", str(tmp_path / "tmux")]
    command = [*_START, "--kernel", str(run.kernel), "--gdb"]
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
            [*_START, "--console"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
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
