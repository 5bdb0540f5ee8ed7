"""The example of the package: a test, an event, and the objects at that moment."""

from __future__ import annotations

import pytest

from gdbplugin.kernel.events import Event
from gdbplugin.session import TinyOS


def test_the_example_of_the_package_works(monkeypatch: pytest.MonkeyPatch, kernel_elf: object) -> None:
    monkeypatch.setenv("TINYOS_KERNEL", str(kernel_elf))
    with TinyOS.boot() as tinyos:
        answer = tinyos.shell("*t", timeout=60)
        with tinyos.stopped():
            assert all(stack.growth_count for stack in tinyos.stacks())
            before = tinyos.stacks(3).stacks.stacks[0].growth_count
        event = tinyos.run_until("stack-growth", stack=3, timeout=30)
        after = tinyos.stacks(3).stacks.stacks[0].growth_count
    assert answer.startswith("stress test: passed\n")
    assert isinstance(event, Event)
    assert (event.kind, event.first) == ("StackGrowth", 3)
    assert before is not None
    assert after is not None
    assert after > before
