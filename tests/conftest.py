"""Fixtures shared by all tests: those of the package's own pytest plugin, by shorter names."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from gdbplugin.pytest_plugin import Boot
from gdbplugin.session import TinyOS
from tests.setup_sandbox import Sandbox

_TOP = Path(__file__).resolve().parents[1]
_KERNEL_TARGET = "aarch64-unknown-none-softfloat"

# A shell has its background jobs ignore Ctrl-C, and so would every program that the tests start to interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests that repeat something do so at length, and be counted where they cannot run."""
    parser.addoption("--soak", action="store_true", help="200 sessions in a row, every command interrupted")
    parser.addoption(
        "--skip-all", metavar="REASON", help="skip every test: scripts/test --newest without any"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip all of them where `--skip-all` says why."""
    if reason := config.getoption("--skip-all"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def kernel_elf(tinyos_kernel: Path) -> Path:
    """The kernel's ELF."""
    return tinyos_kernel


@pytest.fixture(scope="session")
def kernel_image(kernel_elf: Path) -> Path:
    """The flat image made of the same kernel."""
    return kernel_elf.with_name("kernel8.img")


@pytest.fixture(scope="session")
def dwarf5_elf() -> Path:
    """The same kernel with debug information of DWARF 5. It is built once: cargo sees what has changed."""
    target = _TOP / "build" / "dwarf5"
    # An array of cargo's configuration is added to the one in kernel/.cargo/config.toml.
    flags = f'target.{_KERNEL_TARGET}.rustflags=["-Cdwarf-version=5"]'
    script = f""". scripts/lib/common.sh && load_environment && cargo_for_kernel build --quiet --locked \
        --release --bin kernel --target-dir {target} --config '{flags}'"""
    done = subprocess.run(["bash", "-c", script], cwd=_TOP, capture_output=True, text=True, timeout=580)
    if done.returncode:
        pytest.fail(f"the kernel does not build with DWARF 5: {done.stderr[-2000:]}", pytrace=False)
    return target / _KERNEL_TARGET / "release" / "kernel"


def _other_kernel(name: str) -> Path:
    """A small kernel of the same design by other names, of `tests/kernels`. It is built once, as above."""
    target = _TOP / "build" / "kernels"
    manifest = _TOP / "tests" / "kernels" / name / "Cargo.toml"
    script = f""". scripts/lib/common.sh && load_environment && cargo_for_kernel build --quiet --locked \
        --offline --release --manifest-path {manifest} --target-dir {target}"""
    done = subprocess.run(["bash", "-c", script], cwd=_TOP, capture_output=True, text=True, timeout=580)
    if done.returncode:
        pytest.fail(f"the kernel {name} does not build: {done.stderr[-2000:]}", pytrace=False)
    return target / _KERNEL_TARGET / "release" / {"design": "meadow", "variant": "orchard"}[name]


@pytest.fixture(scope="session")
def design_elf() -> Path:
    """A kernel with the design's records alone, at EL3 with the MMU off."""
    return _other_kernel("design")


@pytest.fixture(scope="session")
def variant_elf() -> Path:
    """One that differs in all that the design leaves open, at EL2 with the MMU on, with two managers."""
    return _other_kernel("variant")


@pytest.fixture
def machine(tinyos: TinyOS) -> TinyOS:
    """A machine of this test's own, at the kernel's prompt."""
    return tinyos


@pytest.fixture(scope="module")
def shared_machine(shared_tinyos: TinyOS) -> TinyOS:
    """A machine for the tests of one module that leave it running and as they found it."""
    return shared_tinyos


@pytest.fixture
def boot(boot_tinyos: Boot) -> Boot:
    """Boots machines with `QemuOptions` of the test's own; they are ended after it."""
    return boot_tinyos


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A checkout in which set-up runs against stand-ins."""
    return Sandbox(tmp_path)


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """A sandbox after its first set-up."""
    sandbox.all_programs()
    sandbox.setup()
    sandbox.forget()
    return sandbox
