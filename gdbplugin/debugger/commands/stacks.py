"""`tinyos stacks`."""

from gdbplugin.debugger.command import Argument, Command


class Stacks(Command):
    """Show every dynamic stack, or all about one.

    Its task, policy and base, from which it grows down; what is mapped of the most it may have; how deep
    its stack pointer is below the base; the most that ever was mapped; growths and shrinks (+/-); and how
    long ago it was last seen in use.
    With an ID: its addresses, its events, and the pages that the hardware's tables map there.
    """

    word = "stacks"
    letter = "d"
    reader = "gdbplugin.kernel.stack_list:read_stack_list"
    view = "gdbplugin.render.stacks"
    schema = "tinyos.stacks/1"
    arguments = (
        Argument(
            "ID", "the stack to tell all about", "number", complete="gdbplugin.kernel.stack_list:offered_ids"
        ),
    )
