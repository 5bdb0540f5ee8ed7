"""TinyOS's objects, decoded from a machine's memory into frozen dataclasses.

Pure: it knows a `Machine`, a `Layout` and the AArch64 tables, and no debugger. The fields have the
names of the kernel's own. A field is None where this kernel's type has none of that name, or where
what lies there cannot be a value of it; the `Journal` says which.
"""
