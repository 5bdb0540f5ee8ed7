"""Memory read without GDB: the same by every way to the stub, and GDB never gets out of step."""

import json
import sys
import textwrap

import pytest

from gdbplugin.session import QemuOptions, TinyOS
from tests.debugger.conftest import gdb
from tests.debugger.stub_proxy import StubProxy
from tests.debugger.test_packets import with_other_build_id

FIND = "from gdbplugin.debugger.packets import StubSocket"
IS_DIRECT = f"python {FIND}; print('direct', StubSocket.find(gdb.selected_inferior().connection) is not None)"
TRANSLATE = "tinyos translate 0xffff800000080000"
# Connects the standard input and output of GDB's `target remote |` with a stub's socket.
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
    """TinyOS with its tasks held, so that one GDB after another sees the same."""
    with TinyOS.boot(kernel_elf, options=QemuOptions(kernel=kernel_elf, gdb_port=0)) as machine:
        machine.shell("hold")
        yield machine


def maps(address, elf, *before):
    """The map as JSON, and whether GDB's socket was found."""
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


def test_packets_that_gdb_logs_go_through_gdb(held, kernel_elf, tmp_path):
    log = tmp_path / "log"
    with StubProxy(tmp_path, held.qemu.gdb_address) as proxy:
        logged, _ = maps(proxy.address, kernel_elf, f"set remotelogfile {log}")
        assert proxy.most_at_once == 1
    assert logged == maps(held.qemu.gdb_address, kernel_elf)[0]
    assert "$m" in log.read_text()


def test_two_machines_are_kept_apart(held, shared_machine, kernel_elf, tmp_path):
    """One of them through a program, whose command line ends like the other's address."""
    own, other = held.qemu.gdb_address, shared_machine.qemu.gdb_address
    with StubProxy(tmp_path, own) as proxy:
        bridge = tmp_path / "bridge.py"
        bridge.write_text(BRIDGE)
        done = gdb(
            f"target remote | {sys.executable} {bridge} {proxy.address}",
            "tinyos maps --json",
            "add-inferior -no-connection",
            "inferior 2",
            f"file {kernel_elf}",
            f"target remote {other}",
            "tinyos stats --json",
            IS_DIRECT,
            "inferior 1",
            IS_DIRECT,
            "stepi",
            "tinyos maps --json",
            elf=kernel_elf,
        )
    found = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    assert [one["schema"] for one in found] == ["tinyos.maps/1", "tinyos.stats/1", "tinyos.maps/1"], done
    assert found[0]["mappings"] == found[2]["mappings"]
    assert "direct True" not in done.output


@pytest.mark.parametrize(
    ("details", "leads"),
    [
        ("{path}", True),
        ("{folder}/./{name}", True),
        ("{folder}/other/{name}", False),
        ("| socat - {path}", False),
        ("/dev/ttyUSB0", False),
        ("udp:localhost:{name}", False),
        ("", False),
    ],
)
def test_gdbs_socket_is_recognised(kernel_elf, held, tmp_path, details, leads):
    with StubProxy(tmp_path, held.qemu.gdb_address) as proxy:
        said = details.format(path=proxy.address, folder=tmp_path, name="proxy")
        done = gdb(
            f"target remote {proxy.address}",
            "python from gdbplugin.debugger import packets as s",
            f"python print('leads', any(s._leads_to(number, {said!r}) for number in s._descriptors()))",
            elf=kernel_elf,
        )
    assert f"leads {leads}" in done.output.splitlines(), done


def inside(address, elf, directory, script):
    """The outcome of a script in a connected GDB."""
    file = directory / "script.py"
    file.write_text(textwrap.dedent(script))
    return gdb(f"target remote {address}", TRANSLATE, f"source {file}", TRANSLATE, elf=elf)


def test_ctrl_c_during_an_exchange_comes_after_it(held, kernel_elf, tmp_path):
    done = inside(
        held.qemu.gdb_address,
        kernel_elf,
        tmp_path,
        """
        import gdb, os, signal
        from gdbplugin.debugger import packets
        answers = packets._answers
        def interrupted(*arguments):
            os.kill(os.getpid(), signal.SIGINT)
            return answers(*arguments)
        gdb.execute("tinyos maps --limit 3", to_string=True)
        before = gdb.execute("tinyos maps --json", to_string=True)
        gdb.execute("maint flush register-cache"); gdb.execute("monitor info status", to_string=True)
        packets._answers = interrupted
        try:
            gdb.execute("tinyos maps --json", to_string=True)
            print("not interrupted")
        except (KeyboardInterrupt, gdb.error) as error:
            print("interrupted", type(error).__name__)
        packets._answers = answers
        print("same", gdb.execute("tinyos maps --json", to_string=True) == before)
        print("masked", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        gdb.execute("maint packet qqemu.PhyMemMode")
        """,
    )
    assert 'received: "0"' in done.output
    lines = done.output.splitlines()
    assert any(line.startswith("interrupted ") for line in lines), done
    assert "same True" in lines
    assert "masked False" in lines
    assert done.output.count("→ physical 0x80000") == 2


