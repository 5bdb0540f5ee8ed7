"""Mappings and registers that undo a kernel's protections, in every address space: for `tinyos lint`."""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.lint_findings import Collector, LintFinding
from gdbplugin.kernel.lint_mappings import MappingLinter
from gdbplugin.kernel.lint_places import find_places
from gdbplugin.kernel.lint_rules import (
    RULES,
    Setting,
    broken_by_hypervisor,
    broken_by_registers,
    without_tables,
)
from gdbplugin.kernel.lint_spaces import CoreRegime, FoundSpace, core_regimes, find_spaces, is_without_tables
from gdbplugin.kernel.target import Target
from gdbplugin.machine import Machine, SelectionError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class RuleCount:
    """A rule, and how often it is broken."""

    name: str
    """Name of the rule."""
    section: str
    """The section of the Arm manual (DDI 0487) that it follows."""
    expected: str
    """What it asks for."""
    ignored: bool
    """Whether --ignore left it out."""
    broken_count: int
    """How often it is broken."""


@dataclass(frozen=True)
class Lint(Diagnosed):
    """What undoes protections in all address spaces that were found."""

    json_fields = ("spaces as address_spaces", "tables", "leaves", "rules", "broken_count", "broken")

    spaces: tuple[FoundSpace, ...]
    """The ranges of addresses whose tables were walked."""
    tables: int
    """Number of translation tables read."""
    leaves: int
    """Number of blocks and pages found."""
    rules: tuple[RuleCount, ...]
    """Every rule, and how often it is broken."""
    broken_count: int
    """How often rules are broken."""
    broken: tuple[LintFinding, ...]
    """At most the first 71 findings of each rule; first one of each rule, then the others."""


def read_lint(target: Target, ignore: Sequence[str] = ()) -> Lint:
    """Walk all address spaces that can be found, and hold mappings and registers against the rules.

    Rules named in `ignore` are left out. Raises `SelectionError` for a name that is not a rule's.
    """
    known = [rule.name for rule in RULES]
    for name in ignore:
        if name not in known:
            raise SelectionError(f'"{name}" is not a rule (known: {", ".join(known)})')
    collector = Collector([rule for rule in RULES if rule.name not in ignore])
    regimes = core_regimes(target)
    if not regimes:
        target.diagnostics.add_note("no core has its MMU on: there are no mappings to look at")
    spaces = find_spaces(target, regimes)
    mappings = MappingLinter(target, collector, find_places(target, regimes))
    for core, setting in _settings(target.machine, regimes):
        collector.add_setting(setting, core)
    mappings.read(spaces)
    broken = collector.findings()
    for one in broken:
        target.diagnostics.add_finding(one.object, one.rule_text, one.found)
    target.diagnostics.finding_count += collector.count - len(broken)
    return Lint(
        spaces=tuple(spaces),
        tables=mappings.tables,
        leaves=mappings.leaves,
        rules=tuple(RuleCount(*rule, rule.name in ignore, collector.counts.get(rule, 0)) for rule in RULES),
        broken_count=collector.count,
        broken=tuple(broken),
        diagnostics=target.diagnostics,
    )


def _settings(machine: Machine, regimes: Sequence[CoreRegime]) -> Iterator[tuple[int, Setting]]:
    """The rules that registers break, with the core of each."""
    for core in machine.cores:
        for setting in broken_by_hypervisor(machine, core):
            yield core, setting
    for core, regime in regimes:
        for setting in broken_by_registers(machine, core, regime):
            yield core, setting
        for control in regime.controls:
            if control.defect is None and is_without_tables(regime, control):
                what = "is 0, so walks take what is at physical address 0 for tables"
                yield core, without_tables(machine, core, regime.level, control, what)
