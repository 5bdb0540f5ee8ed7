"""The kernel's interface for debuggers: `DEBUGGER_INTERFACE`, by which a debugger asks for a test.

What it promises stands in `kernel/src/debugger.rs`.
"""

from __future__ import annotations

from gdbplugin.kernel.kernel import Kernel, NotTinyOSError
from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Type
from gdbplugin.records import dataclass, fields

INTERFACE = "tinyos::debugger::DEBUGGER_INTERFACE"
CHANGED = "tinyos::debugger::debugger_request_changed"
"""The function that the kernel calls when `active` or `progress` has changed, and when it has failed."""

CONTEXT_TEST, STRESS_TEST, CANCEL = 1, 2, 3
NAMES = {CONTEXT_TEST: "context switching test", STRESS_TEST: "stress test", CANCEL: "cancellation"}
NO_ROOM = 4
"""Not all tasks of the test could be started."""
RESULTS = {0: "passed", 1: "failed", 2: "unknown request", 3: "cancelled", NO_ROOM: "no room"}

_MAGIC = b"TinyOSdb"
# The first version that says what is being carried out.
_VERSION = 2


@dataclass(frozen=True)
class Interface:
    """Numbers of requests: one not taken up yet, the one being carried out (0: none), and those done.

    `progress` counts the steps of the active one, or of the last.
    """

    version: int | None
    request: int | None
    served: int | None
    result: int | None
    progress: int | None
    progress_total: int | None
    is_ready: int | None
    active: int | None


def read_interface(kernel: Kernel) -> Interface:
    """Read it; raises `NotTinyOSError` where this kernel takes no requests, or in an older way."""
    if not kernel.keeps_promises and kernel.layout.static(INTERFACE) is None:
        raise NotTinyOSError(
            "this kernel has no interface for debuggers (DEBUGGER_INTERFACE): it cannot be asked for a test"
        )
    place = kernel.static(INTERFACE)
    raw = kernel.memory.read(place.address, place.type.size)
    if not raw.startswith(_MAGIC):
        raise NotTinyOSError(f"DEBUGGER_INTERFACE begins with {raw[:8]!r} instead of {_MAGIC!r}")
    interface = decode_interface(place.type, raw)
    if interface.version is None or interface.version < _VERSION or interface.active is None:
        raise NotTinyOSError(
            f"this kernel's debugger interface is of version {interface.version}, "
            f"but requests are made by version {_VERSION}"
        )
    return interface


def decode_interface(type_: Type, raw: bytes) -> Interface:
    """The interface out of its bytes, by its static's type; None for what this kernel's has not."""
    values = value(type_, raw)
    found = {field.name: values.get(field.name) for field in fields(Interface)}
    return Interface(**{name: entry if isinstance(entry, int) else None for name, entry in found.items()})
