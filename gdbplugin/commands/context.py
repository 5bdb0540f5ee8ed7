"""`tinyos context`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.context import Context
    from gdbplugin.kernel.context_test import ContextTestRun
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target) -> Context:
    """What each core translates by, and the address spaces."""
    from gdbplugin.kernel.context import read_context

    return read_context(target.required_kernel())


def show(shown: Context, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import context

    return context.text(shown, style)


def content(shown: Context) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import context

    return context.content(shown)


def read_test(target: Target) -> ContextTestRun:
    """Let the target run the context switching test; returns what it changed."""
    from gdbplugin.kernel.context_test import CONTEXT

    run: ContextTestRun = target.run_test(CONTEXT)
    return run


def read_last_test(target: Target) -> ContextTestRun:
    """The latest run of the context switching test once more."""
    from gdbplugin.kernel.context_test import CONTEXT

    run: ContextTestRun = target.last_test(CONTEXT)
    return run


def show_test(shown: ContextTestRun, style: Style) -> str:
    """A run of the test as text."""
    from gdbplugin.render import context_test

    return context_test.text(shown, style)


def test_content(shown: ContextTestRun) -> dict[str, Any]:
    """A run's own part of its JSON."""
    from gdbplugin.render import context_test

    return context_test.content(shown)


_TEST = "tinyos.context-test/1"
HELP = """Show what each core translates by, and the address spaces that TinyOS switches between.

TTBR0_EL1 and TTBR1_EL1 of every core by their fields; every address space with its task, table,
ASID and generation, and switches; and the TLB invalidations by kind.
With --test the target runs: the kernel is asked, by a word of its interface for debuggers, for its own
test of switching. The target is stopped again at its end.
"""
COMMAND = Command(
    "context",
    Form("tinyos.context/1", read, show, content),
    help=HELP,
    letter="c",
    options=(
        Option(
            "--test",
            "run the kernel's context switching test in the target, and show what changed",
            form=Form(_TEST, read_test, show_test, test_content, runs_target=True),
        ),
        Option(
            "--last-test",
            "only show the latest run of that once more",
            form=Form(_TEST, read_last_test, show_test, test_content),
        ),
    ),
)
