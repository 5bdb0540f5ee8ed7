"""Ctrl-C in moments that must come to their end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Have Ctrl-C come behind a `with`, or just before it, but not in it.

    Unless a thread of somebody else's in GDB's process takes the signal, which none of GDB's own does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Within: what has come by then is raised by this call.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_waiting() -> bool:
    """Whether Ctrl-C has come while it was held."""
    return signal.SIGINT in signal.sigpending()
