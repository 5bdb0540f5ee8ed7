"""Memory types, as a MAIR_ELx names them for the attribute indexes of descriptors (DDI 0487, D24.2)."""

from __future__ import annotations

_DEVICE = ("Device-nGnRnE", "Device-nGnRE", "Device-nGRE", "Device-GRE")
_WHOLE = {
    0x40: "Normal non-cacheable, XS 0",
    0xA0: "Normal write-through, XS 0",
    0xF0: "Normal write-back, tagged",
}
"""Values with a meaning of their own: FEAT_XS, FEAT_MTE2."""
_NON_CACHEABLE = 4
_STAGE2 = (None, "non-cacheable", "write-through", "write-back")
_FORCED = {5: "Normal non-cacheable", 6: "Normal write-back", 7: "as at stage 1"}
_RESERVED = "unpredictable (reserved)"
_ALLOCATION = (" no-allocate", " write-allocate only", " read-allocate only", "")


def memory_type(attribute: int) -> str:
    """The name of the memory type that one 8-bit field of a MAIR_ELx holds.

    Normal memory whose inner and outer cacheability agree is named once; allocation hints are left out,
    save those that forbid what is usual.
    """
    if attribute >> 4 == 0:
        if attribute & 0b10:
            return _RESERVED
        return _DEVICE[attribute >> 2 & 3] + (", XS 0" if attribute & 1 else "")
    if attribute in _WHOLE:
        return _WHOLE[attribute]
    outer, inner = _cacheability(attribute >> 4), _cacheability(attribute & 0xF)
    if inner is None or outer is None:
        return _RESERVED
    return f"Normal {outer}" if outer == inner else f"Normal, outer {outer}, inner {inner}"


def memory_type_at(mair: int | None, index: int) -> str | None:
    """The memory type of an attribute index (AttrIndx, 0 to 7); None where the MAIR_ELx is not known."""
    return None if mair is None else memory_type(mair >> 8 * index & 0xFF)


def stage2_memory_type(attribute: int, forced: bool) -> str:
    """The name of what stage 2's MemAttr holds (D8.6.6), `forced` being HCR_EL2.FWB.

    Without it the weaker of both stages counts, with it stage 2 alone, where it does not leave it to stage 1.
    """
    if forced:
        if not attribute & 4:
            return _DEVICE[attribute & 3]
        return _FORCED.get(attribute & 7, _RESERVED)
    outer, inner = _STAGE2[attribute >> 2], _STAGE2[attribute & 3]
    if outer is None:
        return _DEVICE[attribute & 3]
    if inner is None:
        return _RESERVED
    return f"Normal {outer}" if outer == inner else f"Normal, outer {outer}, inner {inner}"


def is_device(name: str | None) -> bool:
    """Whether a name that `memory_type` gave is of a device type."""
    return name is not None and name.startswith("Device")


def _cacheability(field: int) -> str | None:
    """One 4-bit half of a Normal attribute; None for 0, which has no meaning there."""
    if field == 0:
        return None
    if field == _NON_CACHEABLE:
        return "non-cacheable"
    policy = "write-through" if field < _NON_CACHEABLE or field >> 2 == 2 else "write-back"
    transient = " transient" if field < 8 else ""
    return policy + transient + _ALLOCATION[field & 3]
