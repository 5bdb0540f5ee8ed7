"""The full-screen view of a running kernel. All modules but `feed` and `application` are pure."""

from gdbplugin.repl.live.application import live, run_live

__all__ = ["live", "run_live"]
