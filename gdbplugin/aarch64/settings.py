"""From the fields of a TCR and a TTBR to the control of one range of addresses (DDI 0487, D8.2, D24.2)."""

from __future__ import annotations

from collections.abc import Mapping

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import AddressFormat, AttributeRules
from gdbplugin.aarch64.features import WIDEST_ADDRESS_BITS, Features
from gdbplugin.aarch64.registers import bits, physical_address_bits
from gdbplugin.records import dataclass, replace

_GRANULE_BITS_0 = {0: 12, 1: 16, 2: 14}
_GRANULE_BITS_1 = {1: 14, 2: 12, 3: 16}
_LARGEST_SIZE_OFFSET = 39
_LARGEST_SIZE_OFFSET_SMALL_TABLES = {12: 48, 14: 48, 16: 47}
_SMALLEST_SIZE_OFFSET = 16
_SMALLEST_SIZE_OFFSET_LARGE_ADDRESSES = 12
_SELECTS_52_BITS = 6
_STAGE2_ROOT_LEVELS = {12: {0: 2, 1: 1, 2: 0, 3: 3}, 14: {0: 3, 1: 2, 2: 1, 3: 0}, 16: {0: 3, 1: 2, 2: 1}}
"""By granule and VTCR_EL2.SL0 (D24.2)."""
_LEAST_BITS_FOR_TWO = {12: 44, 14: 42, 16: 44}
"""Width of physical addresses from which on SL0 may be 2."""
_CONCATENATED_BITS = 4


@dataclass(frozen=True)
class RangeSetting:
    """The fields of a TCR that speak of one range, under the same names for every layout of a TCR."""

    number: int
    size_offset: int
    granule: int
    shareability: int
    top_byte_ignored: bool
    walks_disabled: bool
    hierarchical_disabled: bool
    el0_disabled: bool
    physical_size: int
    long_descriptors: bool

    @classmethod
    def of(cls, number: int, tcr: Mapping[str, int], two_ranges: bool) -> RangeSetting:
        """The fields of range `number`, which is 0 where there is only one."""
        suffix = str(number) if two_ranges else ""
        return cls(
            number,
            size_offset=tcr[f"T{number}SZ"],
            granule=tcr[f"TG{number}"],
            shareability=tcr[f"SH{number}"],
            top_byte_ignored=bool(tcr[f"TBI{suffix}"]),
            walks_disabled=bool(tcr.get(f"EPD{number}", 0)),
            hierarchical_disabled=bool(tcr[f"HPD{suffix}"]),
            el0_disabled=bool(tcr.get(f"E0PD{number}", 0)),
            physical_size=tcr["IPS" if two_ranges else "PS"],
            long_descriptors=bool(tcr["DS"]),
        )

    def granule_bits(self, features: Features) -> int:
        """The granule's width; for one that is reserved or not there, the smallest there is, as QEMU does.

        The manual leaves the choice to the implementation (D24.2, TCR_EL1.TG0).
        """
        chosen = (_GRANULE_BITS_1 if self.number else _GRANULE_BITS_0).get(self.granule)
        if chosen in features.granules and chosen is not None:
            return chosen
        return min(features.granules, default=12)


def _address_format(setting: RangeSetting, granule_bits: int, features: Features) -> AddressFormat:
    if granule_bits == 16:
        wide = features.physical_bits >= WIDEST_ADDRESS_BITS
        return AddressFormat.LPA if wide else AddressFormat.BITS_48
    if setting.long_descriptors and granule_bits in features.long_addresses:
        return AddressFormat.LPA2
    return AddressFormat.BITS_48


def _size_bounds(granule_bits: int, address_format: AddressFormat, features: Features) -> tuple[int, int]:
    """The smallest and the largest TnSZ (D8.2.3)."""
    large = features.large_virtual_addresses if granule_bits == 16 else address_format is AddressFormat.LPA2
    return (
        _SMALLEST_SIZE_OFFSET_LARGE_ADDRESSES if large else _SMALLEST_SIZE_OFFSET,
        _LARGEST_SIZE_OFFSET_SMALL_TABLES[granule_bits] if features.small_tables else _LARGEST_SIZE_OFFSET,
    )


def _base(table: int, setting: RangeSetting, address_format: AddressFormat) -> int:
    """The table's address in a TTBR; the wide form keeps bits 51:48 in bits 5:2 (D24.2, TTBR0_EL1)."""
    wide = address_format is AddressFormat.LPA2 or (
        address_format is AddressFormat.LPA and setting.physical_size >= _SELECTS_52_BITS
    )
    if wide:
        return bits(table, 5, 2) << 48 | bits(table, 47, 6) << 6
    return bits(table, 47, 1) << 1


