"""Signals are deferred to a safe moment, and one wait reads several streams."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from gdbplugin.session import WaitTimeoutError
from gdbplugin.session.process import Pump, deferred_signals


def test_a_signal_is_handled_after_the_body() -> None:
    before = signal.getsignal(signal.SIGINT)
    done: list[str] = []

    def interrupted() -> None:
        with deferred_signals(), deferred_signals():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("to its end")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["to its end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_taken_by_another_thread_waits_too() -> None:
    done: list[str] = []

    def interrupted() -> None:
        with deferred_signals():
            thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
            thread.start()
            thread.join()
            done.append("to its end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["to its end"]


def test_in_another_thread_handlers_stay_as_they_are() -> None:
    seen: list[object] = []

    def look() -> None:
        with deferred_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_what_the_condition_reads_itself_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking the second part of a condition may read what makes the first part true."""
    reader, writer = os.pipe()
    pump, came = Pump(), []
    pump.add(reader, came.append)

    def is_over() -> bool:
        first = bool(came)
        if not first:
            os.write(writer, b"a stop")
        pump.drain()
        return first

    read = pump._read_ready

    def read_without_waiting(timeout: float) -> bool:
        assert timeout == 0, "it waits although everything has come"
        return read(timeout)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(pump, "_read_ready", read_without_waiting)
            pump.wait(is_over, 5, "the stop")
        assert came == [b"a stop"]
        with pytest.raises(WaitTimeoutError, match=r"waited 0\.01 s for more"):
            pump.wait(lambda: len(came) > 1, 0.01, "more")
    finally:
        pump.close()
        os.close(reader)
        os.close(writer)
