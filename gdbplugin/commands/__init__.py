"""The commands. Each module has one descriptor, `COMMAND`, with all that its command is."""

from __future__ import annotations

from gdbplugin.commands import (
    check,
    context,
    events,
    fault,
    lazy,
    maps,
    pressure,
    registers,
    report,
    stacks,
    stats,
    stress,
    translate,
)

COMMANDS = tuple(
    module.COMMAND
    for module in (
        check,
        context,
        events,
        fault,
        lazy,
        maps,
        pressure,
        registers,
        report,
        stacks,
        stats,
        stress,
        translate,
    )
)
"""Every command, in alphabetical order."""
