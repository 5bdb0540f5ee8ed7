"""AArch64: system registers and their fields, translation tables, and exceptions.

Pure: these modules know a `Machine`, but neither a debugger nor a kernel. Section numbers are those of
the Arm Architecture Reference Manual for A-profile (DDI 0487).
"""
