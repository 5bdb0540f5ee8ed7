"""Run inside GDB, stopped at EL1: prints what the walker and QEMU's own make of many addresses, as JSON."""

import json
import random

from gdbplugin.aarch64.maps import leaves
from gdbplugin.aarch64.regime import el1_regime
from gdbplugin.aarch64.tables import Leaf
from gdbplugin.aarch64.walk import translate
from gdbplugin.debugger import current
from gdbplugin.debugger.guards import printed

random.seed(4443)


def answer(address):
    """QEMU's translation: None where it has none. It prints physical 0 without its prefix."""
    said = printed(f"monitor gva2gpa {address:#x}").strip()
    return int(said.removeprefix("gpa: "), 16) if said.startswith("gpa: ") else None


machine = current.machine()
regime = el1_regime(machine, 0)
mapped = [
    leaf
    for control in (regime.lower, regime.upper)
    for leaf in leaves(machine, control)
    if isinstance(leaf, Leaf)
]
probes = []
for leaf in random.sample(mapped, min(len(mapped), 150)):
    probes += [
        leaf.start,
        leaf.start + random.randrange(leaf.size),
        leaf.start - 1,
        leaf.start + leaf.size,
    ]
probes += [random.getrandbits(64) for _ in range(50)] + [random.getrandbits(48) for _ in range(50)]
probes = [address & (1 << 64) - 1 for address in probes]
ours = [translate(machine, regime, address).output for address in probes]
print(json.dumps([[address, output, answer(address)] for address, output in zip(probes, ours, strict=True)]))
