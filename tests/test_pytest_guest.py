"""The pytest plugin in projects that do not use it, and in each pytest from 7.0 to the newest.

Each pytest is fetched once, into a folder of its own in `build/pytests`. It sees nothing of this environment
except what a test names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

import pytest

from gdbplugin import pytest_plugin

# One worker fetches each pytest once.
pytestmark = pytest.mark.xdist_group("pytest-guest")

_TOP = Path(__file__).resolve().parents[1]
_PYTESTS = {
    "7.0": ("pytest==7.0.0", "pluggy==1.0.0"),
    "7.2": ("pytest==7.2.1", "pluggy==1.0.0"),  # Debian 12's own.
    "8.0": ("pytest==8.0.0",),
    "newest": ("pytest",),
}
_PASSES = "def test_passes():\n    pass\n"


def _fetched(name: str) -> Path:
    """The folder of a pytest and its dependencies; skips the test if it cannot be fetched."""
    folder = _TOP / "build" / "pytests" / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(
        [*install, "--target", unfinished, *_PYTESTS[name], "pytest-xdist>=3.5"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        pytest.skip(f"pytest {name} cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    unfinished.rename(folder)
    return folder


def _require_passing(folder: Path) -> None:
    """Skip the test if that pytest alone warns or fails on this Python: 7 does from 3.13 on."""
    with tempfile.TemporaryDirectory() as project:
        Path(project, "test_it.py").write_text("import os\ndef test_it():\n    assert os.name == os.name\n")
        command = [sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
        environment = os.environ | {"PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the pytest of {folder.name} does not run on this Python without warnings")


class Project:
    """Another project, with its own pytest, where our package is installed."""

    def __init__(self, folder: Path, pytest_folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / "test_it.py").write_text(_PASSES)
        self._path = [pytest_folder, folder, _TOP]
        # A package's metadata, as pip installs it: its name, and its entry points.
        metadata = folder / "tinyos_gdb-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tinyos-gdb\nVersion: 0.1.0\n")
        points = tomllib.loads((_TOP / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
        lines = [f"{name} = {value}\n" for name, value in points.items()]
        (metadata / "entry_points.txt").write_text("[pytest11]\n" + "".join(lines))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run its pytest, without this environment and this run's settings."""
        path = os.pathsep.join(map(str, self._path))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return subprocess.run(
            [sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.folder,
            env=ours | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def use_our_packages(self) -> None:
        """Add the plugin's dependencies to the path, after the project's own pytest."""
        self._path.append(Path(sysconfig.get_path("purelib")))


@pytest.fixture(scope="module", params=list(_PYTESTS))
def pytest_folder(request: pytest.FixtureRequest) -> Path:
    """Each pytest that runs on this Python."""
    folder = _fetched(request.param)
    _require_passing(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, pytest_folder: Path) -> Project:
    """A project with each pytest."""
    return Project(tmp_path, pytest_folder)


def test_unused_it_imports_only_its_own_file() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import gdbplugin.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(_TOP)},
    )
    assert done.stdout.split() == ["gdbplugin", "gdbplugin.pytest_plugin"]


def test_its_hooks_use_only_what_pluggy_1_0_has() -> None:
    hooks = {name: getattr(value, "pytest_impl", {}) for name, value in vars(pytest_plugin).items()}
    known = {"hookwrapper", "optionalhook", "specname", "tryfirst", "trylast"}
    assert {option for options in hooks.values() for option in options if options[option]} <= known


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-n", "1"),
        ("-p", "no:tinyos"),
        ("-p", "no:gdbplugin.pytest_plugin"),
        ("-W", "error"),
        ("--strict-config", "--strict-markers"),
    ],
    ids=" ".join,
)
def test_a_project_that_does_not_use_it_passes(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 passed" in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.parametrize("argument", ["--fixtures", "--help", "--version"])
def test_pytest_still_explains_itself(project: Project, argument: str) -> None:
    done = project.run(argument)
    assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "Traceback (most" not in done.stdout + done.stderr
    assert ("tinyos" in done.stdout) == (argument != "--version")


def test_without_autoload_it_is_not_loaded(project: Project) -> None:
    done = project.run("--tinyos-kernel=x", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --tinyos-kernel=x" in done.stderr
    assert project.run(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1").returncode == 0


def test_a_projects_own_fixtures_and_options_come_first(project: Project) -> None:
    (project.folder / "pytest.ini").write_text("[pytest]\nmarkers = tinyos: x\naddopts = --tinyos-speed=3\n")
    (project.folder / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_addoption(parser): parser.addoption('--tinyos-speed', type=int)\n"
        "@pytest.fixture\n"
        "def tinyos(request): return request.config.getoption('--tinyos-speed')\n"
    )
    (project.folder / "test_it.py").write_text(
        "import pytest\n@pytest.mark.tinyos\ndef test_it(tinyos):\n    assert tinyos == 4\n"
    )
    done = project.run("-W", "error", "--strict-markers")
    assert "assert 3 == 4" in done.stdout
    assert "TinyOS" not in done.stdout


def test_a_project_with_the_same_option_can_turn_it_off(project: Project) -> None:
    (project.folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:tinyos\n")
    (project.folder / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--tinyos-kernel')\n"
    )
    assert project.run("--tinyos-kernel=mine").returncode == 0


def test_a_failure_in_a_project_shows_its_machine(project: Project, kernel_elf: Path) -> None:
    project.use_our_packages()
    (project.folder / "test_it.py").write_text(
        "def test_it(tinyos):\n    assert 'total_dynamic_stacks' not in tinyos.shell('*s')\n"
    )
    given = ("-p", "gdbplugin.pytest_plugin", f"--tinyos-kernel={kernel_elf}", "-W", "error")
    done = project.run(*given, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    for title in ("report", "events", "console"):
        assert f" TinyOS {title} (tinyos) " in done.stdout
    assert "total_dynamic_stacks" in done.stdout
