"""The plugin's entry: `gdb -x gdbplugin/tinyos.py`, or `source` at GDB's prompt.

GDB compiles this file anew each time, so it is small: it makes the package importable and has the commands
registered. Nothing is asked of a target and no setting is changed. GDB runs it among the names of the user's
own Python, and other plugins' files as well: so it leaves none there.
"""


def _load_tinyos() -> None:
    import os
    import sys

    import gdb

    here = os.path.dirname(os.path.realpath(__file__))
    # Only for this import: what else is beside the package is nothing for other plugins to find.
    sys.path.insert(0, os.path.dirname(here))
    try:
        import gdbplugin
    finally:
        sys.path.remove(os.path.dirname(here))
    # A package of somebody else's may be a module of one file.
    loaded = os.path.realpath(next(iter(getattr(gdbplugin, "__path__", [gdbplugin.__file__]))))
    try:
        from gdbplugin.debugger import registration
    except ImportError as error:
        gdb.write(f"tinyos: not loaded, beside the gdbplugin of {loaded}: {error}\n", gdb.STDERR)
        return
    if loaded != here:
        gdb.write(f"tinyos: {loaded} is loaded already, and stays; {here} needs another GDB\n", gdb.STDERR)
    registration.register()


_load_tinyos()
del _load_tinyos
