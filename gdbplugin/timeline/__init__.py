"""Timelines: what a kernel did over some time, as a trace that Perfetto shows (ui.perfetto.dev)."""
