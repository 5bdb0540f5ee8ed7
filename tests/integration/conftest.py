"""Kernels of TinyOS's design by other names, in QEMU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gdbplugin.pytest_plugin import Boot
from gdbplugin.session import TinyOS
from gdbplugin.session.recorder import option_value
from tests.integration import firmware
from tests.integration.designs import parsed, told


@pytest.fixture(scope="module")
def design(design_elf):
    """The kernel at EL3 with the MMU off."""
    with TinyOS.boot(design_elf) as session:
        yield session, parsed(told(session))


@pytest.fixture(scope="module")
def variant(variant_elf):
    """The kernel at EL2 with two managers, of which the second is chosen; and the figures of both."""
    with TinyOS.boot(variant_elf, manager="reserve::DYNAMIC_MEMORY_MANAGER") as session:
        first, second = told(session).split("second\n")
        yield session, parsed(first), parsed(second)


@pytest.fixture
def entered(boot: Boot, tmp_path: Path, kernel_image: Path) -> Callable[..., TinyOS]:
    """Boots the flat image by other firmware than QEMU's, at a level. More of QEMU's arguments may follow.

    With `tree`, the blob of a device tree, the firmware hands on its address.
    """

    def enter(
        level: int, *extra: str, tree: bytes = b"", stray_interrupt: bool = False, timeout: float = 30.0
    ) -> TinyOS:
        devices = [_loader(kernel_image, firmware.KERNEL)]
        if tree:
            (tmp_path / "board.dtb").write_bytes(tree)
            devices.append(_loader(tmp_path / "board.dtb", firmware.TREE))
        program = firmware.program(level, firmware.TREE if tree else 0, stray_interrupt=stray_interrupt)
        (tmp_path / "firmware.elf").write_bytes(program)
        arguments = [part for device in devices for part in ("-device", device)]
        machine = boot(kernel=tmp_path / "firmware.elf", extra=(*arguments, *extra), timeout=timeout)
        assert f"entered at EL{level}, now at EL1" in machine.console.transcript
        return machine

    return enter


def _loader(file: Path, address: int) -> str:
    return f"loader,file={option_value(file)},addr={address:#x},force-raw=on"
