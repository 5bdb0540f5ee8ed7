"""QEMU, running TinyOS's machine.

Every socket is opened here and passed to QEMU when it starts. So a busy port is an error at once, and the
console is connected before the kernel's first byte.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdbplugin import programs
from gdbplugin.session import begun, process
from gdbplugin.session import directory as names
from gdbplugin.session.directory import private_directory
from gdbplugin.session.errors import AddressInUseError, EndedError, SessionError, ToolMissingError
from gdbplugin.session.process import Pump
from gdbplugin.session.ram import MappedRam, RamUnavailableError
from gdbplugin.session.recorder import DEFAULT_RECORDS, Travel, option_value, recorder_arguments

if TYPE_CHECKING:
    from gdbplugin.session.kernel_file import KernelFile

MACHINE_FILE = Path(__file__).with_name("raspi4b.cfg")
"""In a checkout, a link to the file in qemu/."""
# Nanoseconds an instruction, as a power of two: about the speed of QEMU without a clock of instructions.
_RECORD_SHIFT = 3
# With -icount QEMU 10 hangs at a watchpoint. Without them GDB steps instead.
_SETTINGS_WITH_ICOUNT = ("set can-use-hw-watchpoints 0",)
_LOOPBACK = "127.0.0.1"
_READ_BYTES = 1 << 16
_START_SECONDS = 20.0
_COMMAND_SECONDS = 10.0


@dataclass(frozen=True)
class QemuOptions:
    """How QEMU is started."""

    kernel: Path
    """An ELF, entered at EL3 on every core, or a flat image, entered at EL2 on core 0."""
    gdb_port: int | None = None
    """The gdbstub's TCP port on the loopback; 0: any free port; None: a socket in `directory`."""
    icount_shift: int | None = None
    """N makes the guest's clock count its instructions, at 2**N ns each."""
    paused: bool = False
    """Wait for a debugger before the first instruction."""
    share_ram: bool = True
    """Map the guest's RAM in this process too. `savevm` is faster without: it reads every page of the 2 GiB,
    and in shared RAM even a page that was only read takes up memory."""
    record: bool = False
    """Record what the guest writes to translation tables and to the kernel's records, so that `history` can
    tell, and keep checkpoints to go back to: see `rewind`. The guest's clock then counts instructions."""
    host_clock: bool = False
    """With `record`: leave the guest the host's clock, so that several cores can work at once. Then the
    machine cannot go back."""
    records: int = DEFAULT_RECORDS
    """Records that the recording has room for, of 80 bytes each; the oldest ones are overwritten."""
    extra: tuple[str, ...] = ()
    """Further arguments, passed unchanged."""

    @property
    def goes_back(self) -> bool:
        """Whether the machine can go back to what is recorded."""
        return self.record and not self.host_clock

    @property
    def shift(self) -> int | None:
        """`icount_shift`, or the one of a machine that can go back."""
        return _RECORD_SHIFT if self.goes_back and self.icount_shift is None else self.icount_shift


def find_qemu() -> str:
    """The path of the QEMU to use: $TINYOS_QEMU, or qemu-system-aarch64. Raises `ToolMissingError`."""
    name = os.environ.get("TINYOS_QEMU") or programs.QEMU.program
    return process.find_program(name, "QEMU", programs.QEMU)


