"""Kernels of TinyOS's design by other names, in QEMU."""

from __future__ import annotations

import pytest

from gdbplugin.session import TinyOS
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
