"""What tests of dumps share."""

import pytest


@pytest.fixture(scope="module")
def whole(shared_machine, tmp_path_factory):
    """A dump of the running kernel."""
    path = tmp_path_factory.mktemp("dump") / "dump"
    with shared_machine.stopped():
        shared_machine.gdb(f"tinyos dump {path}", timeout=60)
    return path
