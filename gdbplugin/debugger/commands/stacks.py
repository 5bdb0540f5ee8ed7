"""`tinyos stacks`."""

from gdbplugin.debugger.command import Argument, Command


class Stacks(Command):
    """Show every dynamic stack, or all about one.

    Its task and policy; the range that is mapped, up to its base; how much that is, of the most it may have;
    its stack pointer, as last noted by the kernel, or with a * as the core has it that runs its task; the
    most that ever was mapped; growths and shrinks (+/-); and how long ago it was last seen in use. Of the
    base and the stack pointer only the last digits are given where the others are the range's.
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
