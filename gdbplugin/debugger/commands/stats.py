"""`tinyos stats`."""

from gdbplugin.debugger.command import Command


class Stats(Command):
    """Show the counters of TinyOS's memory management, and how fast they move.

    The ten of DynamicMemoryStats first, then those of the lazy page allocator, the frame pool, the
    context switcher and the scheduler. What changed is counted from the last time this or `tinyos report`
    was given at an earlier stop, and rates are per second of the kernel's own timer.
    """

    word = "stats"
    letter = "s"
    reader = "gdbplugin.kernel.statistics:read_counters"
    view = "gdbplugin.render.stats"
    schema = "tinyos.stats/1"