class Qemu:
    """A running QEMU. `close` ends it and removes its sockets and its directory."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        directory: Path,
        gdb_address: str,
        console: socket.socket,
        resources: contextlib.ExitStack,
        ram: MappedRam | None = None,
        no_ram_reason: str = "",
    ) -> None:
        self.directory = directory
        self.gdb_address = gdb_address
        """The gdbstub's address, as GDB's `target remote` takes it."""
        self.console = console
        """This end of the kernel's serial line."""
        self.gdb_settings: tuple[str, ...] = ()
        """GDB's settings that this QEMU needs."""
        self.ram = ram
        """The guest's RAM, mapped; None if it is not, for `no_ram_reason`."""
        self.no_ram_reason = no_ram_reason
        self.pump: Pump | None = None
        """Reads the console while QEMU carries out a command."""
        self.early_output = b""
        """What the kernel wrote while QEMU started."""
        self._child = child
        self._resources = resources

    @classmethod
    def start(cls, options: QemuOptions, watched: Sequence[str] = ()) -> Qemu:
        """Start the machine. `watched` is what the recorder records beside tables, as its arguments.

        Raises `ToolMissingError`, `AddressInUseError`, or `SessionError` for a kernel that cannot be read.
        """
        program = find_qemu()
        if not options.kernel.is_file():
            raise SessionError(f"no kernel image at {options.kernel}: build it with scripts/build")
        with contextlib.ExitStack() as resources:
            directory = resources.enter_context(private_directory())
            ram, no_ram_reason = None, "it was booted with share_ram=False"
            if options.share_ram:
                try:
                    ram, no_ram_reason = resources.enter_context(MappedRam.create(directory)), ""
                except RamUnavailableError as error:
                    no_ram_reason = str(error)
            with contextlib.ExitStack() as inherited_ends:
                serial = inherited_ends.enter_context(_listen_unix(directory / names.CONSOLE))
                qmp = inherited_ends.enter_context(_listen_unix(directory / names.QMP))
                gdb = inherited_ends.enter_context(_listen_gdb(options.gdb_port, directory))
                gdb_address = _address_of(gdb)
                ours = resources.enter_context(socket.socket(socket.AF_UNIX))
                ours.connect(str(directory / names.CONSOLE))
                log = inherited_ends.enter_context((directory / names.QEMU_LOG).open("wb"))
                inherited = [serial.fileno(), qmp.fileno(), gdb.fileno()]
                shared: tuple[str, ...] = ()
                if ram is not None:
                    inherited_ends.callback(ram.close_descriptor)
                    inherited.append(ram.descriptor)
                    shared = ram_arguments(ram.path, ram.size)
                if options.record:
                    if ram is None:
                        raise SessionError(
                            f"the guest cannot be recorded, as its RAM is not mapped: {no_ram_reason}"
                        )
                    more = tuple(watched)
                    if options.goes_back:
                        travel = _travel(directory, ram.path, serial, inherited_ends)
                        serial = travel.serial
                        inherited += [one.fileno() for one in travel.sockets]
                        shared += travel.machine_arguments()
                        more += travel.recorder_arguments(starts=not options.paused)
                    recording = directory / names.RECORDING
                    shared += recorder_arguments(recording, ram.mapped_name, options.records, more)
                child = process.start(
                    [program, *_arguments(options, directory, serial, qmp, gdb), *shared],
                    stdout=log,
                    stderr=log,
                    inherited=inherited,
                )
                resources.callback(process.end, child)
            qemu = cls(child, directory, gdb_address, ours, resources.pop_all(), ram, no_ram_reason)
            if options.shift is not None:
                qemu.gdb_settings = _SETTINGS_WITH_ICOUNT
        try:
            qemu._wait_until_up()
        except BaseException:
            qemu.close()
            raise
        return qemu

    @property
    def console_socket(self) -> Path:
        """The console's socket; it takes one connection at a time."""
        return self.directory / names.CONSOLE

    @property
    def console_log(self) -> Path:
        """The file with everything that the kernel has written, also while nothing was connected."""
        return self.directory / names.CONSOLE_LOG

    @property
    def qmp_socket(self) -> Path:
        """The socket of QEMU's machine protocol."""
        return self.directory / names.QMP

    def begun(self, kernel: KernelFile) -> str:
        """The Python that begins such a session."""
        return begun.booted(kernel, is_recorded=self.recording.exists())

    @property
    def recording(self) -> Path:
        """The file of the recording; it exists only with `QemuOptions.record`."""
        return self.directory / names.RECORDING

    @property
    def pid(self) -> int:
        """QEMU's process ID."""
        return self._child.pid

    @property
    def files(self) -> dict[str, str]:
        """For GDB's environment: where the console's log is, the guest's RAM, and the recording."""
        found = {programs.CONSOLE_VARIABLE: str(self.console_log)}
        if self.recording.exists():
            found[programs.RECORDING_VARIABLE] = str(self.recording)
            found[programs.RECORDED_VARIABLE] = self.gdb_address
        if self.ram is not None:
            # A name that holds in QEMU only holds elsewhere by QEMU's process ID.
            found[programs.RAM_VARIABLE] = self.ram.path.replace("/proc/self/", f"/proc/{self.pid}/")
        return found

    def command(
        self, name: str, arguments: Mapping[str, object] | None = None, timeout: float = _COMMAND_SECONDS
    ) -> Any:
        """QEMU's answer to a command of its machine protocol: `command("query-cpus-fast")`.

        Raises `CommandFailedError` with QEMU's own words, `WaitTimeoutError`, `EndedError`; `SessionError`
        inside a running event loop.
        """
        # Imported late: it takes longer than everything else here, and most sessions never need it.
        from gdbplugin.session import qmp

        try:
            return qmp.execute(self.qmp_socket, name, arguments, timeout, self.pump)
        except EndedError as error:
            raise self.end_error() from error

    def monitor(self, command: str, timeout: float = _COMMAND_SECONDS) -> str:
        """What QEMU's human monitor prints for a command: `monitor("info mtree")`."""
        said: str = self.command("human-monitor-command", {"command-line": command}, timeout)
        return said.replace("\r\n", "\n")

    @property
    def status(self) -> str:
        """The machine's state in QEMU's words: `running`, `paused`, `debug` (at a breakpoint), ..."""
        status: str = self.command("query-status")["status"]
        return status

    def log(self) -> str:
        """The last lines of QEMU's own messages, without the one on waiting for a console connection."""
        lines = process.last_text(self.directory / names.QEMU_LOG).splitlines()
        return "\n".join(line for line in lines if "info: QEMU waiting for connection" not in line)

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether QEMU has ended, or ends `within` seconds."""
        try:
            self._child.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end_error(self) -> EndedError:
        """The error that says how QEMU ended. Call it after the console has ended; may wait for a second."""
        try:
            how = process.describe_exit(self._child.wait(1.0))
        except subprocess.TimeoutExpired:
            how = "closed its connections"
        said = self.log().splitlines()
        return EndedError(f"QEMU {how}" + (f": {said[-1]}" if said else ""))

    def close(self) -> None:
        """End QEMU and remove its sockets and files; a second call does nothing."""
        self._resources.close()

    def __enter__(self) -> Qemu:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_up(self) -> None:
        """Wait for the machine protocol's greeting: then QEMU has accepted its arguments."""
        deadline = time.monotonic() + _START_SECONDS
        with socket.socket(socket.AF_UNIX) as qmp:
            try:
                qmp.connect(str(self.qmp_socket))
            except ConnectionError:  # QEMU has refused its arguments.
                raise self._start_error() from None
            # QEMU waits while more than a few hundred bytes of the kernel's output are unread.
            streams = [qmp, self.console]
            while qmp not in (ready := _readable(streams, deadline - time.monotonic())):
                if not ready:
                    raise SessionError(f"QEMU did not start within {_START_SECONDS:g} s", self.log())
                written = _received(self.console)
                self.early_output += written
                if not written:
                    streams.remove(self.console)
            if not _received(qmp):
                raise self._start_error()

    def _start_error(self) -> SessionError:
        try:
            programs.try_qemu(find_qemu())
        except programs.UnfitError as error:
            advice = f"install it with: {programs.QEMU.advice}"
            return ToolMissingError(f"this QEMU cannot be used: {error}; {advice}")
        return self.end_error()


