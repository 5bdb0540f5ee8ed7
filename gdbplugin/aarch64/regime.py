"""Translation regimes, as the system registers set them up (DDI 0487, D8.1, D8.2)."""

from __future__ import annotations

from collections.abc import Mapping

from gdbplugin.aarch64.control import (
    RangeFields,
    TranslationControl,
    read_features,
    read_stage2_features,
    stage2_control,
    translation_control,
)
from gdbplugin.aarch64.descriptor import AttributeRules
from gdbplugin.aarch64.registers import asid_bits, bits, decode, exception_level, hardware_updates
from gdbplugin.machine import Machine, MachineError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    RegimeName = Literal["EL1&0", "EL1&0 stage 2", "EL2", "EL2&0", "EL3"]

TRANSLATION_REGISTERS: tuple[str, ...] = (
    "CPSR",
    "SCTLR_EL1",
    "TCR_EL1",
    "TTBR0_EL1",
    "TTBR1_EL1",
    "ID_AA64MMFR0_EL1",
    "ID_AA64MMFR2_EL1",
    "HCR_EL2",
    "SCR_EL3",
    "MAIR_EL1",
)
"""The registers that a translation at EL1 and EL0 needs: a slow machine can fetch them together."""


class RegimeUnknownError(MachineError):
    """Registers that determine how addresses are translated cannot be read, or are not decoded here."""


class RegisterUnreadableError(RegimeUnknownError):
    """A register that determines how addresses are translated cannot be read."""


@dataclass(frozen=True)
class TranslationRegime:
    """How addresses are translated at some exception levels: one control per range of addresses.

    `upper` is None in a regime with one range. If `enabled` is false, the MMU is off and every input
    address is its own output address. `level` is the exception level whose registers control the regime. If
    `second_stage` is true, the outputs are intermediate physical addresses; `stage2` is the regime that
    translates them, and None if it is not known. Only a regime of `stage` 2 has a `vmid`.
    """

    json_fields = ("name", "enabled", "stage", "second_stage", "controls as ranges", "notes")

    name: RegimeName
    """Name of the translation regime."""
    enabled: bool
    """Whether the MMU is on."""
    lower: TranslationControl
    upper: TranslationControl | None
    has_el0: bool
    write_implies_no_execute: bool
    output_bits: int
    level: int = 1
    second_stage: bool = False
    """Whether the outputs of these ranges are intermediate physical addresses, which stage 2 translates."""
    stage2: TranslationRegime | None = None
    stage2_unknown: str | None = None
    """Why `stage2` is not known, if it is not."""
    stage: Literal[1, 2] = 1
    """Stage of translation."""
    vmid: int | None = None
    protects_walks: bool = False
    """HCR_EL2.PTW: stage 1 tables may not be in memory that stage 2 maps as device memory."""
    forced_memory_types: bool = False
    """HCR_EL2.FWB: stage 2 encodes memory types in another way."""
    indirect_permissions: bool = False
    """Whether permissions come from PIR registers, which are not decoded here (FEAT_S1PIE)."""
    notes: tuple[str, ...] = ()
    """Unusual settings that matter here, one sentence each."""

    @property
    def controls(self) -> tuple[TranslationControl, ...]:
        """Each range of input addresses, the lower first."""
        return (self.lower,) if self.upper is None else (self.lower, self.upper)

    @property
    def levels(self) -> tuple[int, ...]:
        """The exception levels of the regime: its own, and EL0 if it includes that."""
        return (0, self.level) if self.has_el0 else (self.level,)

    def control(self, address: int) -> TranslationControl:
        """The control whose tables translate `address`: of two, bit 55 selects one (D8.2.4)."""
        if self.upper is not None and bits(address, 55, 55):
            return self.upper
        return self.lower

    def with_lower_table(self, base: int, asid: int | None) -> TranslationRegime:
        """The same regime with another table for the lower range: another task's address space."""
        return replace(self, lower=self.lower.with_table(base, asid))


def current_regime(machine: Machine, core: int) -> TranslationRegime:
    """The regime of the exception level that `core` is at.

    Raises `RegimeUnknownError` if the exception level is not known or a register cannot be read.
    """
    level = exception_level(machine, core)
    if level is None:
        state = machine.register("CPSR", core)
        why = "cannot be read" if state is None else "shows AArch32 state, which has other translation tables"
        raise RegimeUnknownError(f"the processor state of core {core} {why}")
    return regime_at(machine, core, level)


def regime_at(machine: Machine, core: int, level: int) -> TranslationRegime:
    """The regime that translates addresses of exception level `level` (0 to 3) on `core`.

    For EL0 it is that of EL1, or that of EL2 if HCR_EL2.E2H and TGE are both set. Raises `RegimeUnknownError`
    if a register cannot be read.
    """
    if level == 3:
        return el3_regime(machine, core)
    if level == 2:
        return el2_regime(machine, core)
    if level == 0:
        hypervisor = hypervisor_control(machine, core)
        if hypervisor["E2H"] and hypervisor["TGE"]:
            return el2_regime(machine, core)
    return el1_regime(machine, core)


