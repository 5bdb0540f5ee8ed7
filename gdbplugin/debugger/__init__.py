"""The plugin inside GDB: the only package that imports `gdb`."""
