"""Waiting for several streams at once."""

from __future__ import annotations

import os

import pytest

from gdbplugin.session import WaitTimeoutError
from gdbplugin.session.pump import Pump


def test_what_a_condition_reads_itself_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition of two parts may read, for the second, what makes the first one true."""
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
        assert timeout == 0, "it waits though all has come"
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
