"""`tinyos stress`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.stress import StressRun
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target) -> StressRun:
    """Let the target run the stress test; returns what it changed."""
    from gdbplugin.kernel.stress import STRESS

    run: StressRun = target.run_test(STRESS)
    return run


def read_last(target: Target) -> StressRun:
    """The latest run of the stress test once more."""
    from gdbplugin.kernel.stress import STRESS

    run: StressRun = target.last_test(STRESS)
    return run


def show(shown: StressRun, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import stress

    return stress.text(shown, style)


def content(shown: StressRun) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import stress

    return stress.content(shown)


HELP = """Run the kernel's stress test in the target, and show what it did to every counter.

The target runs: tasks fill the memory until the pressure is critical, end, and no frame may be lost on
the way. The kernel is asked by a word of its interface for debuggers, which is written; so this works on
any connection. Ctrl-C ends the test early and leaves the target stopped, as its end does. A breakpoint
of yours stops it as well; given again, this command then waits for the same test's end.
"""
COMMAND = Command(
    "stress",
    Form("tinyos.stress/1", read, show, content, runs_target=True),
    help=HELP,
    letter="t",
    options=(
        Option(
            "--last",
            "only show the latest run once more",
            form=Form("tinyos.stress/1", read_last, show, content),
        ),
    ),
)
