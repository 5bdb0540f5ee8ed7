"""Set-up: what it looks for, what it installs, what it says, and that it does nothing twice."""

import shutil
import time

import pytest

from tests.setup_sandbox import (
    FEDORA,
    OLD_QEMU,
    PYTHON_WITHOUT_VENV,
    Sandbox,
    touch_later,
)

SYSTEMS = ("Debian", "Ubuntu", "Fedora", "Arch", "macOS")


def refused(sandbox: Sandbox, **more: str) -> str:
    result = sandbox.run("setup", **more)
    assert result.returncode == 1
    assert result.stdout == ""
    assert not (sandbox.top / "build/setup.stamp").exists()
    return result.stderr


# What cannot be installed


@pytest.mark.parametrize(
    ("missing", "description"),
    [
        ("python3", "Python 3.11 or newer"),
        ("cc", "a C compiler"),
        ("qemu-system-aarch64", "QEMU 9.0 or newer, with the machine raspi4b"),
        ("gdb-multiarch", "GDB 13 or newer, with AArch64"),
        ("rustc", "Rust 1.88 or newer with clippy, rustfmt and the target aarch64-unknown-none-softfloat"),
    ],
)
def test_another_system_is_told_how_to_get_what_is_missing(
    sandbox: Sandbox, missing: str, description: str
) -> None:
    sandbox.all_programs()
    sandbox.remove(missing)
    sandbox.os_release.write_text(FEDORA)
    message = refused(sandbox)
    assert "installs packages on Debian and Ubuntu only, and this is Fedora Linux 43" in message
    assert description in message
    for system in SYSTEMS:
        assert sum(line.startswith(f"    {system} ") for line in message.splitlines()) == 1, message


@pytest.mark.parametrize("python", [None, PYTHON_WITHOUT_VENV])
def test_every_missing_program_is_in_the_one_message(sandbox: Sandbox, python: str | None) -> None:
    if python is not None:
        sandbox.program("python3", python)
    sandbox.os_release.write_text(FEDORA)
    message = refused(sandbox)
    assert message.count("error:") == 1
    for name in ("Python", "C compiler", "QEMU", "GDB", "Rust"):
        assert name in message


@pytest.fixture(params=["without Python", "with Python"])
def in_need(request: pytest.FixtureRequest, sandbox: Sandbox) -> Sandbox:
    """Without any program, shell is what refuses; where only QEMU is missing, Python."""
    if request.param == "with Python":
        sandbox.all_programs()
        sandbox.remove("qemu-system-aarch64")
    return sandbox


def test_debian_without_root_and_sudo_installs_nothing(in_need: Sandbox) -> None:
    sandbox = in_need
    sandbox.user(1000)
    sandbox.program("apt-get", "exit 99")
    assert "not run as root, and there is no sudo" in refused(sandbox)
    assert sandbox.calls_of("apt-get") == []


def test_a_system_without_apt_get_installs_nothing(in_need: Sandbox) -> None:
    assert "there is no apt-get" in refused(in_need)


def test_sudo_that_refuses_is_not_root(in_need: Sandbox) -> None:
    sandbox = in_need
    sandbox.user(1000)
    sandbox.program("apt-get", "exit 99")
    sandbox.program("sudo", "exit 1")
    assert "sudo does not allow it" in refused(sandbox)


@pytest.mark.parametrize(
    ("program", "script", "found"),
    [
        ("qemu-system-aarch64", OLD_QEMU, "which is 7.2.22 and has no machine raspi4b"),
        ("gdb-multiarch", "exit 0", "but it lacks AArch64 or Python"),
        ("gdb-multiarch", "echo serves 12.1 3.11", "which is 12.1"),
        ("gdb-multiarch", "echo serves Fedora 14.2-3 3.10", "but with Python 3.10 inside"),
        ("python3", "echo 3.9", "which is 3.9"),
        (
            "python3",
            PYTHON_WITHOUT_VENV,
            "without the modules venv and ensurepip",
        ),
        ("cc", "exit 1", "but it cannot link a program"),
        ("rustc", "exit 1", "but its rustc does not run"),
    ],
)
def test_a_program_that_does_not_serve_is_named(
    sandbox: Sandbox, program: str, script: str, found: str
) -> None:
    sandbox.all_programs()
    sandbox.program(program, script)
    sandbox.os_release.write_text(FEDORA)
    message = refused(sandbox)
    assert f"found {sandbox.programs / ('cargo' if program == 'rustc' else program)}" in message
    assert found in message


