"""The plugin's commands as GDB's help has them, for tests that need no GDB."""

from __future__ import annotations

from gdbplugin.repl.line import Vocabulary

HELP = """Show what TinyOS's memory management and the AArch64 MMU beneath it are doing.

The letters of the kernel's own shell work here as well: `tinyos *r` and `tinyos r` mean `tinyos report`.

List of tinyos subcommands:

tinyos check -- Hold TinyOS's records against the hardware's translation tables.
tinyos context, tinyos c -- Show what each core translates by.
tinyos lazy, tinyos l -- Show the lazy pages.
tinyos stacks, tinyos d -- Show every dynamic stack, or all about one.
tinyos stats, tinyos s -- Show the counters.
tinyos translate -- Walk the translation tables for one address.

Type "help tinyos" followed by tinyos subcommand name for full documentation.
"""
VOCABULARY = Vocabulary.of_help(HELP)
