"""Signals that come at a bad moment wait until it is over."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from gdbplugin.session.signals import deferred


def test_a_signal_is_handled_behind_the_instructions() -> None:
    before = signal.getsignal(signal.SIGINT)
    done: list[str] = []

    def interrupted() -> None:
        with deferred(), deferred():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("to its end")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["to its end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_one_that_another_thread_takes_waits_as_well() -> None:
    done: list[str] = []

    def interrupted() -> None:
        with deferred():
            thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
            thread.start()
            thread.join()
            done.append("to its end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["to its end"]


def test_in_another_thread_nothing_is_touched() -> None:
    seen: list[object] = []

    def look() -> None:
        with deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
