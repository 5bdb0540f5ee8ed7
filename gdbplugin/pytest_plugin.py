"""The pytest plugin: machines with TinyOS as fixtures, and their state in the report of a failed test.

pytest loads it wherever the package is installed (entry point `pytest11`), also in projects that never use
it, and in any version of pytest. So it imports only what pytest has loaded already, loads sessions only when
a test asks for one, and uses only what pytest 7.0 and pluggy 1.0 have.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gdbplugin.session import SessionError, TinyOS
    from gdbplugin.session.gdb import Gdb

# Titles and texts, as in pytest's reports.
Sections = list[tuple[str, str]]
_PROGRAMS = {"--tinyos-qemu": "TINYOS_QEMU", "--tinyos-gdb": "TINYOS_GDB"}
_EVENTS = 20
_CONSOLE_LINES = 40
_EVIDENCE_SECONDS = 10.0
_DUMP, _PAGE = "failure.dump", "failure.html"
_LONGEST_NAME = 120
_DIRECTORIES: pytest.StashKey[pytest.TempPathFactory] = pytest.StashKey()
_OWN_DIRECTORY: pytest.StashKey[Path] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose the kernel and the programs."""
    group = parser.getgroup("tinyos", "TinyOS in QEMU, with GDB")
    group.addoption("--tinyos-kernel", metavar="ELF", help="the kernel to boot (else $TINYOS_KERNEL)")
    group.addoption("--tinyos-qemu", metavar="PROGRAM", help="QEMU (else $TINYOS_QEMU, qemu-system-aarch64)")
    group.addoption("--tinyos-gdb", metavar="PROGRAM", help="GDB (else $TINYOS_GDB, gdb-multiarch)")
    group.addoption("--tinyos-record", action="store_true", help="record each machine, for `history`")
    group.addoption(
        "--tinyos-dumps",
        metavar="DIR",
        help="where a failed test's machines are dumped (else in its tmp_path); `none` for no dumps",
    )
    group.addoption(
        "--tinyos-report",
        action="store_true",
        help="write a report of a failed test's machines as pages of HTML, beside their dumps",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make every session of this run use the programs that were named."""
    for option, variable in _PROGRAMS.items():
        named = config.getoption(option)
        if named is None:
            continue
        path = shutil.which(named)
        if path is None:
            raise pytest.UsageError(f"{option}={named} is not a program")
        # Absolute, as a test may change the working directory.
        config.add_cleanup(_set_for_now(variable, os.path.abspath(path)))


def _set_for_now(variable: str, value: str) -> Any:
    """Set an environment variable; returns a function that restores it."""
    before = os.environ.get(variable)
    os.environ[variable] = value

    def restore() -> None:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before

    return restore


class Boot:
    """Boots machines with the test's own `QemuOptions`; they are ended after it."""

    def __init__(self, kernel: Path, record: bool = False, page: bool = False) -> None:
        """`record` them, and write a `page` of each one's state if the test fails."""
        self._kernel = kernel
        self._record = record
        self._page = page
        self.machines: list[TinyOS] = []

    def __call__(self, *, timeout: float = 30.0, **options: object) -> TinyOS:
        """Boot one more machine; `options` are fields of `QemuOptions`.

        Raises a `SessionError`, also if the kernel has no prompt within `timeout` seconds.
        """
        from gdbplugin.session import QemuOptions, TinyOS

        wanted = QemuOptions(**{"kernel": self._kernel, **options})  # type: ignore[arg-type]
        machine = TinyOS.boot(self._kernel, options=wanted, record=self._record, timeout=timeout)
        self.machines.append(_observed(machine, self._page))
        return self.machines[-1]

    def close(self) -> None:
        """End them all."""
        for machine in self.machines:
            machine.close()


@pytest.fixture(scope="session")
def tinyos_kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel's ELF: `--tinyos-kernel`, $TINYOS_KERNEL, or the one built in this checkout."""
    # Every machine needs a kernel: so a failed test's dump has a place also if the test has no `tmp_path`.
    request.config.stash[_DIRECTORIES] = tmp_path_factory
    from gdbplugin.session import SessionError
    from gdbplugin.session.kernel_file import default_kernel

    try:
        path = Path(request.config.getoption("--tinyos-kernel") or default_kernel()).resolve()
    except SessionError as error:
        raise _failure(error) from None
    if not path.is_file():
        pytest.fail(f"no kernel at {path}: give one with --tinyos-kernel ELF", pytrace=False)
    return path


@pytest.fixture
def tinyos(tinyos_kernel: Path, request: pytest.FixtureRequest) -> Iterator[TinyOS]:
    """A machine for this test alone, at the kernel's prompt."""
    yield from _booted(tinyos_kernel, request)


@pytest.fixture(scope="module")
def shared_tinyos(tinyos_kernel: Path, request: pytest.FixtureRequest) -> Iterator[TinyOS]:
    """A machine for the tests of one module, which must leave it running and as they found it."""
    yield from _booted(tinyos_kernel, request)


@pytest.fixture
def boot_tinyos(tinyos_kernel: Path, request: pytest.FixtureRequest) -> Iterator[Boot]:
    """Boots machines with the test's own `QemuOptions`: `boot_tinyos(paused=True)`."""
    boot = Boot(tinyos_kernel, _is_recorded(request), _has_page(request.config))
    yield boot
    boot.close()


def _is_recorded(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--tinyos-record"))


def _has_page(config: pytest.Config) -> bool:
    return bool(config.getoption("--tinyos-report"))


def _booted(kernel: Path, request: pytest.FixtureRequest) -> Iterator[TinyOS]:
    from gdbplugin.session import SessionError, TinyOS

    try:
        machine = TinyOS.boot(kernel, record=_is_recorded(request))
    except SessionError as error:
        raise _failure(error) from None
    with machine:
        yield _observed(machine, _has_page(request.config))


def _failure(error: SessionError) -> BaseException:
    # The traceback inside the session does not help the author of the test.
    return pytest.fail.Exception(str(error), pytrace=False)


# For each machine: a failed assertion and the state at that moment, kept until the test's report is made.
_kept: dict[TinyOS, tuple[BaseException, Sections]] = {}


def _observed(machine: TinyOS, page: bool) -> TinyOS:
    """Record a machine's state when an assertion fails while it is stopped, because it runs on afterwards."""

    def keep(error: BaseException) -> None:
        known, _ = _kept.get(machine, (None, []))
        if isinstance(error, AssertionError | pytest.fail.Exception) and error is not known:
            _kept[machine] = error, _state(machine, page)

    machine.on_failure = keep
    return machine


# Outermost: then the other plugins have decided whether this counts as a failure.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Attach the state of each of the test's machines to a failure."""
    outcome = yield
    # If another plugin failed to make the report, pytest reports that itself.
    if outcome.excinfo is None:
        _attach(outcome.get_result(), item, call)


def _attach(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if report.when == "teardown":
        return
    for name, machine in _machines_of(item):
        error, state = _kept.pop(machine, (None, []))
        if report.failed:
            if call.excinfo is None or error is not call.excinfo.value:
                state = _state(machine, _has_page(item.config))
            for title, text in [*state, *_files(item, name, machine), *_console(machine)]:
                report.sections.append((f"TinyOS {title} ({name})", text))


def _machines_of(item: pytest.Item) -> list[tuple[str, TinyOS]]:
    """The machines among the values of a test's fixtures, each once, with the fixture's name."""
    session = sys.modules.get("gdbplugin.session")
    if session is None:
        return []
    found: dict[int, tuple[str, TinyOS]] = {}
    for name, value in (getattr(item, "funcargs", None) or {}).items():
        for machine in value.machines if isinstance(value, Boot) else [value]:
            if isinstance(machine, session.TinyOS):
                found.setdefault(id(machine), (name, machine))
    return list(found.values())


def _state(machine: TinyOS, page: bool) -> Sections:
    """A machine's report, events and backtraces, or why there are none: the machine may be what failed.

    A dump, and a page if one is wanted, are left in the session's directory.
    """
    from gdbplugin.session import SessionError

    found = []
    commands = {
        "report": "tinyos report",
        "events": f"tinyos events {_EVENTS}",
        "backtraces": "tinyos backtrace --all",
    }
    try:
        with _stopped_for_a_moment(machine) as gdb:
            for title, command in commands.items():
                found.append((title, gdb.execute(command, _EVIDENCE_SECONDS)))
            if not machine.is_attached and machine.qemu.ram is not None:
                machine.dump(machine.qemu.directory / _DUMP, _EVIDENCE_SECONDS)
            if page and not machine.is_attached:
                found += _written_page(machine)
    except SessionError as error:
        found.append(("state", f"not available: {error.message}"))
    return found


def _written_page(machine: TinyOS) -> Sections:
    """Write the page into the session's directory; says so if it cannot be."""
    from gdbplugin.session import SessionError

    try:
        machine.report_file(machine.qemu.directory / _PAGE)
    except SessionError as error:
        return [("report file", f"not written: {error.message}")]
    return []


def _files(item: pytest.Item, fixture: str, machine: TinyOS) -> Sections:
    """Keep the dump and the page that were taken with the machine's state; says where they are."""
    if machine.is_attached:
        return []
    taken = [machine.qemu.directory / _PAGE]
    if item.config.getoption("--tinyos-dumps") != "none":
        taken.append(machine.qemu.directory / _DUMP)
    taken = [file for file in taken if file.is_file()]
    titles = {_DUMP: "dump", _PAGE: "report file"}
    found: Sections = []
    try:
        stem = _free_stem(item, fixture, [file.suffix for file in taken]) if taken else Path()
        for file in taken:
            place = stem.with_name(stem.name + file.suffix)
            shutil.move(file, place)
            how = (
                f"\nopen it with: tinyos-repl --dump {shlex.quote(str(place))}" if file.name == _DUMP else ""
            )
            found.append((titles[file.name], f"{place}{how}"))
    except OSError as error:
        missing = " and ".join(titles[file.name] for file in taken[len(found) :])
        found.append((missing, f"not written: {error}"))
    return found


def _free_stem(item: pytest.Item, fixture: str, suffixes: list[str]) -> Path:
    """A file's path but for its suffix, of which none of these is there yet.

    It is in the folder that was named for dumps, else in the test's own one.
    """
    named = item.config.getoption("--tinyos-dumps")
    if named not in (None, "none"):
        folder, name = Path(named).absolute(), f"{item.nodeid}-{fixture}"
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder, name = _own_directory(item), fixture
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-")[-_LONGEST_NAME:]
    stems = (folder / f"{stem}{number}" for number in itertools.chain([""], itertools.count(2)))
    return next(one for one in stems if not any(one.with_name(one.name + end).exists() for end in suffixes))


def _own_directory(item: pytest.Item) -> Path:
    """The test's `tmp_path`, or a directory like it, made only once."""
    own: Path | None = getattr(item, "funcargs", {}).get("tmp_path")
    if own is None and _OWN_DIRECTORY not in item.stash:
        name = re.sub(r"\W", "_", item.name)[:_LONGEST_NAME]
        item.stash[_OWN_DIRECTORY] = item.config.stash[_DIRECTORIES].mktemp(name)
    return own or item.stash[_OWN_DIRECTORY]


def _console(machine: TinyOS) -> Sections:
    """The last lines that the kernel has written."""
    lines = [] if machine.is_attached else machine.console.transcript.splitlines()
    return [("console", "\n".join(lines[-_CONSOLE_LINES:]))] if lines else []


@contextlib.contextmanager
def _stopped_for_a_moment(machine: TinyOS) -> Iterator[Gdb]:
    """A machine kept stopped in the `with`; afterwards it is as before: running, with its gdbstub free."""
    was_free = machine.running and not machine.has_debugger
    with machine.stopped() as gdb:
        yield gdb
    if was_free:
        machine.detach()
