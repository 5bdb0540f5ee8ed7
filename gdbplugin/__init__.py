"""A GDB front end and memory debugger for TinyOS and the AArch64 memory management beneath it."""
