"""The plugin's entry: `gdb -x gdbplugin/tinyos.py`, or `source` at GDB's prompt.

GDB compiles this file anew each time, so it is small: it makes the package and its dependencies
importable and has the commands registered. Nothing is asked of a target and no setting is changed.
"""

import os
import sys


def _add_paths() -> None:
    """Make `gdbplugin` importable, and what it depends on: GDB's Python knows no virtual environment.

    In a checkout the packages are in its own `.venv`; installed, they are beside the package.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    libraries = os.path.join(root, ".venv", "lib")
    versions = sorted(os.listdir(libraries)) if os.path.isdir(libraries) else []
    for path in (root, *(os.path.join(libraries, version, "site-packages") for version in versions)):
        if path not in sys.path:
            sys.path.append(path)


_add_paths()

from gdbplugin.debugger import registry  # noqa: E402 (the path is made first)

registry.register()
