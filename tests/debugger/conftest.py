"""GDB in batch mode, with the plugin, on a machine that runs the kernel."""

import contextlib
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gdbplugin.session import process
from gdbplugin.session.gdb import find_gdb
from gdbplugin.session.qemu import find_qemu
from tests.debugger.stub_proxy import StubProxy

# Stopped in Rust's own library, GDB says that it does not find the sources, which is not an error.
_NO_SOURCE = re.compile(r"^(?:warning: )?\d+\t/rustc/.*: No such file or directory\.?\n", re.MULTILINE)
PLUGIN = Path(__file__).resolve().parents[2] / "gdbplugin" / "tinyos.py"


@dataclass(frozen=True)
class Outcome:
    """What a batch of GDB commands printed, and how GDB ended."""

    output: str
    errors: str
    status: int


def gdb(*commands, elf=None, plugin=PLUGIN):
    """Run GDB commands; each is run even if the one before it failed."""
    arguments = [find_gdb(), "--nx", "--quiet", "--batch", "-iex", "set debuginfod enabled off"]
    if plugin is not None:
        arguments += ["-x", str(plugin)]
    if elf is not None:
        arguments.append(str(elf))
    for command in commands:
        arguments += ["-ex", command]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return Outcome(done.stdout, _NO_SOURCE.sub("", done.stderr), done.returncode)


@contextlib.contextmanager
def stopped(folder, *machine):
    """The address of the debug stub of a machine stopped before its first instruction."""
    path = folder / "stub"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        chardev = f"socket,id=stub,fd={listener.fileno()},server=on,wait=off"
        arguments = [*machine, "-nodefaults", "-display", "none", "-audio", "none", "-S"]
        arguments += ["-chardev", chardev, "-gdb", "chardev:stub"]
        with (folder / "log").open("wb") as log:
            child = process.start(
                [find_qemu(), *arguments], stdout=log, stderr=log, inherited=[listener.fileno()]
            )
    try:
        yield str(path)
    finally:
        process.end(child)


@pytest.fixture
def proxy(shared_machine, tmp_path):
    """A proxy of the machine's stub; GDB connects to its `address`."""
    with StubProxy(tmp_path, shared_machine.qemu.gdb_address) as between:
        yield between


@pytest.fixture
def hiding_proxy(shared_machine, tmp_path):
    """A proxy that hides the mode for physical addresses: the stub then reads only virtual ones."""
    with StubProxy(tmp_path, shared_machine.qemu.gdb_address, ("qqemu", "Qqemu")) as between:
        yield between
