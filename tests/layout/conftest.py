"""A program whose statics have every kind of type, compiled for the host."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shapes_of(tmp_path_factory):
    """Compiles `shapes.rs` with debug information, a build-id and the given options, once for each set."""
    built = {}

    def build(*options):
        if options not in built:
            built[options] = compiled(tmp_path_factory, "-g", *options)
        return built[options]

    return build


@pytest.fixture(scope="session")
def shapes(shapes_of):
    """The ELF of `shapes.rs`, with debug information and a build-id."""
    return shapes_of()


@pytest.fixture(scope="session")
def stripped(tmp_path_factory):
    """The same without debug information and symbols."""
    return compiled(tmp_path_factory, "-Cstrip=symbols")


def compiled(tmp_path_factory, *options):
    compiler = shutil.which("rustc")
    if compiler is None:
        pytest.fail("no rustc: scripts/setup installs one")
    program = tmp_path_factory.mktemp("shapes") / "shapes"
    source = Path(__file__).with_name("shapes.rs")
    arguments = ["--edition=2024", *options, "-Awarnings", "-Clink-arg=-Wl,--build-id", "-o", program, source]
    subprocess.run([compiler, *arguments], check=True, timeout=120)
    return program
