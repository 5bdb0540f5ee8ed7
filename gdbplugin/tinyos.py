"""The plugin's entry: `gdb -x gdbplugin/tinyos.py`, or `source` at GDB's prompt.

GDB compiles this file anew each time, so it is small: it makes the package and its dependencies
importable and has the commands registered. Nothing is asked of a target and no setting is changed.
"""

import glob
import os
import sys


def _add_paths() -> None:
    """Make `gdbplugin` importable, and what it depends on: GDB's Python knows no virtual environment.

    In a checkout the packages are in its own `.venv`; installed, they are beside the package.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path in (root, *glob.glob(os.path.join(root, ".venv", "lib", "python3*", "site-packages"))):
        if path not in sys.path:
            sys.path.append(path)


_add_paths()

from gdbplugin.debugger import registry  # noqa: E402 (the path is made first)

registry.register()
