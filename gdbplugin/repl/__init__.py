"""`tinyos-repl`: a prompt like the kernel's own shell, in front of a session."""
