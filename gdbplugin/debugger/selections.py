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
    Option(
        "--ttbr", "with this value in TTBR0, ASID and all; with --stage 2 in VTTBR_EL2", "number", "VALUE"
    ),
    Option("--el", "as this exception level would", "number", "N", choices=("0", "1", "2", "3")),
    Option(
        "--stage",
        "of stage 2: what a hypervisor makes of EL1's and EL0's intermediate addresses",
        "number",
        "N",
        choices=("1", "2"),
    ),
    CORE,
)
