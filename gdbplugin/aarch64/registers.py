"""System registers and their fields, memory types, and the state of cores (DDI 0487, D24.2).

A layout maps the name of each field to its highest and lowest bit. Bits that no layout names are reserved, or
belong to a feature that does not affect translation or exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gdbplugin.machine import Machine
from gdbplugin.records import dataclass

Layout = Mapping[str, tuple[int, int]]

GENERAL_REGISTERS = tuple(f"X{number}" for number in range(31))


def _layout(text: str) -> Layout:
    """A layout from words `NAME:HIGH-LOW` or, for a single bit, `NAME:BIT`."""
    found = {}
    for word in text.split():
        name, _, place = word.partition(":")
        high, _, low = place.partition("-")
        found[name] = (int(high), int(low or high))
    return MappingProxyType(found)


TTBR_TWO_RANGES = _layout("ASID:63-48 BADDR:47-1 CnP:0")
TTBR_ONE_RANGE = _layout("BADDR:47-1 CnP:0")
TCR_TWO_RANGES = _layout(
    "MTX1:61 MTX0:60 DS:59 TCMA1:58 TCMA0:57 E0PD1:56 E0PD0:55 NFD1:54 NFD0:53 TBID1:52 TBID0:51 "
    "HWU162:50 HWU161:49 HWU160:48 HWU159:47 HWU062:46 HWU061:45 HWU060:44 HWU059:43 HPD1:42 HPD0:41 "
    "HD:40 HA:39 TBI1:38 TBI0:37 AS:36 IPS:34-32 TG1:31-30 SH1:29-28 ORGN1:27-26 IRGN1:25-24 EPD1:23 "
    "A1:22 T1SZ:21-16 TG0:15-14 SH0:13-12 ORGN0:11-10 IRGN0:9-8 EPD0:7 T0SZ:5-0"
)
"""TCR_EL1, and TCR_EL2 if HCR_EL2.E2H is set."""
TCR_ONE_RANGE = _layout(
    "MTX:33 DS:32 TCMA:30 TBID:29 HWU62:28 HWU61:27 HWU60:26 HWU59:25 HPD:24 HD:22 HA:21 TBI:20 PS:18-16 "
    "TG0:15-14 SH0:13-12 ORGN0:11-10 IRGN0:9-8 T0SZ:5-0"
)
"""TCR_EL2 if HCR_EL2.E2H is clear, and TCR_EL3."""
VTTBR = _layout("VMID:63-48 BADDR:47-1 CnP:0")
VTCR = _layout(
    "SL2:33 DS:32 NSA:30 NSW:29 HWU62:28 HWU61:27 HWU60:26 HWU59:25 HD:22 HA:21 VS:19 PS:18-16 TG0:15-14 "
    "SH0:13-12 ORGN0:11-10 IRGN0:9-8 SL0:7-6 T0SZ:5-0"
)
"""Stage 2 of the EL1&0 regime."""
TCR2 = _layout("DisCH1:15 DisCH0:14 HAFT:11 PTTWI:10 D128:5 AIE:4 POE:3 E0POE:2 PIE:1 PnCH:0")
"""TCR2_EL1 and TCR2_EL2."""
SCTLR_EL1 = _layout(
    "TIDCP:63 SPINTMASK:62 NMI:61 EnTP2:60 TCSO:59 TCSO0:58 EPAN:57 EnALS:56 EnAS0:55 EnASR:54 TME:53 "
    "TME0:52 TMT:51 TMT0:50 TWEDEL:49-46 TWEDEn:45 DSSBS:44 ATA:43 ATA0:42 TCF:41-40 TCF0:39-38 ITFSB:37 "
    "BT1:36 BT0:35 MSCEn:33 CMOW:32 EnIA:31 EnIB:30 LSMAOE:29 nTLSMD:28 EnDA:27 UCI:26 EE:25 E0E:24 "
    "SPAN:23 EIS:22 IESB:21 TSCXT:20 WXN:19 nTWE:18 nTWI:16 UCT:15 DZE:14 EnDB:13 I:12 EOS:11 EnRCTX:10 "
    "UMA:9 SED:8 ITD:7 nAA:6 CP15BEN:5 SA0:4 SA:3 C:2 A:1 M:0"
)
"""SCTLR_EL1, and SCTLR_EL2 if HCR_EL2.E2H is set."""
SCTLR_ONE_RANGE = _layout(
    "SPINTMASK:62 NMI:61 TCSO:59 TME:53 TMT:51 DSSBS:44 ATA:43 TCF:41-40 ITFSB:37 BT:36 EnIA:31 EnIB:30 "
    "EnDA:27 EE:25 EIS:22 IESB:21 WXN:19 EnDB:13 I:12 EOS:11 nAA:6 SA:3 C:2 A:1 M:0"
)
MAIR = _layout("Attr7:63-56 Attr6:55-48 Attr5:47-40 Attr4:39-32 Attr3:31-24 Attr2:23-16 Attr1:15-8 Attr0:7-0")
HCR_EL2 = _layout(
    "TWEDEL:63-60 TWEDEn:59 TID5:58 DCT:57 ATA:56 TTLBOS:55 TTLBIS:54 EnSCXT:53 TOCU:52 AMVOFFEN:51 "
    "TICAB:50 TID4:49 GPF:48 FIEN:47 FWB:46 NV2:45 AT:44 NV1:43 NV:42 API:41 APK:40 TME:39 MIOCNCE:38 "
    "TEA:37 TERR:36 TLOR:35 E2H:34 ID:33 CD:32 RW:31 TRVM:30 HCD:29 TDZ:28 TGE:27 TVM:26 TTLB:25 TPU:24 "
    "TPCP:23 TSW:22 TACR:21 TIDCP:20 TSC:19 TID3:18 TID2:17 TID1:16 TID0:15 TWE:14 TWI:13 DC:12 BSU:11-10 "
    "FB:9 VSE:8 VI:7 VF:6 AMO:5 IMO:4 FMO:3 PTW:2 SWIO:1 VM:0"
)
SCR_EL3 = _layout(
    "NSE:62 EEL2:18 API:17 APK:16 TERR:15 TLOR:14 TWE:13 TWI:12 ST:11 RW:10 SIF:9 HCE:8 SMD:7 EA:3 FIQ:2 "
    "IRQ:1 NS:0"
)
CONTEXTIDR = _layout("PROCID:31-0")
VBAR = _layout("VBA:63-11")
ADDRESS = _layout("address:63-0")
"""FAR_ELx and ELR_ELx."""
HPFAR = _layout("NS:63 FIPA:47-4")
PAR_TRANSLATED = _layout("ATTR:63-56 PA:51-12 NSE:11 NS:9 SH:8-7 F:0")
"""PAR_EL1 if F is clear: the translation succeeded."""
PAR_FAULTED = _layout("S:9 PTW:8 FST:6-1 F:0")
"""PAR_EL1 if F is set."""
PROCESSOR_STATE = _layout(
    "N:31 Z:30 C:29 V:28 TCO:25 DIT:24 UAO:23 PAN:22 SS:21 IL:20 ALLINT:13 SSBS:12 BTYPE:11-10 D:9 A:8 I:7 "
    "F:6 nRW:4 EL:3-2 SP:0"
)
"""PSTATE, which debuggers call CPSR, and SPSR_ELx of an exception taken from AArch64 state (C5.2.18)."""
ID_AA64MMFR0 = _layout(
    "ECV:63-60 FGT:59-56 ExS:47-44 TGran4_2:43-40 TGran64_2:39-36 TGran16_2:35-32 TGran4:31-28 TGran64:27-24 "
    "TGran16:23-20 BigEndEL0:19-16 SNSMem:15-12 BigEnd:11-8 ASIDBits:7-4 PARange:3-0"
)
ID_AA64MMFR1 = _layout(
    "ECBHB:63-60 CMOW:59-56 TIDCP1:55-52 nTLBPA:51-48 AFP:47-44 HCX:43-40 ETS:39-36 TWED:35-32 XNX:31-28 "
    "SpecSEI:27-24 PAN:23-20 LO:19-16 HPDS:15-12 VH:11-8 VMIDBits:7-4 HAFDBS:3-0"
)
ID_AA64MMFR2 = _layout(
    "E0PD:63-60 EVT:59-56 BBM:55-52 TTL:51-48 FWB:43-40 IDS:39-36 AT:35-32 ST:31-28 NV:27-24 CCIDX:23-20 "
    "VARange:19-16 IESB:15-12 LSM:11-8 UAO:7-4 CnP:3-0"
)
_ESR = "ISS2:55-32 EC:31-26 IL:25 "
ESR = _layout(_ESR + "ISS:24-0")
ESR_DATA_ABORT = _layout(
    _ESR + "ISV:24 SAS:23-22 SSE:21 SRT:20-16 SF:15 AR:14 VNCR:13 SET:12-11 FnV:10 EA:9 CM:8 S1PTW:7 WnR:6 "
    "DFSC:5-0"
)
"""Classes 0x24 and 0x25."""
ESR_INSTRUCTION_ABORT = _layout(_ESR + "SET:12-11 FnV:10 EA:9 S1PTW:7 IFSC:5-0")
ESR_IMMEDIATE = _layout(_ESR + "imm16:15-0")
"""SVC, HVC, SMC, and BRK, where the manual calls the field Comment."""
ESR_SYSTEM = _layout(_ESR + "Op0:21-20 Op2:19-17 Op1:16-14 CRn:13-10 Rt:9-5 CRm:4-1 Direction:0")
ESR_LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        **dict.fromkeys((0x24, 0x25), ESR_DATA_ABORT),
        **dict.fromkeys((0x20, 0x21), ESR_INSTRUCTION_ABORT),
        **dict.fromkeys((0x15, 0x16, 0x17, 0x3C), ESR_IMMEDIATE),
        0x18: ESR_SYSTEM,
    }
)
"""By exception class; other classes have the layout `ESR`."""
FORMATS: Mapping[str, Layout] = MappingProxyType(
    {
        **dict.fromkeys(("TTBR0_EL1", "TTBR1_EL1", "TTBR1_EL2"), TTBR_TWO_RANGES),
        **dict.fromkeys(("TTBR0_EL2", "TTBR0_EL3"), TTBR_ONE_RANGE),
        "TCR_EL1": TCR_TWO_RANGES,
        **dict.fromkeys(("TCR_EL2", "TCR_EL3"), TCR_ONE_RANGE),
        **dict.fromkeys(("TCR2_EL1", "TCR2_EL2"), TCR2),
        "SCTLR_EL1": SCTLR_EL1,
        **dict.fromkeys(("SCTLR_EL2", "SCTLR_EL3"), SCTLR_ONE_RANGE),
        **{f"MAIR_EL{level}": MAIR for level in (1, 2, 3)},
        **{f"ESR_EL{level}": ESR for level in (1, 2, 3)},
        **{f"{name}_EL{level}": ADDRESS for name in ("FAR", "ELR") for level in (1, 2, 3)},
        **{f"SPSR_EL{level}": PROCESSOR_STATE for level in (1, 2, 3)},
        **{f"VBAR_EL{level}": VBAR for level in (1, 2, 3)},
        **{f"CONTEXTIDR_EL{level}": CONTEXTIDR for level in (1, 2)},
        "PAR_EL1": PAR_TRANSLATED,
        "HCR_EL2": HCR_EL2,
        "VTTBR_EL2": VTTBR,
        "VTCR_EL2": VTCR,
        "HPFAR_EL2": HPFAR,
        "SCR_EL3": SCR_EL3,
        "ID_AA64MMFR0_EL1": ID_AA64MMFR0,
        "ID_AA64MMFR1_EL1": ID_AA64MMFR1,
        "ID_AA64MMFR2_EL1": ID_AA64MMFR2,
        "CPSR": PROCESSOR_STATE,
    }
)
"""The layout of each register if HCR_EL2.E2H is clear."""
FORMATS_WITH_E2H: Mapping[str, Layout] = MappingProxyType(
    {**FORMATS, "TTBR0_EL2": TTBR_TWO_RANGES, "TCR_EL2": TCR_TWO_RANGES, "SCTLR_EL2": SCTLR_EL1}
)
"""The layout of each register if HCR_EL2.E2H is set."""


def bits(value: int, high: int, low: int) -> int:
    """Bits `high` down to `low` of `value`, both included."""
    return (value >> low) & ((1 << (high - low + 1)) - 1)


def decode(name: str, value: int, *, e2h: bool = False) -> dict[str, int]:
    """The named fields of a register's value; raises KeyError for a register without a layout.

    `e2h` is HCR_EL2.E2H: if it is set, some EL2 registers have the layout of EL1's.
    """
    layout = (FORMATS_WITH_E2H if e2h else FORMATS)[name]
    return {field: bits(value, high, low) for field, (high, low) in layout.items()}


PHYSICAL_ADDRESS_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
"""Width of physical addresses, in bits, by the value of TCR_EL1.IPS or ID_AA64MMFR0_EL1.PARange."""


def physical_address_bits(encoded: int) -> int:
    """Width of physical addresses, in bits, from IPS or PARange; reserved values count as the widest."""
    return PHYSICAL_ADDRESS_BITS[min(encoded, len(PHYSICAL_ADDRESS_BITS) - 1)]


def hardware_updates(machine: Machine, core: int) -> int:
    """What hardware updates in descriptors (ID_AA64MMFR1_EL1.HAFDBS).

    0 for nothing, 1 for the access flag, 2 for the dirty state as well; 2 if the register cannot be read.
    """
    value = machine.register("ID_AA64MMFR1_EL1", core)
    return 2 if value is None else min(decode("ID_AA64MMFR1_EL1", value)["HAFDBS"], 2)


def asid_bits(machine: Machine, core: int, level: int = 1) -> int:
    """Width, in bits, of the ASIDs of the EL1&0 (`level` 1) or EL2&0 (2) regime.

    It is 16 if TCR_ELx.AS is set and the core supports that, else 8. If ID_AA64MMFR0_EL1 cannot be read,
    TCR_ELx.AS alone decides.
    """
    control = machine.register(f"TCR_EL{level}", core)
    features = machine.register("ID_AA64MMFR0_EL1", core)
    if control is None or not decode(f"TCR_EL{level}", control, e2h=True)["AS"]:
        return 8
    if features is not None and decode("ID_AA64MMFR0_EL1", features)["ASIDBits"] == 0:
        return 8
    return 16


@dataclass(frozen=True)
class TableRegister:
    """A TTBRn_EL1."""

    value: int
    """The value of the register."""
    base: int
    """Physical address of the table: BADDR."""
    asid: int
    """The ASID field."""
    common_not_private: bool
    """The CnP bit."""


@dataclass(frozen=True)
class Core:
    """A core. A field that cannot be read is None."""

    core: int
    """Its number."""
    exception_level: int | None
    """The exception level it is at, 0 to 3."""
    mmu_enabled: bool | None
    """Whether the MMU is on for EL1 and EL0: SCTLR_EL1.M."""
    ttbr0: TableRegister | None
    """TTBR0_EL1; null if it cannot be read."""
    ttbr1: TableRegister | None
    """TTBR1_EL1; null if it cannot be read."""


def read_cores(machine: Machine) -> tuple[Core, ...]:
    """Every core of the machine."""
    return tuple(_read_core(machine, core) for core in machine.cores)


def _read_core(machine: Machine, core: int) -> Core:
    width = asid_bits(machine, core)
    tables = []
    for name in ("TTBR0_EL1", "TTBR1_EL1"):
        value = machine.register(name, core)
        tables.append(None if value is None else table_register(value, width))
    control = machine.register("SCTLR_EL1", core)
    enabled = None if control is None else bool(control & 1)
    return Core(core, exception_level(machine, core), enabled, tables[0], tables[1])


def table_register(value: int, asid_width: int) -> TableRegister:
    """Decode a TTBRn_EL1 where ASIDs are `asid_width` bits wide."""
    return TableRegister(value, bits(value, 47, 1) << 1, bits(value, 47 + asid_width, 48), bool(value & 1))


def exception_level(machine: Machine, core: int) -> int | None:
    """The exception level that a core is stopped at; None if it is not known."""
    state = machine.register("CPSR", core)
    return None if state is None else exception_level_in(state)


def exception_level_in(state: int) -> int | None:
    """The exception level in a PSTATE or SPSR_ELx.

    In AArch32 state (nRW set) it is 0 for User mode and None for other modes, which may be of several levels.
    """
    if bits(state, 4, 4):
        return 0 if bits(state, 3, 0) == 0 else None
    return bits(state, 3, 2)


def is_secure(machine: Machine, core: int, level: int) -> bool:
    """Whether a core is in Secure state at an exception level: EL3 is, and others by SCR_EL3.NS (D1.2)."""
    if level == 3:
        return True
    control = machine.register("SCR_EL3", core)
    return control is not None and not decode("SCR_EL3", control)["NS"]


def is_in_aarch32(machine: Machine, core: int) -> bool:
    """Whether a core is stopped in AArch32 state (nRW set); false if its state is not known."""
    state = machine.register("CPSR", core)
    return state is not None and bool(bits(state, 4, 4))


_MODES = frozenset({0, 4, 5, 8, 9, 12, 13})
"""PSTATE.M[3:0] in AArch64 state: EL0, and EL1 to EL3 with either stack pointer."""
_AARCH32_MODES = frozenset({0, 1, 2, 3, 6, 7, 10, 11, 15})
_STATE_RES0 = 1 << 27 | 1 << 26 | 1 << 5 | -1 << 36


def is_processor_state(value: int) -> bool:
    """Whether a value that a debug stub gives as CPSR, or an SPSR_ELx, is a possible state (C5.2.20)."""
    if bits(value, 4, 4):
        return bits(value, 3, 0) in _AARCH32_MODES and not value >> 32
    return bits(value, 3, 0) in _MODES and not value & _STATE_RES0


_DEVICE = ("Device-nGnRnE", "Device-nGnRE", "Device-nGRE", "Device-GRE")
_TAGGED = 0xF0
_EXTENSION_TYPES = {
    0x40: "Normal non-cacheable, XS 0",
    0xA0: "Normal write-through, XS 0",
    _TAGGED: "Normal write-back, tagged",
}
"""Values that FEAT_XS and FEAT_MTE2 define."""
_NON_CACHEABLE = 4
_STAGE2_CACHEABILITY = (None, "non-cacheable", "write-through", "write-back")
_FORCED_TYPES = {5: "Normal non-cacheable", 6: "Normal write-back", 7: "as at stage 1"}
_RESERVED = "unpredictable (reserved)"
_ALLOCATION = (" no-allocate", " write-allocate only", " read-allocate only", "")


def memory_type(attribute: int) -> str:
    """The name of the memory type in one 8-bit field of a MAIR_ELx.

    If the inner and outer cacheability of Normal memory are equal, the name has them once. Of the allocation
    hints it has only unusual ones: those that allow less than read and write allocation.
    """
    if attribute >> 4 == 0:
        if attribute & 0b10:
            return _RESERVED
        return _DEVICE[attribute >> 2 & 3] + (", XS 0" if attribute & 1 else "")
    if attribute in _EXTENSION_TYPES:
        return _EXTENSION_TYPES[attribute]
    outer, inner = _cacheability(attribute >> 4), _cacheability(attribute & 0xF)
    if inner is None or outer is None:
        return _RESERVED
    return f"Normal {outer}" if outer == inner else f"Normal, outer {outer}, inner {inner}"


def memory_type_without_hints(attribute: int) -> str:
    """The same name without allocation hints, which aliases of one frame may differ in (DDI 0487, B2.11).

    Transient is a hint too, and tagged memory is write-back memory here.
    """
    if attribute == _TAGGED:
        attribute = 0xFF
    outer, inner = attribute >> 4, attribute & 0xF
    if outer == 0 or inner == 0:
        return memory_type(attribute)
    return memory_type(_without_hints(outer) << 4 | _without_hints(inner))


def _without_hints(field: int) -> int:
    """One 4-bit half of a Normal attribute, with all allocation hints set."""
    if field == _NON_CACHEABLE:
        return field
    return 0xB if field < _NON_CACHEABLE or field >> 2 == 2 else 0xF


def memory_type_at(mair: int | None, index: int) -> str | None:
    """The memory type of an attribute index (AttrIndx, 0 to 7); None if MAIR_ELx is not known."""
    return None if mair is None else memory_type(mair >> 8 * index & 0xFF)


def stage2_memory_type(attribute: int, forced: bool) -> str:
    """The name of the memory type in MemAttr of a stage 2 descriptor (D8.6.6). `forced` is HCR_EL2.FWB.

    If FWB is clear, the weaker memory type of both stages applies; if it is set, that of stage 2 applies,
    unless it is `as at stage 1`.
    """
    if forced:
        if not attribute & 4:
            return _DEVICE[attribute & 3]
        return _FORCED_TYPES.get(attribute & 7, _RESERVED)
    outer, inner = _STAGE2_CACHEABILITY[attribute >> 2], _STAGE2_CACHEABILITY[attribute & 3]
    if outer is None:
        return _DEVICE[attribute & 3]
    if inner is None:
        return _RESERVED
    return f"Normal {outer}" if outer == inner else f"Normal, outer {outer}, inner {inner}"


def is_device(name: str | None) -> bool:
    """Whether a name from `memory_type` is that of a Device memory type."""
    return name is not None and name.startswith("Device")


def _cacheability(field: int) -> str | None:
    """The cacheability in one 4-bit half of a Normal attribute; None for 0, which is reserved."""
    if field == 0:
        return None
    if field == _NON_CACHEABLE:
        return "non-cacheable"
    policy = "write-through" if field < _NON_CACHEABLE or field >> 2 == 2 else "write-back"
    transient = " transient" if field < 8 else ""
    return policy + transient + _ALLOCATION[field & 3]
