"""The view of `tinyos fault`."""

from __future__ import annotations

from gdbplugin.aarch64.faults import Syndrome
from gdbplugin.kernel.fault import ExceptionReport, Fault, KernelFailure, TaskEnd
from gdbplugin.kernel.fault_evidence import Instruction, Now
from gdbplugin.kernel.places import Description
from gdbplugin.records import asdict
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ENDS_SHOWN = 8


def content(fault: Fault) -> dict[str, Any]:
    """The fault's part of its JSON object. `exceptions` has the current level's own first."""
    return {
        "core": fault.core,
        "level": fault.level,
        "entering": fault.entering,
        "exceptions": [_report_content(report) for report in fault.reports],
        "silent": list(fault.silent),
        "failure": None if fault.failure is None else _failure_content(fault.failure),
        "ended_tasks": [_end_content(end) for end in fault.ended],
    }


def _report_content(report: ExceptionReport) -> dict[str, Any]:
    record = report.record
    return {
        "taken_to": record.level,
        "taken_from": report.from_level,
        "syndrome": _syndrome_content(record.syndrome),
        "address": record.address,
        "place": _place_content(report.where),
        "intermediate": report.intermediate,
        "now": _now_content(report.now),
        "instruction": _instruction_content(report.instruction),
        "overwritten": report.overwritten,
        "remarks": list(report.remarks),
        "contradictions": list(report.contradictions),
    }


def _syndrome_content(syndrome: Syndrome) -> dict[str, Any]:
    status = syndrome.status
    return {
        "value": syndrome.value,
        "class": syndrome.exception_class,
        "name": syndrome.name,
        "access": None if syndrome.access is None else syndrome.access.value,
        "status": None if status is None else status.code,
        "status_name": None if status is None else status.kind,
        "status_level": None if status is None else status.level,
        "immediate": syndrome.immediate,
        "system_register": syndrome.system_register,
        "text": syndrome_text(syndrome),
    }


def _place_content(where: Description | None) -> dict[str, Any] | None:
    if where is None:
        return None
    place = where.place
    return {
        "text": where.text,
        "kind": None if place is None else place.kind,
        "name": None if place is None else place.name,
        "number": None if place is None else place.number,
        "task": None if place is None else place.task,
        "state": where.state,
        "symbol": where.symbol,
    }


def _now_content(now: Now | None) -> dict[str, Any] | None:
    if now is None:
        return None
    return {
        "output": now.output,
        "fault": None if now.fault is None else vars(now.fault),
        "mapped_to": now.walk.output,
        "permissions": {level: str(allowed) for level, allowed in now.permissions.items()},
        "stage2_permissions": {level: str(allowed) for level, allowed in now.stage2_permissions.items()},
        "regime": now.regime,
        "enabled": now.enabled,
    }


def _instruction_content(found: Instruction | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "address": found.address,
        "word": found.word,
        "text": found.text,
        "does": None if found.operation is None else str(found.operation),
        "place": _place_content(found.where),
    }


def _failure_content(failure: KernelFailure) -> dict[str, Any]:
    return {
        **asdict(failure.record),
        "kind": failure.record.kind_name,
        "explained": None if failure.syndrome is None else _syndrome_content(failure.syndrome),
        "place": _place_content(failure.where),
        "instruction_place": _place_content(failure.instruction),
    }


def _end_content(end: TaskEnd) -> dict[str, Any]:
    return {
        **asdict(end.task),
        "explained": _syndrome_content(end.syndrome),
        "place": _place_content(end.where),
    }


def syndrome_text(syndrome: Syndrome) -> str:
    """A syndrome in one line: class, access and status."""
    parts = [syndrome.name]
    if syndrome.immediate is not None:
        parts[0] += f" #{syndrome.immediate}"
    if syndrome.system_register is not None:
        parts.append(f"register {syndrome.system_register}")
    if syndrome.cache_maintenance:
        parts.append("cache maintenance or address translation")
    elif syndrome.access is not None:
        parts.append(syndrome.access.value)
    if syndrome.status is not None:
        parts.append(str(syndrome.status))
    if syndrome.second_stage_walk:
        parts.append("at stage 2, on a stage 1 table walk")
    parts += syndrome.details
    return ", ".join(parts)


def text(fault: Fault, style: Style) -> str:
    """The exceptions explained, the current level's own first; then what TinyOS has on record."""
    level = style.missing if fault.level is None else f"EL{fault.level}"
    lines = [f"Core {fault.core}, at {level}"]
    if fault.entering is not None:
        lines += style.wrapped(f"  in the exception vectors: {fault.entering}")
    if fault.failure is not None:
        lines += _failure_lines(fault.failure, style)
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
    return "\n".join(lines) + "\n" + style.noticed(fault)


def _report_lines(report: ExceptionReport, style: Style) -> list[str]:
    record = report.record
    source = "" if report.from_level is None else f" from EL{report.from_level}"
    lines = style.wrapped(f"Exception taken to EL{record.level}{source}: {syndrome_text(record.syndrome)}")
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


def _now(now: Now) -> str:
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
        lines += style.wrapped(f"  {syndrome_text(failure.syndrome)} (ESR {failure.syndrome.value:#x})")
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
        f"  task {style.text(task.id)} {task.name}, {style.text(task.end_reason)}: "
        f"{syndrome_text(end.syndrome)}",
        "    ",
    )
    if end.where is not None:
        lines += style.wrapped(f"    at {end.where.address:#x}, {end.where.text}", "      ")
    return lines
