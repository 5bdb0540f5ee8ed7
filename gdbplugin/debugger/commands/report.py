"""`tinyos report`."""

from gdbplugin.debugger.command import Command


class Report(Command):
    """Show all of TinyOS's dynamic memory management on one page.

    Counters, every dynamic stack, lazy pages by state and range, memory pressure and its strategies,
    address spaces, and each core's exception level and translation tables.
    Works wherever the CPU was stopped; reads only.
    """

    word = "report"
    letter = "r"
    reader = "gdbplugin.kernel.report:read_report"
    view = "gdbplugin.render.report"
    schema = "tinyos.report/1"
