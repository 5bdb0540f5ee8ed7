"""A child process that does not outlive its session."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from gdbplugin.programs import Need
from gdbplugin.session.errors import ToolMissingError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GRACE_SECONDS = 2.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def find_program(name: str, what: str, need: Need) -> str:
    """The path of the program `name`; raises `ToolMissingError`, with `what` it is and how to get it."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissingError(
            f"{what} is missing: there is no program {name}; install it with: {need.advice}"
        )
    return path


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
    """Start a program that the kernel ends with us, even if we are killed (on Linux, from the main thread).

    It is put in a session of its own, so that a Ctrl-C typed at the terminal does not reach it, unless
    `in_foreground`. `inherited` are descriptors it keeps; `environment` is ours where none is given.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    # What a signal's handler raises while a process is forked is swallowed by Python's own after-fork hooks,
    # and with it the signal: so they wait. Handlers run in the main thread only.
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
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # A signal that waited is handled here.
    except BaseException:
        end(child)
        raise
    return child


def _prepare_child(mask: set[signal.Signals | int]) -> Callable[[], None]:
    """What the child runs first: take signals as we did, and, on Linux, ask to be killed when we die.

    Linux sends that signal when the *thread* that started the child ends, so this is for the main thread;
    children of other threads are ended by their session alone.
    """
    # Not at the top: libffi may open a file, which would take the place of a standard stream that is closed.
    import ctypes

    ask = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if ask is not None:
            ask(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # It died before we could ask.
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


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def last_text(path: Path, limit: int = 4096) -> str:
    """The end of a log file, at most `limit` bytes of it; empty where there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - limit))
            return log.read().decode(errors="backslashreplace")
    except FileNotFoundError:
        return ""
