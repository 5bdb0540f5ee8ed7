"""`tinyos pressure`."""

from gdbplugin.debugger.command import Command


class Pressure(Command):
    """Show memory pressure: its level, the frames, and the strategies against it.

    Under the bar of free frames M, H and C mark where Medium, High and Critical begin. Each strategy is
    listed with its runs, and with what it won in the unit that it counts in.
    """

    word = "pressure"
    letter = "p"
    reader = "gdbplugin.kernel.pressure_state:read_pressure_state"
    view = "gdbplugin.render.pressure"
    schema = "tinyos.pressure/1"
