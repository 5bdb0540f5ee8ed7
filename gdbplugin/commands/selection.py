"""The options that select the core and the translation tables."""

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
    "--core", "use this core instead of the selected thread's", "number", "N", complete=offered_cores
)
SELECTION = (
    Option("--asid", "use the address space with this ASID", "number", "N", complete=offered_asids),
    Option(
        "--ttbr", "use this value of TTBR0, with its ASID; with --stage 2, of VTTBR_EL2", "number", "VALUE"
    ),
    Option("--el", "translate as this exception level does", "number", "N", choices=("0", "1", "2", "3")),
    Option(
        "--stage",
        "the stage to use: 2 is a hypervisor's, for intermediate addresses of EL1 and EL0",
        "number",
        "N",
        choices=("1", "2"),
    ),
    CORE,
)
