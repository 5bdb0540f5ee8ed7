"""The options by which a user says whose translation is meant; the commands on the MMU share them.

Loaded while GDB starts.
"""

from gdbplugin.debugger.command import Option

CORE = Option(
    "--core",
    "of this core, rather than the selected thread's",
    "number",
    "N",
    complete="gdbplugin.kernel.selection:cores",
)
SELECTION = (
    Option(
        "--asid",
        "of the address space with this ASID",
        "number",
        "N",
        complete="gdbplugin.kernel.selection:asids",
    ),
    Option("--ttbr", "with this value in TTBR0, ASID and all", "number", "VALUE"),
    Option("--el", "as exception level N would, 0 to 3", "number", "N"),
    Option("--stage", "2: of what a hypervisor has EL1's and EL0's intermediate addresses be", "number", "N"),
    CORE,
)
