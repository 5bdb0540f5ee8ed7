"""`tinyos fault`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import CORE, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.fault import ExceptionReport, FaultReport, KernelFailure, TaskEnd
    from gdbplugin.kernel.fault_analysis import CurrentTranslation
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target, *, core: int | None = None) -> FaultReport:
    """The last exceptions of a core, what stopped the kernel, and the tasks that exceptions ended."""
    from gdbplugin.kernel.fault import read_fault

    return read_fault(target, target.symbols, target.disassemble, core=core)


_ENDS_SHOWN = 8


def show(fault: FaultReport, style: Style) -> str:
    """TinyOS's own failure, each exception, the current level's first, and the tasks that ended."""
    level = style.missing if fault.level is None else f"EL{fault.level}"
    lines = [f"Core {fault.core}, at {level}"]
    if fault.entering is not None:
        lines += style.wrapped(f"  in the exception vectors: {fault.entering}")
    if fault.failure is not None:
        lines += _failure_lines(fault.failure, style)
    elif fault.has_failed is False:
        lines.append("TinyOS has not failed. The latest exceptions, which it has dealt with:")
    for report in fault.reports:
        lines += _report_lines(report, style)
    for sentence in fault.silent:
        lines += style.wrapped(f"{sentence}.", "  ")
    if fault.ended:
        lines.append(f"Tasks ended by exceptions: {len(fault.ended)}")
        for end in fault.ended[-_ENDS_SHOWN:]:
            lines += _end_lines(end, style)
        if len(fault.ended) > _ENDS_SHOWN:
            lines.append(f"  and {len(fault.ended) - _ENDS_SHOWN} before")
    return "\n".join(lines) + "\n" + style.diagnostics(fault)


def _report_lines(report: ExceptionReport, style: Style) -> list[str]:
    record = report.record
    source = "" if report.from_level is None else f" from EL{report.from_level}"
    lines = style.wrapped(f"Exception taken to EL{record.level}{source}: {record.syndrome.text}")
    said = f"{record.syndrome.value:#018x}, class {record.syndrome.exception_class:#04x}"
    lines += _entry(f"ESR_EL{record.level}", said, style)
    if record.address is not None and report.where is not None:
        lines += _entry("address", f"{record.address:#018x}, {report.where.text}", style)
    if report.intermediate is not None:
        lines += _entry("intermediate", f"{report.intermediate:#018x}, by HPFAR_EL2", style)
    if report.now is not None:
        lines += _entry("now", _now(report.now), style)
    found = report.instruction
    if found is not None:
        lines += _entry("instruction", f"{found.address:#018x}, {found.where.text}", style)
        if found.word is None:
            lines += _entry("", "not readable by the tables as they are now", style)
        else:
            does = "" if found.operation is None else f": {found.operation}"
            lines += _entry("", (found.text or f".inst {found.word:#010x}") + does, style)
    for remark in report.remarks:
        lines += style.wrapped(f"  {remark}", "    ")
    for contradiction in report.contradictions:
        lines += style.wrapped(f"  Contradiction: {contradiction}", "    ")
    return lines


def _entry(name: str, value: str, style: Style) -> list[str]:
    return style.entry(name, value, 12)


def _now(now: CurrentTranslation) -> str:
    """By the permissions of the regime's own levels."""
    allowed = ", ".join(f"{level} {permissions}" for level, permissions in now.permissions.items())
    allowed = allowed if now.enabled else "MMU off"
    if now.stage2_permissions:
        by_stage2 = (f"{level} {permissions}" for level, permissions in now.stage2_permissions.items())
        allowed += f"; by stage 2 {', '.join(by_stage2)}"
    where = "" if now.walk.output is None else f"mapped to {now.walk.output:#x}"
    if now.fault is None:
        return f"{where}, {allowed}, {now.regime} regime"
    of_stage = f" of stage {now.fault.stage}" if now.fault.stage == 2 else ""
    said = f"{now.fault.title}{of_stage} at level {now.fault.level}: {now.fault.reason}"
    return f"{said}; {where}, {allowed}" if where else said


def _failure_lines(failure: KernelFailure, style: Style) -> list[str]:
    record = failure.record
    lines = style.wrapped(
        f"TinyOS has failed: {record.kind_name} on core {style.text(record.core)}: {record.message or ''}"
    )
    if failure.syndrome is not None:
        lines += style.wrapped(f"  {failure.syndrome.text} (ESR {failure.syndrome.value:#x})")
    if failure.where is not None:
        lines += _entry("address", f"{failure.where.address:#018x}, {failure.where.text}", style)
    if failure.instruction is not None:
        lines += _entry(
            "instruction", f"{failure.instruction.address:#018x}, {failure.instruction.text}", style
        )
    pointer = record.stack_pointer
    shown = style.missing if pointer is None else f"{pointer:#018x}"
    lines += _entry("SP", f"{shown}, task {style.text(record.task)}", style)
    return lines


def _end_lines(end: TaskEnd, style: Style) -> list[str]:
    task = end.task
    lines = style.wrapped(
        f"  task {style.text(task.id)} {task.name}, {style.text(task.end_reason)}: {end.syndrome.text}",
        "    ",
    )
    if end.where is not None:
        lines += style.wrapped(f"    at {end.where.address:#x}, {end.where.text}", "      ")
    return lines


HELP = """Explain the last exception of a core.

Shows its class, status and address, the instruction and what it does, what lies at the address, and
which exception level took it. Says where the syndrome, the instruction, its registers and the present
tables contradict each other, and whether the exception is over, as far as that is known: ESR_ELx keeps
it. On TinyOS it also shows what stopped the kernel, if it has stopped, and the tasks that exceptions
ended. Works on any AArch64 kernel.
"""
COMMAND = Command(
    "fault",
    Form("tinyos.fault/1", read, show, rows=lambda found: found.reports),
    help=HELP,
    options=(CORE,),
)
