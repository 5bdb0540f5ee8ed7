"""Fixtures shared by all tests: the kernel as it was built, and machines that run it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbplugin.session import QemuOptions, TinyOS

TOP = Path(__file__).resolve().parents[1]

# A shell has its background jobs ignore Ctrl-C, and so would every program that the tests start and then interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let another kernel be tested than the one just built."""
    parser.addoption("--tinyos-kernel", type=Path, default=TOP / "build" / "kernel.elf", metavar="ELF")


@pytest.fixture(scope="session")
def kernel_elf(request: pytest.FixtureRequest) -> Path:
    """The kernel's ELF."""
    path: Path = request.config.getoption("--tinyos-kernel").resolve()
    if not path.is_file():
        pytest.fail(f"no kernel at {path}: scripts/test builds it, and so does scripts/build")
    return path


@pytest.fixture(scope="session")
def kernel_image(kernel_elf: Path) -> Path:
    """The flat image made of the same kernel."""
    return kernel_elf.with_name("kernel8.img")


@pytest.fixture
def machine(kernel_elf: Path) -> Iterator[TinyOS]:
    """A machine of this test's own, at the kernel's prompt."""
    with TinyOS.boot(kernel_elf) as tinyos:
        yield tinyos


@pytest.fixture(scope="module")
def shared_machine(kernel_elf: Path) -> Iterator[TinyOS]:
    """A machine for the tests of one module that leave it running and as they found it."""
    with TinyOS.boot(kernel_elf) as tinyos:
        yield tinyos


@pytest.fixture
def boot(kernel_elf: Path) -> Iterator[Callable[..., TinyOS]]:
    """Boots machines with `QemuOptions` of the test's own; they are ended after it."""
    machines: list[TinyOS] = []

    def boot_with(**options: object) -> TinyOS:
        wanted = QemuOptions(**{"kernel": kernel_elf, **options})  # type: ignore[arg-type]
        machines.append(TinyOS.boot(kernel_elf, options=wanted))
        return machines[-1]

    yield boot_with
    for machine in machines:
        machine.close()
