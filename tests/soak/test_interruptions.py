"""GDB killed, QEMU killed, the connection cut in the middle of each command: one clear error, a clean end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbplugin.session import EndedError, SessionError, TinyOS
from tests.debugger.stub_proxy import StubProxy
from tests.session.processes import is_alive

COMMANDS = (
    *("stats", "stacks", "lazy", "pressure", "context", "events", "report", "check"),
    *("translate 0x200000003008", "maps", "registers", "fault"),
)
TYPED: dict[str, Callable[[TinyOS], object]] = {
    "stats": lambda session: session.stats(),
    "report": lambda session: session.report(),
    "maps": lambda session: session.maps(),
    "registers": lambda session: session.registers(),
    "run_until": lambda session: session.run_until("stack-growth", timeout=10),
}
FEW = ("report", "translate 0x200000003008", "maps")
MARK = "qTinyOSMark"
# Machines in one worker, so that they do not slow each other down.
pytestmark = pytest.mark.xdist_group("interruptions")


class Striking(StubProxy):
    """A go-between that does something, `strike`, instead of losing the connection where it is to."""

    strike: Callable[[], None] | None = None
    struck = False

    def _is_lost(self, packet: str) -> bool:
        lost = super()._is_lost(packet)
        self.struck = self.struck or lost
        if lost and self.strike is not None:
            self.strike()
            return False
        return lost


@contextlib.contextmanager
def between(machine: TinyOS, folder: Path) -> Iterator[tuple[Striking, TinyOS]]:
    """A session attached by a go-between, which strikes at the first packet of the next command."""
    (folder / "proxy").unlink(missing_ok=True)
    with (
        Striking(folder, machine.qemu.gdb_address, armed_by=MARK, lose_at=1) as proxy,
        TinyOS.attach(proxy.address, machine.kernel.path) as session,
    ):
        session.gdb(f"maint packet {MARK}")
        yield proxy, session


def _fails(session: TinyOS, command: str) -> SessionError:
    with pytest.raises(SessionError) as caught:
        session.gdb(f"tinyos {command}", timeout=10)
    assert "\n" not in caught.value.message.strip()
    return caught.value


@pytest.mark.parametrize("command", COMMANDS)
def test_gdb_killed(shared_machine: TinyOS, tmp_path: Path, command: str) -> None:
    with between(shared_machine, tmp_path) as (proxy, session):
        pid = session.debugger.pid
        proxy.strike = lambda: os.kill(pid, signal.SIGKILL)
        error = _fails(session, command)
        assert proxy.struck
        assert isinstance(error, EndedError)
        assert error.message == "GDB was killed by SIGKILL"
        assert session.ended is not None
        assert session.ended.message == error.message
    assert not is_alive(pid)
    assert is_alive(shared_machine.qemu.pid)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_connection_cut(shared_machine: TinyOS, tmp_path: Path, command: str) -> None:
    with between(shared_machine, tmp_path) as (proxy, session):
        pid = session.debugger.pid
        error = _fails(session, command)
        assert proxy.struck
        assert isinstance(error, EndedError)
        assert error.message == f"the connection to {proxy.address} was lost"
        # GDB itself is well, and says so as often as it is asked.
        assert session.gdb("echo hello") == "hello"
        assert _fails(session, command).message == error.message
    assert not is_alive(pid)


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("kills", [True, False], ids=["gdb killed", "connection cut"])
def test_a_typed_result_that_cannot_be_had(
    shared_machine: TinyOS, tmp_path: Path, name: str, kills: bool
) -> None:
    with between(shared_machine, tmp_path) as (proxy, session):
        pid = session.debugger.pid
        proxy.strike = (lambda: os.kill(pid, signal.SIGKILL)) if kills else None
        lost = "GDB was killed by SIGKILL" if kills else f"the connection to {proxy.address} was lost"
        with pytest.raises(EndedError) as caught:
            TYPED[name](session)
        assert proxy.struck
        assert caught.value.message == lost
    assert not is_alive(pid)


@pytest.mark.parametrize("command", COMMANDS)
def test_qemu_killed(kernel_elf: Path, tmp_path: Path, command: str, request: pytest.FixtureRequest) -> None:
    if command not in FEW and not request.config.getoption("--soak"):
        pytest.skip("a machine for each command takes long: --soak")
    with TinyOS.boot(kernel_elf) as machine, between(machine, tmp_path) as (proxy, session):
        pids = [machine.qemu.pid, session.debugger.pid]
        proxy.strike = lambda: os.kill(pids[0], signal.SIGKILL)
        error = _fails(session, command)
        assert proxy.struck
        assert error.message == f"the connection to {proxy.address} was lost"
        # Whose QEMU it was can say more.
        with pytest.raises(EndedError, match="QEMU was killed by SIGKILL"):
            machine.gdb(f"tinyos {command}")
        assert machine.ended is not None
    assert not any(map(is_alive, pids))
