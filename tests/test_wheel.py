"""The wheel, in an environment that holds it and what it says it needs, and nothing of the checkout."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gdbplugin.session import TinyOS
from gdbplugin.session.gdb import find_gdb

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "gdbplugin"

pytestmark = pytest.mark.xdist_group("wheel")


def _run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        env=environment or None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _must(*arguments: object) -> None:
    done = _run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _needed(requirements: Iterable[str], extra: str) -> Iterator[importlib.metadata.Distribution]:
    """The distributions that requirements lead to, directly and through each other."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            found = importlib.metadata.distribution(requirement.name)
            assert found.version in requirement.specifier, requirement
            yield found
            yield from _needed(found.requires or (), "")


def _link(distribution: importlib.metadata.Distribution, target: Path) -> None:
    """Have what a distribution installed stand in `target` too."""
    assert distribution.files is not None
    for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        if not (target / name).exists():
            (target / name).symlink_to(Path(str(distribution.locate_file(name))))


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the package installed in it."""

    folder: Path
    wheel: Path

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.folder / "lib" / version / "site-packages"

    def run(self, program: str, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs as a user does who knows nothing of the checkout."""
        chosen = {name: os.environ[name] for name in ("TINYOS_QEMU", "TINYOS_GDB") if name in os.environ}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **chosen, **more}
        return _run(self.folder / "bin" / program, *arguments, **environment)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel of this checkout, in a fresh environment with the distributions that it requires."""
    top = tmp_path_factory.mktemp("installed")
    folder = top / "environment"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q")
    _must(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", top, TOP)
    (wheel,) = top.glob("tinyos_gdb-*.whl")
    _must(sys.executable, "-m", "venv", "--without-pip", folder)
    _must(*pip, "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    environment = Environment(folder, wheel)
    (metadata,) = importlib.metadata.distributions(name="tinyos-gdb", path=[str(environment.site_packages)])
    for distribution in _needed(metadata.requires or (), "pytest"):
        _link(distribution, environment.site_packages)
    return environment


def test_the_wheel_holds_the_package_whole(installed: Environment) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        machine = archive.read("gdbplugin/session/raspi4b.cfg")
    tracked = _run("git", "-C", TOP, "ls-files", "-z", "gdbplugin")
    if tracked.returncode == 0:
        assert set(filter(None, tracked.stdout.split("\0"))) <= held
    schemas = {f"gdbplugin/schemas/{path.name}" for path in (PACKAGE / "schemas").glob("*.json")}
    assert schemas
    assert schemas | {"gdbplugin/py.typed"} <= held
    assert machine == (TOP / "qemu" / "raspi4b.cfg").read_bytes()
    assert all(name.startswith("gdbplugin/") for name in held)
    assert not any("__pycache__" in name for name in held)


def test_tinyos_gdb_has_the_plugin_of_its_own_environment(installed: Environment) -> None:
    used = "from gdbplugin.debugger import layout as ours; ours.add_packages(); import elftools"
    modules = f"python {used}; print(ours.__file__, elftools.__file__)"
    done = installed.run("tinyos-gdb", "--nx", "--batch", "-ex", "help tinyos", "-ex", modules)
    assert (done.returncode, done.stderr) == (0, "")
    *helped, imported = done.stdout.splitlines()
    assert any(line.startswith("tinyos stacks") for line in helped)
    assert all(path.startswith(str(installed.site_packages)) for path in imported.split())


def test_tinyos_gdb_shows_a_machine(installed: Environment, shared_machine: TinyOS) -> None:
    shared_machine.shell("hold")
    expected = shared_machine.json("stacks")
    shared_machine.detach()
    attach = f"target remote {shared_machine.qemu.gdb_address}"
    commands = (attach, r"echo the stacks:\n", "tinyos stacks --json")
    given = [part for command in commands for part in ("-ex", command)]
    done = installed.run("tinyos-gdb", "--nx", "--quiet", "--batch", shared_machine.kernel.path, *given)
    shared_machine.shell("go")
    found = json.loads(done.stdout.partition("the stacks:\n")[2].splitlines()[0])
    assert [stack["id"] for stack in found["stacks"]] == [stack["id"] for stack in expected["stacks"]]
    assert found["schema"] == expected["schema"]


@pytest.mark.parametrize("name", ["pwndbg/gdbinit.py", "gef.py"])
@pytest.mark.parametrize("order", [1, -1])
def test_its_plugin_works_beside_another(
    installed: Environment, shared_machine: TinyOS, name: str, order: int
) -> None:
    own = installed.site_packages / "gdbplugin" / "tinyos.py"
    files = [own, TOP / "tests" / "other_plugins" / name][::order]
    shared_machine.detach()
    given = [f"source {file}" for file in files]
    given += [f"target remote {shared_machine.qemu.gdb_address}", "tinyos report", "vmmap here"]
    commands = [part for command in given for part in ("-ex", command)]
    done = _run(find_gdb(), "--nx", "--quiet", "--batch", shared_machine.kernel.path, *commands)
    assert "TinyOS dynamic memory" in done.stdout
    assert "vmmap was given 'here'" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("order", [1, -1])
def test_beside_the_checkouts_plugin_the_first_stays(installed: Environment, order: int) -> None:
    folders = [installed.site_packages / "gdbplugin", PACKAGE][::order]
    commands = [part for folder in folders for part in ("-ex", f"source {folder / 'tinyos.py'}")]
    modules = "python import gdbplugin; print(gdbplugin.__file__)"
    done = _run(find_gdb(), "--nx", "--batch", *commands, "-ex", "help tinyos stats", "-ex", modules)
    assert "Usage: tinyos stats" in done.stdout
    assert done.stdout.splitlines()[-1] == str(folders[0] / "__init__.py")
    assert (
        done.stderr == f"tinyos: {folders[0]} is loaded already, and stays; {folders[1]} needs another GDB\n"
    )


def test_the_library_boots_a_machine(installed: Environment, kernel_elf: Path) -> None:
    program = f"""if True:
        from pathlib import Path
        from gdbplugin.session import QemuOptions, TinyOS
        elf = Path({str(kernel_elf)!r})
        with TinyOS.boot(elf, options=QemuOptions(elf, paused=True)) as tinyos:
            print(tinyos.gdb("tinyos registers CPSR"))
    """
    done = installed.run("python", "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert "EL3" in done.stdout


def test_tinyos_repl_runs_a_command(installed: Environment, kernel_elf: Path) -> None:
    done = installed.run("tinyos-repl", "--kernel", kernel_elf, "-c", "*s", "-c", "output 6*7")
    assert done.returncode == 0, done.stderr
    assert "total_dynamic_stacks" in done.stdout
    assert done.stdout.rstrip().endswith("42")


def test_tinyos_report_says_what_it_takes(installed: Environment) -> None:
    done = installed.run("tinyos-report", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("nothing is neither a dump's file, nor a running session, nor HOST:PORT\n")


def test_pytest_finds_the_plugin(installed: Environment, kernel_elf: Path, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it(boot_tinyos):\n    assert boot_tinyos(paused=True).gdb('echo hello') == 'hello'\n"
    )
    given = ("-q", "-p", "no:cacheprovider", f"--tinyos-kernel={kernel_elf}")
    done = installed.run("python", "-m", "pytest", *given, f"--rootdir={tmp_path}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_missing_gdb_is_one_line(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("tinyos-gdb", "--batch", PATH=str(tmp_path), TINYOS_GDB="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tinyos-gdb: error: GDB is missing: there is no program gdb-multiarch; ")
    assert "apt install gdb-multiarch" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_qemu_is_one_line(installed: Environment, kernel_elf: Path) -> None:
    done = installed.run("tinyos-repl", "--kernel", kernel_elf, "-c", "*s", TINYOS_QEMU="no-such-qemu")
    assert (done.returncode, done.stdout) == (1, "")
    assert "QEMU is missing: there is no program no-such-qemu; install it with: apt install" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_checkout_a_kernel_must_be_named(installed: Environment) -> None:
    done = installed.run("tinyos-repl", "-c", "*s")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no kernel is named: give TinyOS's kernel.elf, or set TINYOS_KERNEL to it" in done.stderr
    assert done.stderr.count("\n") == 1
