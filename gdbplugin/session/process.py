"""Programs: found, started, listened to, and ended with their session; and signals that come meanwhile."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from gdbplugin import programs
from gdbplugin.programs import Need, gdb_environment
from gdbplugin.session import streams
from gdbplugin.session.errors import ToolMissingError, WaitTimeoutError

PLUGIN = Path(__file__).resolve().parents[1] / "tinyos.py"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GRACE_SECONDS = 2.0
_TERMINATION = (signal.SIGTERM, signal.SIGHUP)
_ENDING = (signal.SIGINT, *_TERMINATION)
_RAISING = (*_ENDING, signal.SIGALRM)
"""Signals whose handlers may raise an exception anywhere: Ctrl-C, termination, a test's time limit."""
_READ_BYTES = 1 << 16
_EVIDENCE_LINES = 12
_EVIDENCE_COLUMNS = 200


def find_program(name: str, what: str, need: Need) -> str:
    """The path of the program `name`. Raises `ToolMissingError`: `what` is missing, and how to install it."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissingError(
            f"{what} is missing: there is no program {name}; install it with: {need.advice}"
        )
    return path


END_PYTHON = signal.SIGUSR1
"""A signal that raises KeyboardInterrupt in GDB's Python when Python code runs next. SIGINT does so only
while Python code runs: while GDB waits for the target, SIGINT stops the target."""
GDB_SETTINGS = (
    "set confirm off",
    "set pagination off",
    "set debuginfod enabled off",
    # MI is read and written in UTF-8, in any locale.
    "set host-charset UTF-8",
    "set mi-async on",
    # A missing target is an error at once.
    "set tcp auto-retry off",
    f"python import signal; signal.signal({END_PYTHON:d}, signal.default_int_handler)",
    # GDB 17 puts emoji before errors and warnings; older versions do not know the setting.
    "python import contextlib",
    "python with contextlib.suppress(gdb.error): gdb.execute('set style emoji off')",
)
"""What GDB is told as it starts."""


def find_gdb() -> str:
    """The path of the GDB to use: $TINYOS_GDB, unchecked, or the first on PATH that can be used.

    It must know AArch64, and have a Python that is new enough for the plugin. A distribution's plain `gdb`
    often knows only the architecture of its host.

    Raises `ToolMissingError`, which says what was found instead.
    """
    named = os.environ.get("TINYOS_GDB")
    if named:
        return find_program(named, "GDB", programs.GDB)
    try:
        return programs.find_gdb()
    except programs.UnfitError as error:
        raise ToolMissingError(f"GDB is missing: {error}; install it with: {programs.GDB.advice}") from error


def become_gdb() -> int:
    """The program `tinyos-gdb`: replace this process by GDB with the plugin and our arguments.

    Returns 1 after an error message.
    """
    return streams.run("tinyos-gdb", _exec_gdb)


def _exec_gdb() -> int:
    try:
        program = programs.try_gdb(find_gdb())
    except programs.UnfitError as error:
        raise ToolMissingError(f"{error}; install another with: {programs.GDB.advice}") from error
    # Python ignores SIGPIPE, and the program that replaces it would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # The plugin first: the arguments may use its commands, and nothing of ours may follow `--args`.
    os.execve(program, [program, "-x", str(PLUGIN), *sys.argv[1:]], gdb_environment())


def start(
    arguments: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    inherited: Iterable[int] = (),
    in_foreground: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process, even if that is killed (on Linux, from the main thread).

    The program gets its own session, so that Ctrl-C at the terminal does not reach it, unless
    `in_foreground`. It keeps the descriptors `inherited`; `environment` defaults to this process's.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    # Block signals during the fork: Python's after-fork hooks swallow what a signal handler raises there,
    # and the signal would be lost. Handlers run only in the main thread.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING if in_main_thread else ())
    try:
        child = subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(inherited),
            env=environment,
            start_new_session=not in_foreground,
            preexec_fn=_prepare_child(mask) if in_main_thread else None,
        )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # A blocked signal is handled here.
    except BaseException:
        end(child)
        raise
    return child


def _prepare_child(mask: set[signal.Signals | int]) -> Callable[[], None]:
    """What the child runs first: restore the signal mask and, on Linux, ask to be killed with its parent.

    Linux sends that signal when the *thread* that started the child ends, so this is for the main thread
    only. The children of other threads are ended by their session alone.
    """
    # Imported late: libffi may open a file, which would get the descriptor of a closed standard stream.
    import ctypes

    ask = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if ask is not None:
            ask(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # The parent died before this call.
                os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


def end(process: subprocess.Popen[bytes]) -> int:
    """End a child, by SIGTERM and then by SIGKILL, and return its exit status (negative: the signal)."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used so far; 0 where the system does not say."""
    try:
        # Linux's number for the clock of a process, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def switches(pid: int) -> int:
    """How often a process was switched to so far; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = (line.partition(":") for line in status.splitlines())
    return sum(int(value) for name, _, value in lines if name.endswith("ctxt_switches"))


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def last_text(path: Path, limit: int = 4096) -> str:
    """The end of a log file, at most `limit` bytes; empty if the file does not exist."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - limit))
            return log.read().decode(errors="backslashreplace")
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Run the `with` body to its end before any signal handler runs.

    The signals are not masked: another thread would take them, and Python would run the handler anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Handlers run only in the main thread.
        return
    came: list[int] = []
    with contextlib.ExitStack() as restored:
        for number in _RAISING:
            handler = signal.getsignal(number)
            if callable(handler):
                restored.callback(signal.signal, number, handler)
                signal.signal(number, lambda number, _: came.append(number))
        yield
    for late in came:
        signal.raise_signal(late)


