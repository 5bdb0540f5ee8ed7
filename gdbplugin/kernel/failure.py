"""What TinyOS itself left on record of failures: the kernel's own, and those that ended tasks."""

from __future__ import annotations

from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.tasks import read_tasks
from gdbplugin.layout.decode import text
from gdbplugin.records import dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAILURE_RECORD = "kernel::failure::FAILURE_RECORD"
FAILURE_MAGIC = b"FAILURE\0"
_KINDS = {1: "exception", 2: "panic"}
# Ends that no exception caused.
_ORDERLY_ENDS = ("None", "Exited", "Killed")


@dataclass(frozen=True)
class FailureRecord:
    """What stopped the kernel. The registers are those at the exception; a panic has only some of them."""

    json_fields = (
        "kind_name as kind",
        "core",
        "vector",
        "syndrome",
        "fault_address",
        "link_address",
        "saved_state",
        "stack_pointer",
        "task",
        "timestamp",
        "message",
    )

    kind: int | None
    core: int | None
    """Number of the core that failed."""
    vector: int | None
    """Entry of the vector table, 0 to 15."""
    syndrome: int | None
    """ESR_EL1; 0 after a panic."""
    fault_address: int | None
    """FAR_EL1 at the failure."""
    link_address: int | None
    """ELR_EL1, or the address of the panic."""
    saved_state: int | None
    """SPSR_EL1 at the failure."""
    stack_pointer: int | None
    """The stack pointer at the failure."""
    task: int | None
    """The task that the core ran; null where there was none."""
    timestamp: int | None
    """Count of the generic timer at the failure."""
    message: str | None
    """The first line that the kernel printed of it."""

    @property
    def kind_name(self) -> str:
        """The kind of failure: exception or panic."""
        return _KINDS.get(self.kind or 0, f"unknown kind {self.kind}")


@dataclass(frozen=True)
class EndedTask:
    """A task that an exception ended."""

    id: int | None
    """Number of the task."""
    name: str
    """Name of the task."""
    end_reason: str | None
    """Why it ended."""
    end_syndrome: int
    """ESR_EL1 of the exception."""
    end_address: int | None
    """FAR_EL1 of the exception; the instruction's address if the exception has none there."""
    stack: int | None
    """ID of the stack that it had."""


def read_failure(kernel: Kernel) -> FailureRecord | None:
    """The kernel's failure record; None where it has not failed, or keeps no such record."""
    if kernel.layout.static(FAILURE_RECORD) is None:
        kernel.journal.lack("", "FAILURE_RECORD")
        return None
    values: dict[str, Any] = {}
    for name in ("magic", *(field.name for field in fields(FailureRecord))):
        part = kernel.part(FAILURE_RECORD, name)
        if part is not None:
            values[name] = part.value
    if values.get("magic") != FAILURE_MAGIC:
        return None
    message = values.get("message")
    if isinstance(message, bytes):
        values["message"] = text(message)
    return kernel.record(FailureRecord, values, "failure record")


def note_failure(kernel: Kernel) -> None:
    """Make it a finding if the kernel has halted: what is shown of it is how that left it."""
    if kernel.layout.static(FAILURE_RECORD) is None:
        return
    failure = read_failure(kernel)
    if failure is not None:
        what = f"{failure.kind_name} on core {failure.core}: {failure.message or 'no message'}"
        kernel.journal.find("the kernel", "a kernel that runs", f"it has halted, see `tinyos fault`; {what}")


def read_ended_tasks(kernel: Kernel) -> tuple[EndedTask, ...]:
    """The tasks on record that ended by an exception, in the order of their slots."""
    tasks = read_tasks(kernel)
    return tuple(
        EndedTask(task.id, task.name, task.end_reason, task.end_syndrome, task.end_address, task.stack)
        for task in (tasks.tasks if tasks else ())
        if task.state == "Ended" and task.end_reason not in _ORDERLY_ENDS and task.end_syndrome
    )
