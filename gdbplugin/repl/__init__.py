"""The program `tinyos-repl`: a session at a prompt like that of the kernel's own shell."""
