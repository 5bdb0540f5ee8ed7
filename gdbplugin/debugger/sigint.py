"""Defers Ctrl-C during steps that must not be interrupted."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer Ctrl-C to the end of a `with`: it comes before or after, but not inside.

    This does not hold if another plugin's thread in GDB's process takes the signal; GDB's own threads do not.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Inside the try: a Ctrl-C that came before is raised by this call.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_pending() -> bool:
    """Whether a Ctrl-C is deferred now."""
    return signal.SIGINT in signal.sigpending()
