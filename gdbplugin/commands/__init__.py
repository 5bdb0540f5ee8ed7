"""The commands. Each module has one descriptor, `COMMAND`, with all that its command is."""

from __future__ import annotations

from gdbplugin.commands import (
    back,
    backtrace,
    check,
    checkpoint,
    checkpoints,
    context,
    diff,
    dump,
    during,
    events,
    fault,
    history,
    lazy,
    maps,
    open,  # noqa: A004 (the command's name)
    pressure,
    recording,
    registers,
    report,
    rewind,
    stacks,
    stats,
    stress,
    tasks,
    threads,
    timeline,
    tlb,
    translate,
    watch,
    writer,
)

COMMANDS = tuple(
    module.COMMAND
    for module in (
        back,
        backtrace,
        check,
        checkpoint,
        checkpoints,
        context,
        diff,
        dump,
        during,
        events,
        fault,
        history,
        lazy,
        maps,
        open,
        pressure,
        recording,
        registers,
        report,
        rewind,
        stacks,
        stats,
        stress,
        tasks,
        threads,
        timeline,
        tlb,
        translate,
        watch,
        writer,
    )
)
"""Every command, in alphabetical order."""
