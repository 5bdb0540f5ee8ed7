"""Signals of a program that has a session open."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_RAISING = (signal.SIGINT, *_ENDING, signal.SIGALRM)
"""Those whose handlers may raise an exception, wherever the program is: Ctrl-C, its end, a test's time up."""


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let a few instructions come to their end: what a signal's handler does, it does behind them.

    Not by masking the signals: another thread would take them, and have the handler run all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Handlers do not run here.
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
    """Let SIGTERM and SIGHUP unwind the `with`s of the program, as Ctrl-C does, instead of ending it at once.

    For programs: a library leaves its user's handlers alone. The exit status is 128 and the signal, as a
    shell reports it. Further ones do not disturb the clean-up.
    """

    def unwind(number: int, _: FrameType | None) -> None:
        for ending in _ENDING:
            signal.signal(ending, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, unwind) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def passed_to_child(number: signal.Signals) -> Iterator[None]:
    """Leave a signal from the terminal to the child in the foreground.

    It is caught, not ignored: what is ignored stays ignored in a program that is started, what is caught
    does not.
    """
    before = signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(number, before)
