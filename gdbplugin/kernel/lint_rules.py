"""The rules of `tinyos lint`: what mappings and registers must not be, and where the manual says why.

Sections are those of DDI 0487 of issue L; letters after them name the manual's own statement, which keeps its
name when sections move.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gdbplugin.aarch64.descriptor import NO_ACCESS, Attributes
from gdbplugin.aarch64.regime import hypervisor_control, mmu_override
from gdbplugin.aarch64.registers import decode, is_device
from gdbplugin.machine import Machine
from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from gdbplugin.aarch64.control import TranslationControl
    from gdbplugin.aarch64.regime import TranslationRegime

    RuleName = Literal[
        "writable-executable",
        "el0-kernel",
        "executable-device",
        "writable-text",
        "writable-table",
        "mismatched-alias",
        "writable-alias",
        "missing-guard",
        "wxn",
        "pan",
        "epd",
        "e0pd",
        "hierarchy",
        "mmu-override",
    ]


class Rule(NamedTuple):
    """A rule: its name, its section of the manual, and what must be the case."""

    name: RuleName
    """Its name."""
    section: str
    """The section of the Arm Architecture Reference Manual (DDI 0487)."""
    expected: str
    """What it asks for."""


WRITABLE_EXECUTABLE = Rule("writable-executable", "D8.4.1 IXFDFY", "not both writable and executable")
EL0_KERNEL = Rule("el0-kernel", "D8.4.1 RRNGJG", "no access from EL0 to the kernel's memory")
EXECUTABLE_DEVICE = Rule("executable-device", "D8.4.4 IZZSZZ", "device memory that is execute-never")
WRITABLE_TEXT = Rule("writable-text", "D8.4.1 RRNGJG", "kernel text that is read-only")
WRITABLE_TABLE = Rule("writable-table", "D8.4.1 RRNGJG", "translation tables that EL0 cannot write")
MISMATCHED_ALIAS = Rule("mismatched-alias", "B2.11", "one memory type and shareability for a frame")
WRITABLE_ALIAS = Rule("writable-alias", "D8.4.1 IXFDFY", "executed frames not writable elsewhere")
MISSING_GUARD = Rule("missing-guard", "D8.3 (invalid descriptors)", "an unmapped page below a stack")
WXN = Rule("wxn", "D8.4.1 RSYMMB", "SCTLR_ELx.WXN set")
PAN = Rule("pan", "D8.4.5 RXTSQH", "SCTLR_ELx.SPAN clear, as the core has PAN")
EPD = Rule("epd", "D24.2, TCR_EL1.EPDn", "walks disabled where a TTBR holds no tables")
E0PD = Rule("e0pd", "D24.2, TCR_EL1.E0PD1", "TCR_ELx.E0PD1 set, as the core has E0PD")
HIERARCHY = Rule("hierarchy", "D8.4.1 INYWHQ", "hierarchical permissions that count")
MMU_OVERRIDE = Rule("mmu-override", "D24.2, HCR_EL2.DC and TGE", "an MMU that HCR_EL2 leaves on")

RULES = (
    WRITABLE_EXECUTABLE,
    EL0_KERNEL,
    EXECUTABLE_DEVICE,
    WRITABLE_TEXT,
    WRITABLE_TABLE,
    MISMATCHED_ALIAS,
    WRITABLE_ALIAS,
    MISSING_GUARD,
    WXN,
    PAN,
    EPD,
    E0PD,
    HIERARCHY,
    MMU_OVERRIDE,
)
"""Every rule, in the order in which they are shown."""


def writers(attributes: Attributes, level: int, has_el0: bool) -> frozenset[int]:
    """The exception levels that may write; `level` is the regime's privileged one."""
    return _levels(attributes.el0.write and has_el0, attributes.el1.write, level)


def executors(attributes: Attributes, level: int, has_el0: bool) -> frozenset[int]:
    """The exception levels that may execute."""
    return _levels(attributes.el0.execute and has_el0, attributes.el1.execute, level)


def _levels(el0: bool, privileged: bool, level: int) -> frozenset[int]:
    return frozenset(([0] if el0 else []) + ([level] if privileged else []))


def broken_by_mapping(
    attributes: Attributes, memory_type: str | None, regime: TranslationRegime, *, upper: bool
) -> Iterator[Rule]:
    """The rules that a mapping breaks by its attributes alone; `upper` is whether it is under TTBR1."""
    can_write = writers(attributes, regime.level, regime.has_el0)
    can_execute = executors(attributes, regime.level, regime.has_el0)
    if can_write and can_execute:
        yield WRITABLE_EXECUTABLE
    if upper and attributes.el0 != NO_ACCESS:
        yield EL0_KERNEL
    if is_device(memory_type) and can_execute:
        yield EXECUTABLE_DEVICE


class Setting(NamedTuple):
    """A register field that breaks a rule: what it is, its register's value, and what that means."""

    rule: Rule
    field: str
    register: str
    value: int
    meaning: str


def broken_by_registers(machine: Machine, core: int, regime: TranslationRegime) -> Iterator[Setting]:
    """The rules that the registers of a core break in a regime of stage 1 that is on."""
    level = regime.level
    name = f"SCTLR_EL{level}"
    sctlr = machine.register(name, core)
    if sctlr is None:
        return
    fields = decode("SCTLR_EL1", sctlr)
    if not fields["WXN"]:
        yield Setting(WXN, "WXN", name, sctlr, "writable memory may be executed where XN bits allow it")
    if not regime.has_el0:
        return
    features = _features(machine, core)
    if features.get("PAN") and fields["SPAN"]:
        meaning = (
            f"an exception to EL{level} leaves PSTATE.PAN as it was, so that EL{level} may use EL0's memory"
        )
        yield Setting(PAN, "SPAN", name, sctlr, meaning)
    name = f"TCR_EL{level}"
    tcr = machine.register(name, core)
    if tcr is None or regime.upper is None or regime.upper.walks_disabled:
        return
    if features.get("E0PD") and not decode("TCR_EL1", tcr)["E0PD1"]:
        meaning = "EL0 can tell by time which addresses of the upper range are mapped"
        yield Setting(E0PD, "E0PD1", name, tcr, meaning)


def without_tables(
    machine: Machine, core: int, level: int, control: TranslationControl, what: str
) -> Setting:
    """A TTBR that holds no tables although walks by it are enabled; `what` follows its name."""
    name = f"TCR_EL{level}"
    value = machine.register(name, core) or 0
    return Setting(EPD, f"EPD{int(control.upper)}", name, value, f"{control.name} {what}")


def _features(machine: Machine, core: int) -> Mapping[str, int]:
    """PAN and E0PD by the ID registers; without those that cannot be read."""
    found = {}
    for name, field in (("ID_AA64MMFR1_EL1", "PAN"), ("ID_AA64MMFR2_EL1", "E0PD")):
        value = machine.register(name, core)
        if value is not None:
            found[field] = decode(name, value)[field]
    return found


def broken_by_hypervisor(machine: Machine, core: int) -> Iterator[Setting]:
    """HCR_EL2 switching off the MMU of EL1 and EL0 that SCTLR_EL1.M has on (D24.2.49)."""
    control, sctlr = machine.register("HCR_EL2", core), machine.register("SCTLR_EL1", core)
    if control is None or sctlr is None or not decode("SCTLR_EL1", sctlr)["M"]:
        return
    field = mmu_override(hypervisor_control(machine, core))
    meaning = "the MMU of EL1 and EL0 is off although SCTLR_EL1.M is set: all memory is open to them"
    if field is not None:
        yield Setting(MMU_OVERRIDE, field, "HCR_EL2", control, meaning)
