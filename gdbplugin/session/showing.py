"""What a front end draws the objects with: their types, and the words and numbers of the plugin's own views.

Front ends know `session` alone; by way of this module they show a figure exactly as GDB's side does.
"""

from gdbplugin.kernel.context import Context
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.frames import Frames, FrameTable
from gdbplugin.kernel.lazy import PAGE_BYTES, LazyPages, LazyRange
from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.kernel.pressure_state import UNITS, PressureState
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.render.events import meaning
from gdbplugin.render.parts import Names, owner, task_names
from gdbplugin.render.style import Style, is_dumb

__all__ = [
    "LEVELS",
    "PAGE_BYTES",
    "UNITS",
    "Context",
    "DynamicStack",
    "Event",
    "FrameTable",
    "Frames",
    "LazyPages",
    "LazyRange",
    "Names",
    "PressureState",
    "Style",
    "is_dumb",
    "meaning",
    "owner",
    "task_names",
]
