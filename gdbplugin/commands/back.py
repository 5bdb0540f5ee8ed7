"""`tinyos back`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form
from gdbplugin.commands.rewind import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.travel import Journey


def read(target: Target, n: int | None = None) -> Journey:
    """Bring the machine back by `n` instructions (1). Returns where it is then."""
    from gdbplugin.recording.travel import go_back

    return go_back(target, 1 if n is None else n)


HELP = """Step the machine back by N instructions, or by one.

It is `tinyos rewind` to so many instructions before: see there. Those of all cores count. The session must
record, which `scripts/run --record` begins.
"""
COMMAND = Command(
    "back",
    Form("tinyos.back/1", read, show, runs_target=True),
    help=HELP,
    arguments=(Argument("N", "how many instructions", "number"),),
)
