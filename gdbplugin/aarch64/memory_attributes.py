"""The attributes of mapped memory as one translation regime takes them."""

from __future__ import annotations

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.records import dataclass


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
