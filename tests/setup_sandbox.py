"""A checkout in which set-up runs against stand-ins for every program: nothing is installed or fetched.

PATH is one folder: links to the plain tools that the scripts use, and small shell scripts in place of QEMU,
GDB, Python, Rust and apt. Each call of a stand-in is a line in ``calls``.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

TOP = Path(__file__).parent.parent


def library(name: str) -> ModuleType:
    """The module ``scripts/lib/<name>.py``, which belongs to no package."""
    folder = str(TOP / "scripts" / "lib")
    if folder not in sys.path:
        sys.path.append(folder)  # They import each other, as the scripts that they are.
    specification = importlib.util.spec_from_file_location(name, TOP / "scripts" / "lib" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # Where dataclasses look for it.
    specification.loader.exec_module(module)
    return module


PLAIN_TOOLS = (
    *(
        "basename",
        "bash",
        "cat",
        "chmod",
        "cksum",
        "cmp",
        "cp",
        "cut",
        "dirname",
        "env",
        "find",
        "flock",
        "grep",
    ),
    *("head", "mkdir", "mktemp", "mv", "rm", "sed", "sleep", "tail", "touch", "tr", "uname"),
)

QEMU = """
case $1 in
    -M) echo 'raspi4b              Raspberry Pi 4B' ;;
    *) echo 'QEMU emulator version 10.0.2' ;;
esac
"""

OLD_QEMU = """
case $1 in
    -M) echo 'raspi3b              Raspberry Pi 3B' ;;
    *) echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)' ;;
esac
"""

GDB = "echo serves 13.1 3.11"

COMPILER = "cat >/dev/null"

# Runs the set-up itself. The Python of a virtual environment that it makes records calls of pip, and is the
# one of the tests for all else.
PYTHON = f"""
case "$*" in
    *setup.py*) exec {sys.executable} "$@" ;;
    '-c import sys;'*) echo 3.11 ;;
    '-c import venv'*) ;;
    '-m venv '*)
        mkdir -p "$3/bin"
        cat >"$3/bin/python" <<'END'
#!/bin/sh
case $2 in
    pip) echo "pip $*" >>"$CALLS"; sleep 0.3 ;;
    *) exec {sys.executable} "$@" ;;
esac
END
        chmod +x "$3/bin/python" ;;
esac
"""

PYTHON_WITHOUT_VENV = PYTHON.replace("'-c import venv'*) ;;", "'-c import venv'*) exit 1 ;;")

RUSTC = """
case "$*" in
    '--print sysroot') echo "$SYSROOT" ;;
    *) printf 'release: 1.96.0\\nhost: x86_64-unknown-linux-gnu\\n' ;;
esac
"""

# Builds by copying the prepared ELF, as long as the one source says "right".
CARGO = """
case $PWD in
    */qemu/recorder)
        mkdir -p "$5/$3/release"
        echo recorder >"$5/$3/release/libtinyos_recorder.so"
        exit
        ;;
