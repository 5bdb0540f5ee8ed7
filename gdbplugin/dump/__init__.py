"""A stopped machine as a file: an ELF core that stock GDB opens, with the system registers in a note."""
