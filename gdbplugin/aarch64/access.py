"""What exception levels may do to mapped memory, and the fault that an access takes (DDI 0487, D8.4)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from gdbplugin.aarch64.descriptor import Attributes, Permissions
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import Fault, Translation
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class Access(Enum):
    """What is done to memory."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"


def permissions_at(attributes: Attributes, level: int, *, pan: bool = False) -> Permissions:
    """What exception level `level` may do, EL0 being 0 and any other the regime's privileged one.

    `pan` is PSTATE.PAN.
    """
    if level == 0:
        return attributes.el0
    return attributes.el1_with_pan if pan else attributes.el1


def permissions_by_level(
    levels: Iterable[int], attributes: Attributes, *, pan: bool = False
) -> dict[str, str]:
    """What each of these exception levels may do: `{"EL0": "r--", "EL1": "rw-"}`, or `{"EL2": "rwx"}`.

    `pan` as in `permissions_at`.
    """
    return {f"EL{level}": str(permissions_at(attributes, level, pan=pan)) for level in levels}


@dataclass(frozen=True)
class MemoryAttributes:
    """The attributes of mapped memory: what each exception level may do there, the memory type, the flags.

    `levels` are the exception levels of the regime that maps it.
    """

    json_fields = (
        "permissions",
        "permissions_with_pan",
        "el0",
        "el1",
        "el1_with_pan",
        "memory_type",
        "asid",
        "leaf",
    )
    json_merged = ("leaf",)

    leaf: Attributes
    levels: tuple[int, ...]
    memory_type: str | None
    """The memory type that MAIR_ELx names; null where that is not known."""
    asid: int | None
    """The ASID that the mapping is of; null where it is global."""

    @property
    def permissions(self) -> dict[str, str]:
        """What each exception level of the regime may do, as r-x."""
        return permissions_by_level(self.levels, self.leaf)

    @property
    def permissions_with_pan(self) -> dict[str, str]:
        """The same while PSTATE.PAN is set."""
        return permissions_by_level(self.levels, self.leaf, pan=True)

    @property
    def el0(self) -> str | None:
        """What EL0 may do; null where the regime has no EL0."""
        return self.permissions.get("EL0")

    @property
    def el1(self) -> str | None:
        """What EL1 may do; null where the regime is not EL1's."""
        return self.permissions.get("EL1")

    @property
    def el1_with_pan(self) -> str | None:
        """What EL1 may do while PSTATE.PAN is set; null where the regime is not EL1's."""
        return self.permissions_with_pan.get("EL1")


def access_fault(
    regime: TranslationRegime, translation: Translation, access: Access, level: int, *, pan: bool = False
) -> Fault | None:
    """The fault that an access from exception level `level` takes, or None where it succeeds.

    A fault of the walk itself comes first; with the MMU off nothing is forbidden.
    """
    if regime.enabled and level == 0 and regime.control(translation.input).rules.el0_disabled:
        return Fault("translation", 0, f"EL0 may not use this range (TCR_EL{regime.level}.E0PD)")
    second = translation.second
    if second is None:
        return translation.fault or _forbidden(translation, access, level, pan, regime.stage)
    return (
        _forbidden(translation, access, level, pan, regime.stage)
        or second.fault
        or _forbidden(second, access, level, pan=False, stage=2)
    )


def _forbidden(
    translation: Translation, access: Access, level: int, pan: bool, stage: Literal[1, 2]
) -> Fault | None:
    """The permission fault that one stage alone has for an access, where its walk has found a leaf."""
    if translation.attributes is None:
        return None
    allowed = permissions_at(translation.attributes, level, pan=pan)
    if {Access.READ: allowed.read, Access.WRITE: allowed.write, Access.EXECUTE: allowed.execute}[access]:
        return None
    reason = f"EL{level} may not {access.value} there ({allowed})"
    return Fault("permission", translation.levels[-1].level, reason, stage)
