"""What scripts/bench makes of its measurements, and the tables it measures with."""

import pytest

from gdbplugin.aarch64.maps import leaves
from gdbplugin.aarch64.regime import el1_regime
from gdbplugin.aarch64.tables import Leaf
from gdbplugin.aarch64.walk import translate
from gdbplugin.machine import BytesMachine
from scripts.lib.bench import table_set
from scripts.lib.bench.figures import Figure, table
from tests.aarch64.machines import el1_registers


@pytest.mark.parametrize("scattered", [False, True])
def test_the_tables_are_as_many_as_said(scattered):
    memory = {table_set.BASE: table_set.build(scattered)}
    machine = BytesMachine(memory, {0: el1_registers(ttbr0=table_set.BASE)})
    regime = el1_regime(machine, 0)
    tables: list[int] = []
    found = list(leaves(machine, regime.lower, visited=tables))
    assert all(isinstance(leaf, Leaf) for leaf in found)
    assert len({leaf.start for leaf in found}) == table_set.LEAVES
    assert len({leaf.physical for leaf in found}) == table_set.LEAVES
    assert len(tables) == len(set(tables)) == table_set.count(table_set.LEAVES)
    translation = translate(machine, regime, table_set.ADDRESS)
    assert len(translation.levels) == 4
    assert translation.output is not None
    adjacent = sum(found[i].physical + 4096 == found[i + 1].physical for i in range(len(found) - 1))
    assert (adjacent < 10) if scattered else (adjacent > 120_000)


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("a", 5, "ms"), None),
        (Figure("a", 5, "ms", 5), True),
        (Figure("a", 6, "ms", 5), False),
        (Figure("a", 6, "ms", None, 4, 1.5), True),
        (Figure("a", 6.1, "ms", None, 4, 1.5), False),
        (Figure("a", 6, "ms", 5, 4, 1.5), False),
        (Figure("a", 0, "packets", 0), True),
    ],
)
def test_a_goal_is_met_or_missed(figure, met):
    assert figure.met is met
    word = {None: "", True: "met", False: "missed"}[met]
    assert table([figure]).splitlines()[-1].endswith(word)
