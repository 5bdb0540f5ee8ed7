"""Permissions of mapped memory, and the fault that an access takes (DDI 0487, D8.4)."""

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
    """A kind of memory access."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"


def permissions_at(attributes: Attributes, level: int, *, pan: bool = False) -> Permissions:
    """The permissions of EL0 (`level` 0) or of the regime's privileged level (any other `level`).

    `pan` is PSTATE.PAN.
    """
    if level == 0:
        return attributes.el0
    return attributes.el1_with_pan if pan else attributes.el1


def permissions_by_level(
    levels: Iterable[int], attributes: Attributes, *, pan: bool = False
) -> dict[str, str]:
    """The permissions of each exception level, as text: `{"EL0": "r--", "EL1": "rw-"}`.

    `pan` as in `permissions_at`.
    """
    return {f"EL{level}": str(permissions_at(attributes, level, pan=pan)) for level in levels}


@dataclass(frozen=True)
class MemoryAttributes:
    """The attributes of mapped memory: permissions, memory type and flags.

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
    """The memory type, from MAIR_ELx; null if that is not known."""
    asid: int | None
    """The ASID of the mapping; null if it is global."""

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
        """What EL0 may do; null if the regime has no EL0."""
        return self.permissions.get("EL0")

    @property
    def el1(self) -> str | None:
        """What EL1 may do; null if the regime is not EL1's."""
        return self.permissions.get("EL1")

    @property
    def el1_with_pan(self) -> str | None:
        """What EL1 may do while PSTATE.PAN is set; null if the regime is not EL1's."""
        return self.permissions_with_pan.get("EL1")


def access_fault(
    regime: TranslationRegime, translation: Translation, access: Access, level: int, *, pan: bool = False
) -> Fault | None:
    """The fault that an access from exception level `level` takes; None if it succeeds.

    A fault of the walk takes precedence. With the MMU off every access is permitted.
    """
    if regime.enabled and level == 0 and regime.control(translation.input).rules.el0_disabled:
        return Fault("translation", 0, f"EL0 may not use this range (TCR_EL{regime.level}.E0PD)")
    stage2 = translation.stage2
    if stage2 is None:
        return translation.fault or _permission_fault(translation, access, level, pan, regime.stage)
    return (
        _permission_fault(translation, access, level, pan, regime.stage)
        or stage2.fault
        or _permission_fault(stage2, access, level, pan=False, stage=2)
    )


def _permission_fault(
    translation: Translation, access: Access, level: int, pan: bool, stage: Literal[1, 2]
) -> Fault | None:
    """The permission fault of one stage; None if it permits the access, or if its walk found no leaf."""
    if translation.attributes is None:
        return None
    allowed = permissions_at(translation.attributes, level, pan=pan)
    if {Access.READ: allowed.read, Access.WRITE: allowed.write, Access.EXECUTE: allowed.execute}[access]:
        return None
    reason = f"EL{level} may not {access.value} there ({allowed})"
    return Fault("permission", translation.levels[-1].level, reason, stage)
