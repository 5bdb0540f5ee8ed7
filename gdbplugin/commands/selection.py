"""The options that select which core's or which tables' translation is meant."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target


def offered_cores(target: Target) -> list[int]:
    """The numbers of the cores."""
    from gdbplugin.kernel import selection

    return selection.cores(target)


def offered_asids(target: Target) -> list[int]:
    """The ASIDs of the address spaces."""
    from gdbplugin.kernel import selection

    return selection.asids(target)


CORE = Option(
    "--core", "of this core, rather than the selected thread's", "number", "N", complete=offered_cores
)
SELECTION = (
    Option("--asid", "of the address space with this ASID", "number", "N", complete=offered_asids),
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
