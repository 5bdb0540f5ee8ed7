"""`tinyos translate`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form
from gdbplugin.commands.selection import SELECTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.translate import AddressTranslation
    from gdbplugin.render.style import Style


def read(
    target: Target,
    address: Address,
    *,
    core: int | None = None,
    el: int | None = None,
    ttbr: int | None = None,
    asid: int | None = None,
    stage: int | None = None,
) -> AddressTranslation:
    """The walk of the translation tables for one address, and the outcome of a read from there."""
    from gdbplugin.kernel.translate import read_translation

    return read_translation(
        target, target.address(address), core=core, el=el, ttbr=ttbr, asid=asid, stage=stage
    )


def show(shown: AddressTranslation, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import translate

    return translate.text(shown, style)


def content(shown: AddressTranslation) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import translate

    return translate.content(shown)


ARGUMENTS = (Argument("ADDRESS", "the input address, a number or an expression", "address", required=True),)
HELP = """Walk the translation tables for one address, on any AArch64 kernel.

Shows each level's table, index and descriptor with what it says, the attributes that come of all
levels together, and the output address, or the fault that a read from there takes and why.
At most one descriptor is read for each level. Where a hypervisor translates EL1's and EL0's addresses
once more, both stages are walked; --stage 2 takes ADDRESS for an intermediate physical one.
"""
COMMAND = Command(
    "translate",
    Form("tinyos.translate/1", read, show, content),
    help=HELP,
    arguments=ARGUMENTS,
    options=SELECTION,
)