def el1_regime(machine: Machine, core: int) -> TranslationRegime:
    """The EL1&0 regime, stage 1, as the registers of `core` set it up.

    Raises `RegimeUnknownError` if a register cannot be read. Without ID_AA64MMFR0_EL1, TCR_EL1.IPS alone
    gives the width of output addresses.
    """
    regime = _regime(machine, core, _Registers("EL1&0", 1, two_ranges=True))
    hypervisor = hypervisor_control(machine, core)
    notes = list(regime.notes)
    reason = mmu_override(hypervisor)
    if reason is not None:
        notes.append(f"HCR_EL2.{reason} switches the MMU of EL1 and EL0 off, even if SCTLR_EL1.M is set")
        regime = replace(regime, enabled=False)
    second_stage = bool(hypervisor["VM"] or hypervisor["DC"])
    if hypervisor["NV"] and hypervisor["NV1"]:
        notes.append(
            "HCR_EL2.NV1 gives EL1's descriptors EL2's format: EL0 neither reads nor writes, bit 54 is PXN"
        )
        regime = _nested(regime)
    stage2, unknown = None, None
    if second_stage:
        try:
            stage2 = _stage2_regime(machine, core, hypervisor)
        except RegimeUnknownError as error:
            unknown = str(error)
            notes.append(
                f"the output addresses are intermediate physical, and stage 2 is not known: {unknown}"
            )
    return replace(
        regime, second_stage=second_stage, stage2=stage2, stage2_unknown=unknown, notes=tuple(notes)
    )


def el2_regime(machine: Machine, core: int) -> TranslationRegime:
    """The regime of EL2: EL2&0 with two ranges if HCR_EL2.E2H is set, else EL2 with one.

    Raises `RegimeUnknownError` if a register cannot be read. Only HCR_EL2 may be missing: then E2H counts as
    clear, and a note says so.
    """
    control = machine.register("HCR_EL2", core)
    if control is not None and decode("HCR_EL2", control)["E2H"]:
        regime = _regime(machine, core, _Registers("EL2&0", 2, two_ranges=True))
        if not decode("HCR_EL2", control)["TGE"]:
            note = "HCR_EL2.TGE is clear: the EL1&0 regime translates the addresses of EL0, not this one"
            return replace(regime, notes=(*regime.notes, note))
        return regime
    regime = _regime(machine, core, _Registers("EL2", 2, two_ranges=False))
    if control is None:
        note = "HCR_EL2 cannot be read: E2H is assumed to be clear, so that EL2 has one range"
        return replace(regime, notes=(*regime.notes, note))
    return regime


def el3_regime(machine: Machine, core: int) -> TranslationRegime:
    """The regime of EL3. Raises `RegimeUnknownError` if a register cannot be read."""
    return _regime(machine, core, _Registers("EL3", 3, two_ranges=False))


@dataclass(frozen=True)
class _Registers:
    """The registers that set up a regime: those of exception level `level`, and their layout."""

    name: RegimeName
    level: int
    two_ranges: bool

    def read(self, machine: Machine, stem: str, core: int) -> int:
        """The value of a register of that level; raises `RegimeUnknownError`."""
        return _read_register(machine, f"{stem}_EL{self.level}", core)


def _read_register(machine: Machine, name: str, core: int) -> int:
    value = machine.register(name, core)
    if value is None:
        raise RegisterUnreadableError(f"{name} of core {core} cannot be read from this target")
    return value


def hypervisor_control(machine: Machine, core: int) -> dict[str, int]:
    """The effective fields of HCR_EL2: all zero if EL2 is not implemented or not enabled (D24.2.49)."""
    value = machine.register("HCR_EL2", core)
    security = machine.register("SCR_EL3", core)
    if security is not None and not decode("SCR_EL3", security)["NS"]:
        # In Secure state EL2 is enabled only by SCR_EL3.EEL2.
        value = value if decode("SCR_EL3", security)["EEL2"] else 0
    return decode("HCR_EL2", value or 0)


def mmu_override(hypervisor: Mapping[str, int]) -> str | None:
    """The field of HCR_EL2 that switches the MMU of EL1 and EL0 off; None if none does."""
    if hypervisor["DC"]:
        return "DC"
    return "TGE" if hypervisor["TGE"] and not hypervisor["E2H"] else None


