"""Files that are written whole or not at all: to a temporary name first, so that no half file remains."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gdbplugin.machine import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when the `with` ends without an error.

    An older file of that name is replaced in one step. An `OSError` in the `with` becomes a `MachineError`
    of one line. What is not a regular file, such as a device, is refused.
    """
    place = Path(path).expanduser()
    if place.exists() and not place.is_file():
        # It would be replaced: /dev/null, for all programs.
        raise MachineError(f"cannot write {path}: it is not a regular file")
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.replace(temporary, place)
        temporary = None
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
