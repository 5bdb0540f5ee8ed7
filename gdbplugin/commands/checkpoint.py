"""`tinyos checkpoint`."""

from __future__ import annotations

from gdbplugin.commands.checkpoints import show
from gdbplugin.commands.descriptor import Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.travel import Checkpoints


def read(target: Target, name: str | None = None) -> Checkpoints:
    """Take a checkpoint of the machine as it is now. Returns all."""
    from gdbplugin.recording.travel import take_checkpoint

    return take_checkpoint(target, name)


HELP = """Take a checkpoint of the machine as it is now, and list all.

`tinyos rewind NAME` goes back to it. It stays until the machine goes back to before it, and then runs on. The
session must record, which `scripts/run --record` begins.
"""
COMMAND = Command(
    "checkpoint",
    Form("tinyos.checkpoint/1", read, show, runs_target=True, rows=lambda found: found.checkpoints),
    help=HELP,
    arguments=(Argument("NAME", "its name", "text"),),
)
