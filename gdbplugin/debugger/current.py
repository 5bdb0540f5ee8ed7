"""The stopped target of the current commands: its machine with a cache, and the program's layout.

What was read is kept until the target runs, is written to or is gone, or gets a command such as `monitor`,
which may reset it or restore a snapshot. Nothing is read before a command asks for it.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

import gdb

from gdbplugin.debugger.guards import sigint_deferred
from gdbplugin.debugger.layout import (
    GdbLayout,
    WrongProgramError,
    file_name,
    find_symbol,
    require_manager,
    static_in_files,
    statics_in_files,
)
from gdbplugin.debugger.machine import GdbMachine
from gdbplugin.debugger.packets import is_asking_monitor
from gdbplugin.debugger.preferences import chosen_manager
from gdbplugin.kernel.design import MANAGER, NAMES, DesignLayout, candidates
from gdbplugin.kernel.diagnostics import Diagnostics, History
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.layout.elf import ElfError, ElfImage, read_image
from gdbplugin.layout.types import Layout, LayoutError
from gdbplugin.machine import (
    CachedMachine,
    Machine,
    MachineError,
    PhysicalReadError,
    UnreadableMemoryError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.debugger.dumps import GdbDump

_SILENT_COMMANDS = ("monitor", "restore", "load", "flash-erase")
"""Commands that may change the target without an event from GDB."""


class NoTargetError(MachineError):
    """There is no stopped target to read from."""


class NotAArch64Error(MachineError):
    """GDB treats the target as another architecture, and so does not know its registers."""


class _State:
    """What is kept between commands. GDB's events call its methods."""

    def __init__(self) -> None:
        self.source: GdbMachine | GdbDump | None = None
        self.cached: CachedMachine | None = None
        self.verified = False
        self.layout: DesignLayout | None = None
        self.image: ElfImage | None = None
        self.decoded: dict[str, Any] = {}
        self.space: gdb.Progspace | None = None
        self.histories: dict[int | None, History] = {}
        self.watching = False
        self.ignoring = False

    @property
    def history(self) -> History:
        """The history of the machine that is selected now."""
        connection = gdb.selected_inferior().connection
        return self.histories.setdefault(None if connection is None else connection.num, History())

    def watch(self) -> None:
        """Connect to the events that make what is kept outdated."""
        if self.watching:
            return
        self.watching = True
        events = gdb.events
        events.cont.connect(self.ran)
        events.memory_changed.connect(self.changed)
        events.register_changed.connect(self.changed)
        events.inferior_call.connect(self.changed)
        events.exited.connect(self.gone)
        events.inferior_deleted.connect(self.gone)
        events.connection_removed.connect(self.gone)
        events.new_objfile.connect(self.replaced)
        events.clear_objfiles.connect(self.replaced)
        _hook_commands()

    def ran(self, event: Any) -> None:
        """The target resumes."""
        if self.ignoring:
            return
        self.history.ran()
        self.changed(event)

    def gone(self, event: Any) -> None:
        """The target is gone; the next one is another machine."""
        if self.ignoring:
            return
        self.histories.clear()
        self.changed(event)

    def changed(self, _: Any) -> None:
        """The target ran, was written to, or is gone."""
        if self.ignoring:
            return
        self.source = self.cached = None
        self.verified = False
        self.decoded = {}

    def replaced(self, event: Any) -> None:
        """Other symbols were loaded."""
        if self.ignoring:
            return
        self.layout = self.image = None
        self.gone(event)


_state = _State()


def machine() -> Machine:
    """The stopped machine, for one command; raises `NoTargetError` or `NotAArch64Error`."""
    _require_stopped()
    _require_aarch64()
    _state.watch()
    # In local variables: an event during the command, such as a lost connection, clears `_state`.
    source, cached = _state.source, _state.cached
    if source is None or cached is None or not source.is_current():
        _state.changed(None)
        if _state.space != gdb.current_progspace():
            # Another inferior may have another program.
            _state.space = gdb.current_progspace()
            _state.layout = _state.image = None
        source = _state.source = _selected()
        cached = _state.cached = CachedMachine(source)
    return cached


