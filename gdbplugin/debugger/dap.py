"""GDB's own DAP server, as far as several inferiors need it: it expects to have only one.

It lists the threads of the selected inferior alone, and takes their global numbers for numbers within that
inferior. While tasks are shown as threads, both are put right. Another DAP server is left as it is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import gdb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _module(name: str) -> Any:
    """A module of the DAP server; None if GDB does not serve DAP."""
    return sys.modules.get(f"gdb.dap.{name}")


@contextlib.contextmanager
def unaware() -> Iterator[None]:
    """Hide a change of inferiors from the DAP server: it would report each one as a stop of the target."""
    events = _module("events")
    if events is None:
        yield
        return
    _adapt()
    running = getattr(events, "inferior_running", None)
    handlers = [
        (registry, handler)
        for registry, handler in (
            (getattr(gdb.events, "corefile_changed", None), getattr(events, "_on_corefile_changed", None)),
            (gdb.events.exited, getattr(events, "_on_exit", None)),
        )
        if registry is not None and handler is not None
    ]
    for registry, handler in handlers:
        registry.disconnect(handler)
    try:
        yield
    finally:
        for registry, handler in handlers:
            registry.connect(handler)
        if running is not None:
            events.inferior_running = running


_adapted = False


def _adapt() -> None:
    """Let the server list and select the threads of all inferiors."""
    global _adapted
    threads, state = _module("threads"), _module("state")
    if _adapted or threads is None or state is None or not hasattr(state, "exec_and_log"):
        return
    _adapted = True
    state.exec_and_log = _with_global_number(state.exec_and_log)
    threads.gdb = _AllThreads()


class _AllThreads:
    """Stands for the module `gdb` in the server's `threads`, where the selected inferior has all threads."""

    def __getattr__(self, name: str) -> Any:
        return getattr(gdb, name)

    def selected_inferior(self) -> _AllThreads:
        """Something with the `threads` of all inferiors."""
        return self

    def threads(self) -> list[gdb.InferiorThread]:
        """The threads of all inferiors."""
        return [thread for inferior in gdb.inferiors() for thread in inferior.threads()]


def _with_global_number(execute: Any) -> Any:
    """A function that carries out `thread N` with a global number N, and anything else as `execute` does."""

    def replaced(command: str, *arguments: Any, **words: Any) -> Any:
        word, _, number = command.partition(" ")
        if word == "thread" and number.isdecimal():
            for inferior in gdb.inferiors():
                for thread in inferior.threads():
                    if thread.global_num == int(number):
                        command = f"thread {inferior.num}.{thread.num}"
        return execute(command, *arguments, **words)

    return replaced
