"""Where the packages lie that the plugin depends on: GDB's Python knows no virtual environment.

In a checkout they are in its own `.venv`; installed, they are beside the plugin's package. Loaded while GDB
starts: nothing may be imported here that GDB's own Python has not loaded already.
"""

from __future__ import annotations

import os
import sys


def add() -> None:
    """Make them importable, after everything that is so already: another plugin goes on finding its own."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = os.path.join(root, ".venv", "lib")
    versions = sorted(os.listdir(environment)) if os.path.isdir(environment) else []
    for path in [os.path.join(environment, version, "site-packages") for version in versions] or [root]:
        if path not in sys.path:
            sys.path.append(path)