def test_a_rust_that_is_too_old_or_incomplete_is_named(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    sandbox.os_release.write_text(FEDORA)
    (sandbox.top / "kernel/Cargo.toml").write_text('rust-version = "1.97"\n')
    assert "which is 1.96.0" in refused(sandbox)
    (sandbox.top / "kernel/Cargo.toml").write_text('rust-version = "1.96"\n')
    sandbox.remove("ld.lld-19")
    assert "neither rust-lld nor ld.lld" in refused(sandbox)
    (sandbox.sysroot / "lib/rustlib/src/rust/library/core/Cargo.toml").unlink()
    assert "without the library's source" in refused(sandbox)
    (sandbox.sysroot / "bin/rustfmt").unlink()
    assert "without clippy and rustfmt" in refused(sandbox)


@pytest.mark.parametrize("variable", ["TINYOS_QEMU", "TINYOS_GDB", "TINYOS_CARGO"])
def test_a_requested_program_that_is_not_there_is_one_line(ready: Sandbox, variable: str) -> None:
    result = ready.run("setup", **{variable: "/nowhere/program"})
    assert result.returncode == 1
    assert result.stderr == f"tinyos: error: {variable}=/nowhere/program is not a program\n"


def test_a_requested_qemu_without_the_machine_is_one_line(ready: Sandbox) -> None:
    old = ready.program("old-qemu", OLD_QEMU)
    result = ready.run("setup", TINYOS_QEMU=str(old))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "has no machine raspi4b" in result.stderr


# What is found and written


def test_what_was_found_is_written_down(ready: Sandbox) -> None:
    assert ready.value("TINYOS_QEMU") == str(ready.programs / "qemu-system-aarch64")
    assert ready.value("TINYOS_GDB") == str(ready.programs / "gdb-multiarch")
    assert ready.value("TINYOS_CARGO") == str(ready.sysroot / "bin/cargo")
    assert ready.value("TINYOS_PYTHON") == str(ready.top / ".venv/bin/python")
    assert ready.value("TINYOS_RUST_BUILD_STD") == "yes"
    assert ready.value("TINYOS_RUST_LINKER") == str(ready.programs / "ld.lld-19")


def test_rustup_is_asked_for_the_target(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    library = sandbox.sysroot / "lib/rustlib/aarch64-unknown-none-softfloat/lib"
    sandbox.rustup(f"mkdir -p {library} && touch {library}/libcore-0.rlib")
    sandbox.setup()
    assert [call for call in sandbox.calls_of("rustup") if call != "rustup which cargo"] == [
        "rustup target add --toolchain sysroot aarch64-unknown-none-softfloat",
    ]
    assert sandbox.value("TINYOS_RUST_BUILD_STD") == "no"


def test_a_rustup_that_cannot_get_the_target_leaves_the_others(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    sandbox.rustup("exit 1")
    assert "rustup cannot get the target" in sandbox.setup()
    assert sandbox.value("TINYOS_RUST_BUILD_STD") == "yes"


# Installing on Debian 12


def test_debian_gets_what_is_missing_without_a_question(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    for name in ("qemu-system-aarch64", "cc"):
        (sandbox.programs / name).rename(sandbox.folder / name)
    sandbox.program(
        "apt-get",
        f"""[ "$DEBIAN_FRONTEND" = noninteractive ] || [ "$1" = indextargets ] || exit 98
        case "$*" in
            indextargets*) echo http://mirror.example/debian ;;
            *' install '*gcc*) mv {sandbox.folder}/cc {sandbox.programs} ;;
            *' install '*qemu*) mv {sandbox.folder}/qemu-system-aarch64 {sandbox.programs} ;;
        esac""",
    )
    sandbox.program(
        "apt-cache",
        f"""case $1 in
            policy) printf 'qemu-system-arm:\\n  Candidate: 1:7.2+dfsg-7\\n' ;;
            madison) [ ! -f {sandbox.folder}/source ] ||
                echo 'qemu-system-arm | 1:10.0.2 | http://a bookworm-backports/main amd64 Packages' ;;
        esac""",
    )
    sandbox.program("tee", f"cat >{sandbox.folder}/source")
    sandbox.setup()
    assert (sandbox.folder / "source").read_text() == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    installs = [call for call in sandbox.calls_of("apt-get") if " install " in call]
    packages = [call.split("--no-install-recommends ")[1] for call in installs]
    assert [listed.removeprefix("ca-certificates ") for listed in packages] == [
        "tmux git gcc libc6-dev",
        "-t bookworm-backports qemu-system-arm",
    ]


OFFERS_RUST_WEB = """
case $1 in
    search) case $3 in *rustc*) echo 'rustc - Rust'; echo 'rustc-web - Rust for browsers' ;; esac ;;
    policy)
        shift
        for name; do
            case $name in
                *-web*) printf '%s:\\n  Candidate: 1.96.0+dfsg1-1~deb12u2\\n' $name ;;
                *) printf '%s:\\n  Candidate: 1.63.0+dfsg1-2\\n' $name ;;
            esac
        done ;;
esac
"""


def test_no_archive_is_added_where_the_candidate_serves(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    sandbox.remove("rustc")
    sandbox.program("apt-get", f'case "$*" in *rustc-web*) touch {sandbox.folder}/asked ;; esac')
    sandbox.program("apt-cache", OFFERS_RUST_WEB)
    message = refused(sandbox)
    assert (sandbox.folder / "asked").exists()
    assert "adding Debian's archive" not in message
    assert "Debian's packages do not meet the need" in message


def test_a_failing_apt_shows_its_last_words(in_need: Sandbox) -> None:
    sandbox = in_need
    sandbox.program("apt-get", "echo 'E: no space left'; exit 100")
    message = refused(sandbox)
    assert "E: no space left" in message
    assert "failed; the whole log is" in message


def test_a_python_is_installed_before_all_else(sandbox: Sandbox) -> None:
    """On a bare system there is none to run the set-up with."""
    sandbox.all_programs()
    (sandbox.programs / "python3").rename(sandbox.folder / "python3")
    sandbox.user(1000)
    sandbox.program("sudo", '[ "$1" = -n ] || exec "$@"')
    sandbox.program(
        "apt-get", f'case "$*" in *python3-venv) mv {sandbox.folder}/python3 {sandbox.programs} ;; esac'
    )
    sandbox.setup()
    apt_get = "apt-get -y -q -o DPkg::Lock::Timeout=600"
    assert sandbox.calls_of("apt-get") == [
        f"{apt_get} update",
        f"{apt_get} install --no-install-recommends python3 python3-venv",
    ]


def test_an_archive_that_cannot_be_read_is_taken_back(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    sandbox.remove("qemu-system-aarch64")
    source = sandbox.folder / "source"
    sandbox.program("tee", f"cat >{source}")
    sandbox.program("apt-get", f'case "$*" in *update) [ ! -f {source} ] || exit 100 ;; esac')
    sandbox.program("apt-cache", "")
    (sandbox.programs / "rm").unlink()
    sandbox.program("rm", f'case "$*" in *.sources) /bin/rm {source} ;; *) exec /bin/rm "$@" ;; esac')
    assert "reading apt's package lists: failed" in refused(sandbox)
    assert not source.exists()
    assert sandbox.calls_of("rm")[-1] == "rm -f /etc/apt/sources.list.d/bookworm-backports.sources"


@pytest.mark.parametrize(
    "system",
    [
        "ID=debian\nVERSION_CODENAME=forky\n",
        'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="25.04"\nVERSION_CODENAME=plucky\n',
    ],
)
def test_only_a_release_of_debian_gets_an_archive(sandbox: Sandbox, system: str) -> None:
    sandbox.all_programs()
    sandbox.remove("qemu-system-aarch64")
    sandbox.os_release.write_text(system)
    sandbox.program("apt-get", "")
    sandbox.program("apt-cache", "")
    message = refused(sandbox)
    assert "adding Debian's archive" not in message
    assert "packages do not meet the need" in message
    assert any(
        call.endswith("install --no-install-recommends qemu-system-arm")
        for call in sandbox.calls_of("apt-get")
    )


# Nothing twice


def test_a_second_setup_says_and_does_nothing(ready: Sandbox) -> None:
    assert ready.setup() == ""
    assert ready.calls.read_text() == ""


def test_a_second_setup_takes_less_than_50_ms(ready: Sandbox) -> None:
    def seconds() -> float:
        started = time.perf_counter()
        ready.setup()
        return time.perf_counter() - started

    # The best of many: what else the machine does is not set-up's cost.
    assert min(seconds() for _ in range(20)) < 0.05


def test_a_changed_pyproject_installs_the_packages_again(ready: Sandbox) -> None:
    pyproject = ready.top / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + "\n")
    touch_later(pyproject)
    ready.setup()
    assert len(ready.calls_of("pip")) == 1
    assert not any("-m venv " in call for call in ready.calls_of("python3"))


def test_a_touched_file_of_the_same_content_installs_nothing(ready: Sandbox) -> None:
    before = (ready.top / "build/environment").stat().st_mtime_ns
    touch_later(ready.top / "pyproject.toml")
    assert ready.setup() == ""
    assert ready.calls_of("pip") == []
    assert (ready.top / "build/environment").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "name",
    ["gdbplugin/programs.py", "scripts/lib/debian.py", "scripts/lib/setup.py", "scripts/lib/python.sh"],
)
def test_a_change_of_the_set_up_looks_for_programs_again(ready: Sandbox, name: str) -> None:
    touch_later(ready.top / name)
    assert ready.setup() == ""
    assert ready.calls_of("qemu-system-aarch64") == ["qemu-system-aarch64 -M help"]


def test_a_copied_checkout_gets_a_virtual_environment_of_its_own(ready: Sandbox) -> None:
    ready.top = shutil.copytree(ready.top, ready.folder / "a new place")
    ready.setup()
    assert len(ready.calls_of("pip")) == 1
    assert ready.value("TINYOS_ROOT") == str(ready.top)
    assert ready.setup() == ""


def test_a_virtual_environment_of_the_users_is_left_alone(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    (sandbox.top / ".venv/bin").mkdir(parents=True)
    (sandbox.top / ".venv/bin/mine").write_text("mine")
    result = sandbox.run("setup")
    assert result.returncode == 1
    assert f"{sandbox.top}/.venv was not made by set-up: move it away" in result.stderr
    assert (sandbox.top / ".venv/bin/mine").read_text() == "mine"
    (sandbox.top / ".venv").rename(sandbox.top / "mine")
    sandbox.setup()


def test_another_checkouts_virtual_environment_is_left_alone(ready: Sandbox) -> None:
    (ready.top / ".venv").rename(ready.folder / "theirs")
    (ready.top / ".venv").symlink_to(ready.folder / "theirs")
    (ready.top / "build/setup.stamp").unlink()
    (ready.folder / "theirs/tinyos.stamp").write_text("of another Python\n")
    (ready.folder / "theirs/kept").write_text("kept")
    result = ready.run("setup")
    assert result.returncode == 1
    assert "was not made by set-up: move it away" in result.stderr
    assert (ready.folder / "theirs/kept").read_text() == "kept"


def test_an_environment_made_anew_keeps_nothing_of_the_old(ready: Sandbox) -> None:
    (ready.top / ".venv/tinyos.stamp").write_text("of another Python\n")
    elsewhere = ready.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs").write_text("theirs")
    (ready.top / ".venv/old").mkdir()
    (ready.top / ".venv/link").symlink_to(elsewhere)
    touch_later(ready.top / "pyproject.toml")
    assert "making .venv" in ready.setup()
    assert sorted(path.name for path in (ready.top / ".venv").iterdir()) == ["bin", "tinyos.stamp"]
    assert (elsewhere / "theirs").read_text() == "theirs"


def test_an_active_virtual_environment_is_not_made_from_itself(ready: Sandbox) -> None:
    (ready.top / ".venv/bin/python3").symlink_to("python")
    (ready.top / ".venv/tinyos.stamp").write_text("unfinished\n")
    touch_later(ready.top / "pyproject.toml")
    active = f"{ready.top}/.venv/bin:{ready.programs}"
    assert "making .venv" in ready.setup(PATH=active)
    assert [call for call in ready.calls_of("python3") if "-m venv " in call] == [
        f"python3 -m venv {ready.top}/.venv"
    ]


def test_a_tool_that_went_away_is_looked_for_again(ready: Sandbox) -> None:
    (ready.programs / "gdb-multiarch").rename(ready.programs / "gdb")
    ready.setup()
    assert ready.value("TINYOS_GDB") == str(ready.programs / "gdb")
    assert ready.calls_of("pip") == []


def test_a_requested_program_is_remembered(ready: Sandbox) -> None:
    other = ready.programs / "other-gdb"
    other.symlink_to(ready.programs / "gdb-multiarch")
    ready.setup(TINYOS_GDB=str(other))
    ready.forget()
    ready.setup(TINYOS_GDB=str(other))
    assert ready.value("TINYOS_GDB") == str(other)
    assert ready.calls.read_text() == ""


def test_an_interrupted_setup_is_done_again(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    sandbox.program("rustc", "kill -9 $PPID; sleep 1")
    assert sandbox.run("setup").returncode != 0
    sandbox.rust()
    sandbox.setup()
    assert len(sandbox.calls_of("pip")) == 1


def test_setups_at_the_same_time_install_once(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    processes = [sandbox.start("setup") for _ in range(4)]
    messages = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, messages
    assert len(sandbox.calls_of("pip")) == 1