def _selected() -> GdbMachine | GdbDump:
    """What GDB has selected: a live machine, or a dump."""
    if not is_dump():
        return GdbMachine()
    from gdbplugin.debugger.dumps import GdbDump

    return GdbDump()


def is_dump() -> bool:
    """Whether GDB's target is a core file."""
    connection = gdb.selected_inferior().connection
    return connection is not None and connection.type == "core"


def is_connected_to(address: str) -> bool:
    """Whether the target is the gdbstub at this address: a port of this machine, or a socket's path."""
    connection = gdb.selected_inferior().connection
    details = str(getattr(connection, "details", None) or "")
    port = address.rpartition(":")[2]
    return address == details or (port.isdigit() and port == details.rpartition(":")[2])


def forget() -> None:
    """Drop what was read: the target was written to without an event from GDB."""
    _state.changed(None)


def moved() -> None:
    """The machine is at another moment: it has run, without an event from GDB."""
    _state.ran(None)


def changed_silently() -> None:
    """Called by GDB after a command whose effects it does not track, not even for itself."""
    if is_asking_monitor():
        return
    forget()
    # GDB's own copy of the registers is outdated too. A GDB without this command offers no other way.
    with contextlib.suppress(gdb.error):
        gdb.execute("maintenance flush register-cache", to_string=True)


def live_target_selected() -> contextlib.AbstractContextManager[None]:
    """Select the live target for the length of a `with`, if a task that is shown as a thread is selected."""
    shown = sys.modules.get("gdbplugin.debugger.task_threads")
    return contextlib.nullcontext() if shown is None else shown.live_selected()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep what was read through a `with` that changes other inferiors than the target's."""
    _state.ignoring = True
    try:
        yield
    finally:
        _state.ignoring = False


def _hook_commands() -> None:
    """Hook `changed_silently` to those commands, except where the user has a hook."""
    for command in _SILENT_COMMANDS:
        hook(f"hookpost-{command}", __name__, "changed_silently")


def hook(name: str, module: str, function: str) -> None:
    """Let a hook of GDB's call a function of a module, except where the user has that hook."""
    try:
        gdb.execute(f"show user {name}", to_string=True)
    except gdb.error:
        # Not by an import statement, which would add a name to the user's Python.
        call = f"__import__({module!r}, fromlist=['']).{function}()"
        gdb.execute(f"define {name}\npython {call}\nend", to_string=True)


def history() -> History:
    """What commands read at earlier stops of this machine."""
    return _state.history


def decoded() -> dict[str, Any]:
    """The objects already decoded at this stop."""
    return _state.decoded


def memory_map() -> MemoryMap:
    """QEMU's map of the machine's physical memory; call `machine` first."""
    return _state.source.memory_map if _state.source is not None else MemoryMap()


def selected_core() -> int:
    """The number of the core selected in GDB; call `machine` first."""
    return _state.source.selected_core if _state.source is not None else 0


@contextlib.contextmanager
def seen_from(core: int) -> Iterator[None]:
    """Select a core in GDB for the length of a `with`; call `machine` first."""
    source = _state.source
    if source is None:
        raise NoTargetError("the target is gone")
    with source.selected(core):
        yield


def layout(target: Machine) -> DesignLayout:
    """The loaded program's layout; raises `WrongProgramError` unless the machine runs that very program."""
    image = _image()
    found = _layout()
    if not _state.verified:
        _require_running(image, target)
        _state.verified = True
    return found


def kernel(diagnostics: Diagnostics) -> Kernel:
    """TinyOS on the stopped machine; raises a `MachineError` if another program is loaded."""
    target = machine()
    return Kernel(target, layout(target), diagnostics, history(), decoded())


def program() -> tuple[ElfImage, Layout] | None:
    """The loaded program, if it is TinyOS, and its layout; whether anything runs it is not asked."""
    try:
        return required_program()
    except (MachineError, LayoutError):
        return None