@contextlib.contextmanager
def raised_as_exit() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `SystemExit`, so that the program leaves its `with`s as at Ctrl-C.

    For programs: a library leaves its user's handlers alone. The exit status is 128 plus the signal, as a
    shell reports it. Further signals are ignored, so that they do not disturb the clean-up.
    """

    def unwind(number: int, _: FrameType | None) -> None:
        for ending in _TERMINATION:
            signal.signal(ending, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, unwind) for number in _TERMINATION}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def passed_to_child(number: signal.Signals) -> Iterator[None]:
    """Leave a signal from the terminal to the child in the foreground.

    It is caught, not ignored: a started program inherits that a signal is ignored, but not a handler.
    """
    before = signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(number, before)


class Pump:
    """Reads every stream of a session while the session waits for one of them.

    QEMU blocks when its console is not read, and GDB when its answers are not read. So a wait for one of
    them reads all: with one selector, no thread and no sleep.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sources: dict[str, Callable[[], str]] = {}
        self._pieces = 0  # Read so far.

    def add(self, descriptor: int, receive: Callable[[bytes], None]) -> None:
        """Pass what arrives on `descriptor` to `receive`: at its end `b""`, once, and it is removed."""
        self._selector.register(descriptor, selectors.EVENT_READ, receive)

    def remove(self, descriptor: int) -> None:
        """Stop reading `descriptor`; does nothing if it is not being read."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def add_source(self, name: str, text: Callable[[], str]) -> None:
        """Add a source of evidence: the error of a wait that times out shows the last lines of `text()`."""
        self._sources[name] = text

    def evidence(self) -> str:
        """The last lines of every source that has any, each under its name."""
        parts = []
        for name, text in self._sources.items():
            lines = [line[:_EVIDENCE_COLUMNS] for line in text().splitlines()[-_EVIDENCE_LINES:]]
            if lines:
                parts.append("\n".join([f"--- last of {name}:", *lines]))
        return "\n".join(parts)

    def wait(self, done: Callable[[], bool], timeout: float, waiting_for: str) -> None:
        """Read until `done()`; raises `WaitTimeoutError`, naming `waiting_for`, after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._pieces
            if done():
                return
            if self._pieces != seen:
                continue  # `done` has read something, which may be what it looks for.
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeoutError(f"waited {timeout:g} s for {waiting_for}", self.evidence())
            self._read_ready(left)

    def drain(self) -> None:
        """Read what has arrived, without waiting."""
        while self._read_ready(0):
            pass

    def fileno(self) -> int:
        """A descriptor that becomes readable when a stream does: then an event loop calls `drain`."""
        return self._selector.fileno()

    def close(self) -> None:
        """Stop reading every stream; the streams stay open."""
        self._selector.close()

    def _read_ready(self, timeout: float) -> bool:
        ready = self._selector.select(timeout)
        if not ready:
            return False
        with deferred_signals():  # An exception between read and receive would lose the data.
            for key, _ in ready:
                data = _read(key.fd)
                self._pieces += 1
                if not data:
                    self.remove(key.fd)
                key.data(data)
        return True


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except ConnectionResetError:
        return b""  # The other end of a socket died with data unread: an end like any other.