def _arguments(
    options: QemuOptions, directory: Path, serial: socket.socket, qmp: socket.socket, gdb: socket.socket
) -> Iterator[str]:
    yield from ("-nodefaults", "-display", "none", "-readconfig", str(MACHINE_FILE))
    yield from ("-kernel", str(options.kernel))
    log = option_value(directory / names.CONSOLE_LOG)
    yield from ("-chardev", f"socket,id=console,fd={serial.fileno()},server=on,wait=on,logfile={log}")
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=qmp,fd={qmp.fileno()},server=on,wait=off")
    # Not -mon, which QEMU 11 warns about.
    yield from ("-qmp", "chardev:qmp")
    yield from ("-chardev", f"socket,id=gdbstub,fd={gdb.fileno()},server=on,wait=off")
    yield from ("-gdb", "chardev:gdbstub")
    if options.shift is not None:
        yield from ("-icount", f"shift={options.shift},sleep=off")
    if options.paused or options.goes_back:
        yield "-S"
    yield from options.extra


def _travel(directory: Path, ram: str, console: socket.socket, until: contextlib.ExitStack) -> Travel:
    """The sockets of a machine that can go back, which close with `until`."""
    serial = until.enter_context(_listen_unix(directory / names.SERIAL))
    line = until.enter_context(socket.socket(socket.AF_UNIX))
    line.connect(str(directory / names.SERIAL))
    protocol = until.enter_context(_listen_unix(directory / names.TRAVEL))
    return Travel(directory, ram, serial, line, console, protocol)


def ram_arguments(path: str | os.PathLike[str], size: int) -> tuple[str, ...]:
    """The arguments that make a file of `size` bytes the guest's RAM, which others can map too."""
    backend = f"memory-backend-file,id=ram,size={size},mem-path={option_value(path)},share=on"
    return ("-object", backend, "-machine", "memory-backend=ram")


def _readable(streams: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Wait until streams can be read, and return these; none after `seconds`."""
    return select.select(streams, [], [], max(0.0, seconds))[0]


def _received(stream: socket.socket) -> bytes:
    """What has arrived; nothing at the end of the stream."""
    try:
        return stream.recv(_READ_BYTES)
    except ConnectionError:
        return b""


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.ExitStack() as on_error:
        on_error.enter_context(listener)
        listener.bind(str(path))
        listener.listen(1)
        on_error.pop_all()
    return listener


def _listen_gdb(port: int | None, directory: Path) -> socket.socket:
    if port is None:
        return _listen_unix(directory / names.GDB)
    try:
        listener = socket.create_server((_LOOPBACK, port), backlog=1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "something listens there already; choose another with --port, or 0 for any free one"
        else:
            advice = error.strerror or str(error)
        raise AddressInUseError(f"port {port} of {_LOOPBACK} cannot be used: {advice}") from error
    except OverflowError as error:
        raise AddressInUseError(
            f"{port} is not a port: give one from 1 to 65535, or 0 for any free one"
        ) from error
    # QEMU's end inherits it. Without it, each answer waits 40 ms for the previous one to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _address_of(listener: socket.socket) -> str:
    address = listener.getsockname()
    return f"{address[0]}:{address[1]}" if listener.family == socket.AF_INET else str(address)