def required_program() -> tuple[ElfImage, Layout]:
    """The loaded program and its layout; raises a `MachineError` or `LayoutError` if it is not TinyOS."""
    return _image(), _layout()


def choose_again() -> None:
    """Look for TinyOS's manager again: the user chose another static."""
    _state.replaced(None)


def manager_problem() -> str:
    """Why the manager is not found in the loaded program; empty if it is found."""
    try:
        _layout().static(MANAGER)
    except (LayoutError, MachineError) as error:
        return str(error)
    return ""


def manager_paths() -> list[str]:
    """The paths of the loaded program's statics that have the shape of TinyOS's manager, for completion."""
    try:
        statics = statics_in_files(NAMES)
        own = find_symbol(MANAGER) and static_in_files(MANAGER)
    except (LayoutError, MachineError, gdb.error):
        return []
    if own:
        statics.setdefault(own.name, own)
    return sorted(static.name for static in candidates(statics.values()))


def _layout() -> DesignLayout:
    """The loaded program's layout; raises `WrongProgramError` if it is not TinyOS or cannot be read."""
    if _state.layout is None:
        chosen = chosen_manager()
        found = DesignLayout(GdbLayout(static_in_files), statics_in_files, chosen)
        try:
            if chosen or find_symbol(MANAGER) is None:
                require_manager(found, chosen)
        except LayoutError as error:
            raise WrongProgramError(str(error)) from error
        _state.layout = found
    return _state.layout


def _require_stopped() -> None:
    thread = gdb.selected_thread()
    if thread is None or not thread.is_valid():
        raise NoTargetError("there is no target: connect to one first (target remote HOST:PORT)")
    require_not_running()


def require_not_running() -> None:
    """Raise `NoTargetError` if the target is running."""
    thread = gdb.selected_thread()
    if thread is not None and thread.is_running():
        raise NoTargetError("the target is running: stop it first (Ctrl-C, or interrupt)")


def _require_aarch64() -> None:
    inferior = gdb.selected_inferior()
    name = inferior.architecture().name()
    if not name.startswith("aarch64"):
        described = described_architecture(inferior)
        if described and not described.startswith("aarch64"):
            raise NotAArch64Error(
                f"the target describes itself as {described}: the tinyos commands are for AArch64"
            )
        space = gdb.current_progspace()
        program = space.filename if space is not None else None
        instead = f"load an AArch64 program instead of {program}" if program else "load the program that runs"
        raise NotAArch64Error(
            f"GDB treats the target as {name}, not as AArch64: {instead} (file PATH), or type `set "
            "architecture aarch64`; then connect again"
        )


def described_architecture(inferior: gdb.Inferior) -> str | None:
    """The architecture in the debug stub's own target description; None if it has none."""
    connection = inferior.connection
    if not isinstance(connection, gdb.RemoteTargetConnection):
        return None
    try:
        with sigint_deferred():
            answer = connection.send_packet("qXfer:features:read:target.xml:0,800")
    except (gdb.error, RuntimeError):
        return None  # The connection was lost; its next use reports that.
    found = re.search(rb"<architecture>\s*([\w:.-]+)\s*</architecture>", answer or b"")
    return found[1].decode() if found else None


def _image() -> ElfImage:
    """The loaded program's headers; raises `WrongProgramError` if they cannot be used."""
    if _state.image is None:
        try:
            _state.image = read_image(file_name())
        except ElfError as error:
            raise WrongProgramError(str(error)) from error
    return _state.image


def _require_running(image: ElfImage, target: Machine) -> None:
    try:
        difference = image.difference(target.read_physical)
    except UnreadableMemoryError as error:
        raise WrongProgramError(f"cannot tell whether the machine runs {image.path}: {error}") from error
    except PhysicalReadError as error:
        raise WrongProgramError(f"{image.path} is not what the machine runs: {error}") from error
    except (ElfError, OSError) as error:
        raise WrongProgramError(str(error)) from error
    if difference:
        raise WrongProgramError(difference)
