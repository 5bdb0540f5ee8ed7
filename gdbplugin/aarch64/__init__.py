"""AArch64 as a debugger meets it: system registers by their fields, and translation tables.

Pure: it knows a `Machine` and nothing of any debugger or kernel. Section numbers in this package
are those of the Arm Architecture Reference Manual for A-profile (DDI 0487).
"""