def _regime(machine: Machine, core: int, registers: _Registers) -> TranslationRegime:
    two_ranges = registers.two_ranges
    tcr = decode(
        f"TCR_EL{registers.level}",
        registers.read(machine, "TCR", core),
        e2h=two_ranges and registers.level == 2,
    )
    sctlr = decode("SCTLR_EL1", registers.read(machine, "SCTLR", core))
    numbers = (0, 1) if two_ranges else (0,)
    tables = [registers.read(machine, f"TTBR{number}", core) for number in numbers]
    features = read_features(machine, core)
    updates = hardware_updates(machine, core) if tcr["HA"] else 0
    rules = AttributeRules(
        has_el0=two_ranges,
        write_implies_no_execute=bool(sctlr["WXN"]),
        enhanced_pan=two_ranges and bool(sctlr["EPAN"]),
        hardware_dirty_state=updates == 2 and bool(tcr["HD"]),
    )
    controls = []
    for number, table in zip(numbers, tables, strict=True):
        asid = None
        if two_ranges and tcr["A1"] == number:
            asid = bits(table, 47 + asid_bits(machine, core, registers.level), 48)
        fields = RangeFields.of(number, tcr, two_ranges)
        names = (f"TTBR{number}_EL{registers.level}", f"TCR_EL{registers.level}")
        control = translation_control(fields, names, table, features, rules)
        controls.append(
            replace(control, asid=asid, hardware_access_flag=updates > 0, big_endian=bool(sctlr["EE"]))
        )
    notes, indirect = _notes(machine, core, registers, sctlr)
    return TranslationRegime(
        name=registers.name,
        enabled=bool(sctlr["M"]),
        lower=controls[0],
        upper=controls[1] if two_ranges else None,
        has_el0=two_ranges,
        write_implies_no_execute=rules.write_implies_no_execute,
        output_bits=features.physical_bits,
        level=registers.level,
        indirect_permissions=indirect,
        notes=notes,
    )


def _notes(
    machine: Machine, core: int, registers: _Registers, sctlr: Mapping[str, int]
) -> tuple[tuple[str, ...], bool]:
    """Notes on the byte order of the tables and on permissions, and whether PIR registers give these.

    Raises `RegimeUnknownError` for tables of 128-bit descriptors (FEAT_D128).
    """
    notes: tuple[str, ...] = ()
    if sctlr["EE"]:
        notes = (f"SCTLR_EL{registers.level}.EE is set: the descriptors are read as big-endian",)
    name = f"TCR2_EL{registers.level}"
    value = machine.register(name, core) if registers.level < 3 else None
    if value is None:
        return notes, False
    fields = decode(name, value)
    if fields["D128"]:
        raise RegimeUnknownError(
            f"{name} of core {core} selects 128-bit descriptors, which are not decoded here"
        )
    if fields["PIE"]:
        note = f"{name}.PIE is set: permissions come from PIR registers, not from the descriptors shown"
        return (*notes, note), True
    return notes, False


def _nested(regime: TranslationRegime) -> TranslationRegime:
    """The EL1&0 regime where EL1 is a guest's hypervisor (HCR_EL2.NV1)."""
    lower, upper = regime.lower, regime.upper
    lower = replace(lower, rules=replace(lower.rules, nested=True))
    if upper is not None:
        upper = replace(upper, rules=replace(upper.rules, nested=True))
    return replace(regime, lower=lower, upper=upper)


def _stage2_regime(machine: Machine, core: int, hypervisor: dict[str, int]) -> TranslationRegime:
    """Stage 2 of the EL1&0 regime (D8.2.1, D8.4.2); raises `RegimeUnknownError`."""
    security = machine.register("SCR_EL3", core)
    if security is not None and not decode("SCR_EL3", security)["NS"]:
        raise RegimeUnknownError("stage 2 of Secure state (VSTTBR_EL2) is not decoded here")
    vtcr = decode("VTCR_EL2", _read_register(machine, "VTCR_EL2", core))
    table = _read_register(machine, "VTTBR_EL2", core)
    sctlr = decode("SCTLR_EL2", _read_register(machine, "SCTLR_EL2", core))
    features = read_stage2_features(machine, core)
    updates = hardware_updates(machine, core) if vtcr["HA"] else 0
    model = machine.register("ID_AA64MMFR1_EL1", core)
    rules = AttributeRules(
        stage=2,
        hardware_dirty_state=updates == 2 and bool(vtcr["HD"]),
        execute_never_by_level=model is None or decode("ID_AA64MMFR1_EL1", model)["XNX"] != 0,
    )
    control = stage2_control(vtcr, table, features, rules)
    return TranslationRegime(
        name="EL1&0 stage 2",
        enabled=True,
        lower=replace(control, hardware_access_flag=updates > 0, big_endian=bool(sctlr["EE"])),
        upper=None,
        has_el0=True,
        write_implies_no_execute=False,
        output_bits=features.physical_bits,
        stage=2,
        vmid=bits(table, 63 if vtcr["VS"] else 55, 48),
        protects_walks=bool(hypervisor["PTW"]),
        forced_memory_types=bool(hypervisor["FWB"]),
    )
