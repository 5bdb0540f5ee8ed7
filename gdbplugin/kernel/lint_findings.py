"""The findings of `tinyos lint`: what breaks a rule, where, and by which descriptor or register."""

from __future__ import annotations

from functools import partial

from gdbplugin.kernel.lint_rules import RULES, Rule, Setting
from gdbplugin.kernel.lint_spaces import cores_text
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gdbplugin.kernel.lint_rules import RuleName

KEPT_OF_EACH = 1000 // len(RULES)
"""How many findings of each rule are kept; a command keeps 1,000 in all."""


@dataclass(frozen=True)
class LintMapping:
    """A mapped range of addresses that a finding is about."""

    space: str
    """The range of addresses: its TTBR, and whose it is."""
    start: int
    """First input address."""
    end: int
    """Exclusive end."""
    physical: int
    """Output address of the first input address."""
    what: str
    """What is there, in words; empty if it is not known."""
    permissions: dict[str, str]
    """What each exception level of the regime may do, as r-x."""
    memory_type: str | None
    """The memory type, from MAIR_ELx; null if that is not known."""
    shareability: str
    """The shareability in the descriptor."""
    level: int | None
    """Level of the first address's descriptor; null if the walk found none."""
    descriptor: int | None
    """The first address's descriptor."""
    descriptor_address: int | None
    """Physical address of that descriptor; with two stages, its intermediate physical address."""

    @property
    def allowed(self) -> str:
        """The permissions in words: `EL0 r--, EL1 rw-`."""
        return ", ".join(f"{level} {letters}" for level, letters in self.permissions.items())

    @property
    def place(self) -> str:
        """The addresses and whose they are."""
        named = f", {self.what}" if self.what else ""
        return f"{self.start:#x}-{self.end:#x}{named}, by {self.space}"

    @property
    def by(self) -> str:
        """The descriptor, in words."""
        if self.descriptor is None or self.descriptor_address is None:
            return "by a descriptor that is gone"
        return f"by the level {self.level} descriptor {self.descriptor:#018x} at {self.descriptor_address:#x}"


@dataclass(frozen=True)
class LintValue:
    """A value of a register, and the cores that have it."""

    value: int
    """The value."""
    cores: tuple[int, ...]
    """The cores."""


@dataclass(frozen=True)
class LintSetting:
    """A register field that a finding is about."""

    register: str
    """Name of the register."""
    field: str
    """Name of the field."""
    values: tuple[LintValue, ...]
    """The values of the register by which cores break the rule."""


@dataclass(frozen=True)
class LintFinding:
    """A rule that is broken, and by what."""

    json_fields = ("rule", "section", "object", "found", "mapping", "other", "setting")

    rule: RuleName
    """Name of the rule."""
    section: str
    """The section of the Arm manual (DDI 0487) that it follows."""
    object: str
    """What it is about, in words."""
    expected: str
    found: str
    """What breaks the rule, in words."""
    mapping: LintMapping | None
    """The mapping that breaks it; null for registers."""
    other: LintMapping | None
    """For aliases the other mapping of the same frames; null for other rules."""
    setting: LintSetting | None
    """The register that breaks it; null for mappings."""

    @property
    def rule_text(self) -> str:
        """What is expected, with the rule's name and section."""
        return f"{self.expected} ({self.rule}; DDI 0487, {self.section})"


class Collector:
    """Counts what breaks the rules asked for, and keeps the first findings of each."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._kept: dict[Rule, list[LintFinding]] = {rule: [] for rule in rules}
        self._settings: dict[Setting, dict[int, list[int]]] = {}
        self.counts: dict[Rule, int] = {}

    @property
    def count(self) -> int:
        """How often rules are broken."""
        return sum(self.counts.values())

    def add(self, rule: Rule, make: Callable[[], LintFinding]) -> None:
        """Count what breaks a rule; `make` makes its finding, if that is kept."""
        if rule not in self._kept:
            return
        self.counts[rule] = self.counts.get(rule, 0) + 1
        if len(self._kept[rule]) < KEPT_OF_EACH:
            self._kept[rule].append(make())

    def add_setting(self, setting: Setting, core: int) -> None:
        """Add what a core's register breaks; a field makes one finding for all cores."""
        values = self._settings.setdefault(setting._replace(value=0), {})
        cores = values.setdefault(setting.value, [])
        if core not in cores:
            cores.append(core)

    def findings(self) -> list[LintFinding]:
        """All that were kept: the first of each rule, then the second of each, and so on."""
        for setting, by_value in self._settings.items():
            values = [LintValue(value, tuple(cores)) for value, cores in by_value.items()]
            self.add(setting.rule, partial(_of_setting, setting, values))
        self._settings.clear()
        numbered = [(number, rule) for rule, kept in self._kept.items() for number in range(len(kept))]
        numbered.sort(key=lambda entry: entry[0])
        return [self._kept[rule][number] for number, rule in numbered]


def _of_setting(setting: Setting, values: Sequence[LintValue]) -> LintFinding:
    rule, field, register, _, meaning = setting
    cores = tuple(sorted(core for one in values for core in one.cores))
    said = ", ".join(
        f"{one.value:#018x}" + (f" on {cores_text(one.cores)}" if len(values) > 1 else "") for one in values
    )
    return LintFinding(
        rule.name,
        rule.section,
        f"{register}.{field} of {cores_text(cores)}",
        rule.expected,
        f"{register} is {said}: {meaning}",
        None,
        None,
        LintSetting(register, field, tuple(values)),
    )


def of_mapping(rule: Rule, mapping: LintMapping, found: str) -> LintFinding:
    """The finding of one mapping; `found` says what breaks the rule."""
    said = f"{found}, {mapping.by}"
    return LintFinding(rule.name, rule.section, mapping.place, rule.expected, said, mapping, None, None)


def of_alias(
    rule: Rule, physical: int, size: int, mapping: LintMapping, other: LintMapping, found: tuple[str, str]
) -> LintFinding:
    """The finding of frames that are mapped twice; `found` says what they are by each mapping."""
    said = "; ".join(
        f"{words} at {one.place}, {one.by}" for words, one in zip(found, (mapping, other), strict=True)
    )
    place = f"frames {physical:#x}-{physical + size:#x}"
    return LintFinding(rule.name, rule.section, place, rule.expected, said, mapping, other, None)