def stage2_control(
    vtcr: Mapping[str, int], table: int, features: Features, rules: AttributeRules
) -> TranslationControl:
    """The control that a VTTBR_EL2 holding `table` makes with the fields of VTCR_EL2 (D8.2.3, D24.2).

    `features` are those of stage 2.
    """
    setting = RangeSetting(
        0,
        size_offset=vtcr["T0SZ"],
        granule=vtcr["TG0"],
        shareability=vtcr["SH0"],
        top_byte_ignored=False,
        walks_disabled=False,
        hierarchical_disabled=True,  # No descriptor of stage 2 has such attributes.
        el0_disabled=False,
        physical_size=vtcr["PS"],
        long_descriptors=bool(vtcr["DS"]),
    )
    control = control_of(setting, ("VTTBR_EL2", "VTCR_EL2"), table, features, rules)
    level = _stage2_root_level(vtcr, control.granule_bits, control.address_format, features)
    defect = control.defect
    wide = control.address_format is not AddressFormat.BITS_48
    widest = features.physical_bits if wide else min(features.physical_bits, 48)
    if defect is None and control.input_bits > widest:
        defect = f"VTCR_EL2.T0SZ asks for {control.input_bits} bits, and there are {widest}"
    if defect is None and level is None:
        defect = f"VTCR_EL2.SL0 is {vtcr['SL0']}, which is reserved here"
    if level is not None:
        # By 1 to 16 tables, of up to a granule each, that follow on each other.
        index_bits = control.input_bits - control.shift(level)
        if not 1 <= index_bits <= control.stride + _CONCATENATED_BITS:
            defect = defect or f"VTCR_EL2.SL0 is {vtcr['SL0']}, which does not go with T0SZ {vtcr['T0SZ']}"
    return replace(control, root_level=None if defect else level, defect=defect)


def _stage2_root_level(
    vtcr: Mapping[str, int], granule_bits: int, address_format: AddressFormat, features: Features
) -> int | None:
    """The level at which stage 2 starts, by VTCR_EL2.SL0 and SL2; None for what is reserved."""
    chosen = vtcr["SL0"]
    long = address_format is AddressFormat.LPA2
    if granule_bits == 12 and long and vtcr["SL2"]:
        return -1 if chosen == 0 else None
    if chosen == 3 and not (features.small_tables if granule_bits == 12 else long):
        return None
    if chosen == 2 and features.physical_bits < _LEAST_BITS_FOR_TWO[granule_bits]:
        return None
    return _STAGE2_ROOT_LEVELS[granule_bits].get(chosen)


def control_of(
    setting: RangeSetting, names: tuple[str, str], table: int, features: Features, rules: AttributeRules
) -> TranslationControl:
    """The control that a TTBR holding `table` makes with its part of a TCR, which `names` are of."""
    name, tcr = names
    granule_bits = setting.granule_bits(features)
    address_format = _address_format(setting, granule_bits, features)
    smallest, largest = _size_bounds(granule_bits, address_format, features)
    defect, size_offset = None, setting.size_offset
    if not smallest <= size_offset <= largest:
        defect = f"{tcr}.T{setting.number}SZ is {size_offset}, outside {smallest} to {largest}"
        # The shape must still make sense to whoever asks for it, though nothing is translated by it.
        size_offset = min(max(size_offset, smallest), largest)
    widest = 48 if address_format is AddressFormat.BITS_48 else WIDEST_ADDRESS_BITS
    return TranslationControl(
        name=name,
        base=_base(table, setting, address_format),
        asid=None,
        granule_bits=granule_bits,
        input_bits=64 - size_offset,
        output_bits=min(physical_address_bits(setting.physical_size), features.physical_bits, widest),
        upper=setting.number == 1,
        top_byte_ignored=setting.top_byte_ignored,
        walks_disabled=setting.walks_disabled,
        hierarchical_disabled=setting.hierarchical_disabled,
        common_not_private=bool(table & 1),
        address_format=address_format,
        rules=replace(
            rules,
            el0_disabled=setting.el0_disabled and features.el0_can_be_disabled,
            shareability=setting.shareability if address_format is AddressFormat.LPA2 else None,
        ),
        defect=defect,
    )
