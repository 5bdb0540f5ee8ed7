"""Memory past GDB: the same by every way to the stub, in step with GDB whatever comes in between."""

import os
import socket
import sys
import textwrap

import pytest

from gdbplugin.session import QemuOptions, TinyOS
from tests.debugger.conftest import gdb
from tests.debugger.stub_proxy import StubProxy

FIND = "from gdbplugin.debugger.stub_socket import StubSocket"
IS_DIRECT = f"python {FIND}; print('direct', StubSocket.find(gdb.selected_inferior().connection) is not None)"
TRANSLATE = "tinyos translate 0xffff800000080000"
# Between standard input and output, which GDB's `target remote |` has, and a stub's socket.
BRIDGE = """
import os, socket, sys, threading
stub = socket.socket(socket.AF_UNIX); stub.connect(sys.argv[1])
def copy(read, write):
    while data := read():
        write(data)
back = (lambda: stub.recv(65536), lambda data: os.write(1, data))
threading.Thread(target=copy, args=back, daemon=True).start()
copy(lambda: os.read(0, 65536), stub.sendall)
"""


@pytest.fixture(scope="module")
def held(kernel_elf):
    """TinyOS with its tasks held still, so that two GDBs one after the other see the same."""
    with TinyOS.boot(kernel_elf, options=QemuOptions(kernel=kernel_elf, gdb_port=0)) as machine:
        machine.shell("hold")
        yield machine


def maps(address, elf, *before):
    """A map as JSON, and whether GDB's socket was found."""
    done = gdb(*before, f"target remote {address}", IS_DIRECT, "tinyos maps --json", elf=elf)
    assert done.errors == ""
    lines = done.output.splitlines()
    (found,) = (line for line in lines if line.startswith("{"))
    return found, "direct True" in lines


def test_every_way_to_the_stub_gives_the_same(held, kernel_elf, tmp_path):
    address = held.qemu.gdb_address
    by_tcp, is_direct = maps(address, kernel_elf)
    assert is_direct
    with StubProxy(tmp_path, address) as proxy:
        assert maps(proxy.address, kernel_elf) == (by_tcp, True)
        assert proxy.most_at_once >= 4
        bridge = tmp_path / "bridge.py"
        bridge.write_text(BRIDGE)
        assert maps(f"| {sys.executable} {bridge} {proxy.address}", kernel_elf) == (by_tcp, False)


def test_what_gdb_is_to_log_goes_through_gdb(held, kernel_elf, tmp_path):
    log = tmp_path / "log"
    with StubProxy(tmp_path, held.qemu.gdb_address) as proxy:
        logged, _ = maps(proxy.address, kernel_elf, f"set remotelogfile {log}")
        assert proxy.most_at_once == 1
    assert logged == maps(held.qemu.gdb_address, kernel_elf)[0]
    assert "$m" in log.read_text()


def test_another_socket_of_that_name_is_never_taken_for_gdbs(held, kernel_elf, tmp_path):
    other = tmp_path / "other" / "proxy"
    other.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, StubProxy(tmp_path, held.qemu.gdb_address) as proxy:
        listener.bind(str(other))
        listener.listen(1)
        assert os.path.basename(proxy.address) == other.name
        connect = f"python import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(other)!r})"
        found, is_direct = maps(proxy.address, kernel_elf, connect)
    assert not is_direct
    assert found == maps(held.qemu.gdb_address, kernel_elf)[0]


def inside(address, elf, directory, script):
    """What a script prints in a GDB that is connected, and what GDB complains of."""
    file = directory / "script.py"
    file.write_text(textwrap.dedent(script))
    return gdb(f"target remote {address}", TRANSLATE, f"source {file}", TRANSLATE, elf=elf)


def test_ctrl_c_amid_an_exchange_comes_behind_it(held, kernel_elf, tmp_path):
    done = inside(
        held.qemu.gdb_address,
        kernel_elf,
        tmp_path,
        """
        import gdb, os, signal
        from gdbplugin.debugger import stub_socket
        received = stub_socket._received
        def interrupted(*arguments):
            os.kill(os.getpid(), signal.SIGINT)
            return received(*arguments)
        gdb.execute("tinyos maps --limit 3", to_string=True)
        before = gdb.execute("tinyos maps --json", to_string=True)
        gdb.execute("maint flush register-cache"); gdb.execute("monitor info status", to_string=True)
        stub_socket._received = interrupted
        try:
            gdb.execute("tinyos maps --json", to_string=True)
            print("not interrupted")
        except (KeyboardInterrupt, gdb.error) as error:
            print("interrupted", type(error).__name__)
        stub_socket._received = received
        print("same", gdb.execute("tinyos maps --json", to_string=True) == before)
        print("masked", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        """,
    )
    lines = done.output.splitlines()
    assert any(line.startswith("interrupted ") for line in lines), done
    assert "same True" in lines
    assert "masked False" in lines
    assert done.output.count("→ physical 0x80000") == 2


def test_an_exchange_broken_off_ends_the_connection_rather_than_mislead_gdb(held, kernel_elf, tmp_path):
    done = inside(
        held.qemu.gdb_address,
        kernel_elf,
        tmp_path,
        """
        import gdb
        from gdbplugin.debugger import stub_socket
        def broken_off(*arguments):
            raise KeyboardInterrupt
        stub_socket._received = broken_off
        gdb.execute("monitor info status", to_string=True)
        try:
            gdb.execute("tinyos maps", to_string=True)
        except (KeyboardInterrupt, gdb.error):
            print("interrupted")
        """,
    )
    assert "interrupted" in done.output.splitlines()
    assert done.output.count("→ physical 0x80000") == 1
    assert "connection" in done.errors or "there is no target" in done.errors
    assert "Traceback" not in done.errors


class Instead(StubProxy):
    """A go-between that answers every packet for memory with the same."""

    said = b""

    def _answer(self, packet):
        return self.said if packet.startswith("m") and self.packets.count("qqemu.PhyMemMode") else None


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "the connection to the target was lost: the debug stub did not answer within 3 s"),
        (
            b"+hello#00",
            "the connection to the target was lost: the debug stub said b'+hello' instead of an answer",
        ),
        (b"+$zz#f4", "there is no memory"),
        (b"+$E14#aa", "there is no memory"),
        (b"+$#00", "there is no memory"),
    ],
)
def test_what_is_no_answer_is_one_line(held, kernel_elf, tmp_path, said, error):
    with Instead(tmp_path, held.qemu.gdb_address) as proxy:
        proxy.said = said
        done = gdb(
            f"target remote {proxy.address}",
            "set remotetimeout 1",
            "thread 2",
            "tinyos report",
            elf=kernel_elf,
        )
    (line,) = (
        line for line in done.errors.splitlines() if "warning" not in line and "Cannot access" not in line
    )
    assert error in line