def test_ctrl_c_before_an_exchange_is_harmless(held, kernel_elf, tmp_path):
    done = inside(
        held.qemu.gdb_address,
        kernel_elf,
        tmp_path,
        """
        import gdb, os, signal
        from gdbplugin.debugger import guards, machine, packets
        deferred = guards.sigint_deferred
        def interrupted():
            os.kill(os.getpid(), signal.SIGINT)
            return deferred()
        machine.sigint_deferred = packets.sigint_deferred = interrupted
        gdb.execute("monitor info status", to_string=True)
        try:
            gdb.execute("tinyos maps --json", to_string=True)
        except (KeyboardInterrupt, gdb.error):
            print("interrupted")
        machine.sigint_deferred = packets.sigint_deferred = deferred
        """,
    )
    assert "interrupted" in done.output.splitlines()
    assert done.output.count("→ physical 0x80000") == 2


def test_ctrl_c_during_packets_through_gdb_restores_the_mode(held, kernel_elf, tmp_path):
    script = """
        import gdb, os, signal
        from gdbplugin.debugger import packets
        send = packets._send
        def interrupted(connection, packet):
            answer = send(connection, packet)
            if packet.startswith("Qqemu.PhyMemMode:1"):
                os.kill(os.getpid(), signal.SIGINT)
            return answer
        packets._send = interrupted
        gdb.execute("monitor info status", to_string=True)
        try:
            gdb.execute("tinyos maps --json", to_string=True)
        except (KeyboardInterrupt, gdb.error):
            print("interrupted")
        packets._send = send
        gdb.execute("maint packet qqemu.PhyMemMode")
        """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script))
    log = f"set remotelogfile {tmp_path / 'log'}"
    connect = f"target remote {held.qemu.gdb_address}"
    done = gdb(log, connect, TRANSLATE, f"source {file}", TRANSLATE, elf=kernel_elf)
    assert "interrupted" in done.output.splitlines()
    assert 'received: "0"' in done.output
    assert done.output.count("→ physical 0x80000") == 2


@pytest.mark.parametrize("seconds", [1, -1, 2_147_483])
def test_any_timeout_of_gdb_works(held, kernel_elf, seconds):
    connect = f"target remote {held.qemu.gdb_address}"
    done = gdb(connect, f"set remotetimeout {seconds}", TRANSLATE, elf=kernel_elf)
    assert "→ physical 0x80000" in done.output, done


def test_an_interrupted_exchange_closes_the_connection(held, kernel_elf, tmp_path):
    done = inside(
        held.qemu.gdb_address,
        kernel_elf,
        tmp_path,
        """
        import gdb
        from gdbplugin.debugger import packets
        def broken_off(*arguments):
            raise KeyboardInterrupt
        packets._answers = broken_off
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
    """A proxy that gives every memory packet the same answer."""

    said = b""

    def _answer(self, packet):
        if not self.packets.count("qqemu.PhyMemMode"):
            return None
        # QEMU's own answers would come later and out of order.
        return b"+$OK#9a" if packet.startswith("Qqemu") else self.said if packet.startswith("m") else None


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "the connection to the target was lost: the debug stub did not answer within 3 s"),
        (
            b"+hello#00",
            "the connection to the target was lost: the debug stub sent b'+hello' instead of an answer",
        ),
        (b"+$zz#f4", "the debug stub does not read it"),
        (b"+$E14#aa", "the debug stub does not read it"),
        (b"+$#00", "the debug stub does not read it"),
    ],
)
def test_a_wrong_answer_is_one_line(held, kernel_elf, tmp_path, said, error):
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


def test_each_machine_has_its_own_program_and_past(held, shared_machine, kernel_elf, tmp_path):
    """Two machines and two files: a file of another name is another program with its own layout."""
    other_elf = tmp_path / "other.elf"
    other_elf.write_bytes(with_other_build_id(kernel_elf))
    done = gdb(
        f"target remote {held.qemu.gdb_address}",
        "add-inferior -no-connection",
        "inferior 2",
        f"file {other_elf}",
        f"target remote {shared_machine.qemu.gdb_address}",
        "tinyos stats",
        f"file {kernel_elf}",
        *("inferior 1", "tinyos stats", *(2 * ("thbreak shell_interrupted", "continue"))),
        *("inferior 2", "tinyos stats", "tinyos stress --last"),
        *("inferior 1", "tinyos stats"),
        elf=kernel_elf,
    )
    first, *others = (line for line in done.output.splitlines() if line.startswith("Counters"))
    assert first == others[0] == "Counters (rates come with a second look, at a later stop)"
    assert others[1].startswith("Counters, and what changed in ")
    assert f"{other_elf} is not what the machine runs" in done.errors
    assert "no stress test has run" in done.errors
