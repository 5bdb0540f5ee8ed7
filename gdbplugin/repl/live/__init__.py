"""The full-screen view of a kernel while it runs. Pure but for `feed`, `keys` and `application`."""

from gdbplugin.repl.live.application import live, run_live

__all__ = ["live", "run_live"]