esac
grep -q right src/main.rs || { echo 'error: wrong source' >&2; exit 101; }
mkdir -p target/aarch64-unknown-none-softfloat/release
cp ../prepared.elf target/aarch64-unknown-none-softfloat/release/kernel
"""

DEBIAN_12 = (
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
)
FEDORA = 'PRETTY_NAME="Fedora Linux 43"\nID=fedora\nVERSION_ID=43\n'


class Sandbox:
    """A copy of the checkout's scripts with a PATH, an os-release and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.top = folder / "checkout"
        self.programs = folder / "programs"
        self.sysroot = folder / "sysroot"
        self.calls = folder / "calls"
        self.os_release = folder / "os-release"
        self.programs.mkdir(parents=True)
        self.calls.touch()
        self.os_release.write_text(DEBIAN_12)
        for name in PLAIN_TOOLS:
            found = shutil.which(name)
            assert found is not None, name
            (self.programs / name).symlink_to(found)
        shutil.copytree(TOP / "scripts", self.top / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(TOP / "pyproject.toml", self.top)
        (self.top / "gdbplugin").mkdir()
        for name in ("__init__.py", "programs.py"):
            shutil.copy(TOP / "gdbplugin" / name, self.top / "gdbplugin")
        (self.top / "kernel" / "src").mkdir(parents=True)
        (self.top / "qemu/recorder").mkdir(parents=True, exist_ok=True)
        (self.top / "qemu/recorder/Cargo.toml").touch()
        (self.top / "kernel" / "Cargo.toml").write_text('rust-version = "1.88"\n')
        (self.top / "kernel" / "src" / "main.rs").write_text("right\n")
        self.user(0)

    def user(self, number: int) -> None:
        """Let ``id -u`` say ``number``."""
        self.program("id", f"echo {number}")

    def program(self, name: str, script: str, folder: Path | None = None) -> Path:
        """Put a stand-in called ``name``, whose calls are recorded, on PATH or in ``folder``."""
        path = (folder or self.programs) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$CALLS"\n{script}\n')
        path.chmod(0o755)
        return path

    def remove(self, name: str) -> None:
        (self.programs / name).unlink()

    def all_programs(self) -> None:
        """Put a stand-in that serves for every need on PATH."""
        self.program("python3", PYTHON)
        self.program("cc", COMPILER)
        self.program("qemu-system-aarch64", QEMU)
        self.program("gdb-multiarch", GDB)
        self.rust()

    def rust(self) -> None:
        """Put a Rust without the target, but with the library's source and no linker of its own on PATH."""
        self.program("rustc", RUSTC)
        self.program("cargo", "exit 99")
        self.program("ld.lld-19", "")
        for name in ("rustfmt", "cargo-fmt", "cargo-clippy", "clippy-driver"):
            self.program(name, "", self.sysroot / "bin")
        self.program("rustc", RUSTC, self.sysroot / "bin")
        self.program("cargo", CARGO, self.sysroot / "bin")
        source = self.sysroot / "lib/rustlib/src/rust/library/core/Cargo.toml"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.touch()

    def rustup(self, otherwise: str) -> None:
        """Put a rustup on PATH that has the Rust of ``rust``, and does ``otherwise`` when asked for more."""
        self.program("rustup", f'case $1 in which) echo "$SYSROOT/bin/cargo" ;; *) {otherwise} ;; esac')

    def environment(self, **more: str) -> dict[str, str]:
        """What the scripts see; nothing of the tests' own environment is let in."""
        return {
            "PATH": str(self.programs),
            "HOME": str(self.folder / "home"),
            "CALLS": str(self.calls),
            "SYSROOT": str(self.sysroot),
            "TINYOS_OS_RELEASE": str(self.os_release),
            **more,
        }

    def start(self, script: str, **more: str) -> subprocess.Popen[str]:
        """Start ``scripts/<script>``."""
        return subprocess.Popen(
            [shutil.which("bash") or "bash", str(self.top / "scripts" / script)],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``scripts/<script>`` to its end."""
        process = self.start(script, **more)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def setup(self, **more: str) -> str:
        """Run a set-up that must succeed, and return what it said."""
        result = self.run("setup", **more)
        assert result.returncode == 0, result.stderr
        assert result.stdout == ""
        return result.stderr

    def calls_of(self, name: str) -> list[str]:
        """The recorded calls of a stand-in since the last ``forget``."""
        return [line for line in self.calls.read_text().splitlines() if line.split()[0] == name]

    def forget(self) -> None:
        self.calls.write_text("")

    def value(self, key: str) -> str:
        """A value that set-up wrote to build/environment."""
        words = shlex.split((self.top / "build/environment").read_text())
        return dict(word.split("=", 1) for word in words)[key]


def touch_later(path: Path) -> None:
    """Give ``path`` a modification time that no stamp made before can equal."""
    status = path.stat()
    # A copy is as old as what it was made of.
    later = max(status.st_mtime_ns, time.time_ns()) + 3_600_000_000_000
    os.utime(path, ns=(status.st_atime_ns, later))
