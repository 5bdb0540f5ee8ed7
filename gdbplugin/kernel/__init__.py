"""TinyOS's objects, decoded from a machine's memory into frozen dataclasses.

Pure: it knows a `Machine`, a `Layout` and the AArch64 tables, and no debugger. Fields have the kernel's own
names. A field is None if this kernel's type has no such field, or if the bytes there are not a value of its
type; `Diagnostics` says which.
"""
