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

    kind: int | None
    core: int | None
    vector: int | None
    syndrome: int | None
    fault_address: int | None
    link_address: int | None
    saved_state: int | None
    stack_pointer: int | None
    task: int | None
    timestamp: int | None
    message: str | None

    @property
    def kind_name(self) -> str:
        """What kind of failure it was."""
        return _KINDS.get(self.kind or 0, f"unknown kind {self.kind}")


@dataclass(frozen=True)
class EndedTask:
    """A task that an exception ended: why, and ESR_EL1 as it was.

    `end_address` is FAR_EL1 as it was or, for an exception that leaves none there, the instruction's address.
    `stack` is the id of the stack that it had.
    """

    id: int | None
    name: str
    end_reason: str | None
    end_syndrome: int
    end_address: int | None
    stack: int | None


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
