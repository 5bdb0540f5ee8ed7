"""Sessions opened and closed in a row, well and badly, leave nothing behind."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbplugin.session import EndedError, QemuOptions, TinyOS
from tests.soak.traces import Traces

FEW, MANY = 20, 200


class _OnPurposeError(Exception):
    """What a test raises in a session."""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A word that every process started by this test carries in its environment."""
    word = f"soak-{uuid.uuid4().hex}"
    monkeypatch.setenv("TINYOS_SOAK", word)
    return word


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, used by this test alone; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="soak-") as path:
        monkeypatch.setattr(tempfile, "tempdir", path)
        yield Path(path)


def _paused(elf: Path, **options: object) -> TinyOS:
    return TinyOS.boot(elf, options=QemuOptions(elf, paused=True, **options))  # type: ignore[arg-type]


def _opened_and_closed(elf: Path) -> None:
    with _paused(elf):
        pass


def _with_gdb(elf: Path) -> None:
    with _paused(elf) as tinyos, tinyos.stopped() as gdb:
        assert "CPU#3" in gdb.execute("info threads")


def _on_a_port(elf: Path) -> None:
    with _paused(elf, gdb_port=0) as tinyos:
        assert tinyos.qemu.gdb_address.startswith("127.0.0.1:")


def _left_by_an_exception(elf: Path) -> None:
    with pytest.raises(_OnPurposeError), _paused(elf) as tinyos, tinyos.stopped():
        raise _OnPurposeError


def _refused_by_qemu(elf: Path) -> None:
    with pytest.raises(EndedError, match="no-such-option"):
        _paused(elf, extra=("-no-such-option",))


def _with_gdb_killed(elf: Path) -> None:
    with _paused(elf) as tinyos, tinyos.stopped() as gdb:
        os.kill(gdb.pid, signal.SIGKILL)


def _with_qemu_killed(elf: Path) -> None:
    with _paused(elf) as tinyos, tinyos.stopped():
        os.kill(tinyos.qemu.pid, signal.SIGKILL)


def _up_to_the_prompt(elf: Path) -> None:
    with TinyOS.boot(elf) as tinyos:
        assert "total_dynamic_stacks" in tinyos.shell("*s")


def _watched(elf: Path) -> None:
    with TinyOS.boot(elf) as tinyos, tinyos.watch() as watch:
        assert watch.snapshot().stats is not None


_OFTEN = (
    _opened_and_closed,
    _with_gdb,
    _on_a_port,
    _left_by_an_exception,
    _refused_by_qemu,
    _with_gdb_killed,
    _opened_and_closed,
    _with_qemu_killed,
    _on_a_port,
)
_SELDOM = (_up_to_the_prompt, _watched)


def _kinds(count: int) -> Iterator[Callable[[Path], None]]:
    """Sessions of every kind; a tenth of them boot the kernel."""
    for number in range(count):
        turn, place = divmod(number, len(_OFTEN) + 1)
        yield _SELDOM[turn % len(_SELDOM)] if place == len(_OFTEN) else _OFTEN[place]


def test_many_sessions_leave_nothing_behind(
    kernel_elf: Path, folder: Path, mark: str, request: pytest.FixtureRequest
) -> None:
    kinds = list(_kinds(MANY if request.config.getoption("--soak") else FEW))
    assert set(kinds) == {*_OFTEN, *_SELDOM}
    for kind in dict.fromkeys(kinds):  # What is imported or cached at the first use stays.
        kind(kernel_elf)
    before = Traces.look(folder, mark)
    assert not before.processes
    assert not before.files
    for kind in kinds:
        kind(kernel_elf)
        # At once, for what goes away only later may add up where more is asked for in that time.
        now = Traces.look(folder, mark)
        assert now == before, kind.__name__


def test_sessions_side_by_side_leave_nothing_behind(kernel_elf: Path, folder: Path, mark: str) -> None:
    _opened_and_closed(kernel_elf)  # As above.
    before = Traces.look(folder, mark)
    sessions = [_paused(kernel_elf, gdb_port=0 if number % 2 else None) for number in range(6)]
    try:
        addresses = {session.qemu.gdb_address for session in sessions}
        assert len(addresses) == len(sessions)
        assert len(Traces.look(folder, mark).processes) == len(sessions)
    finally:
        for session in sessions:
            session.close()
    assert Traces.look(folder, mark) == before
