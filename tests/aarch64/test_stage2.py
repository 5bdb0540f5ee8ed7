"""Both stages of the EL1&0 regime, against the naive walker and against QEMU's own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gdbplugin.aarch64.access import Access, access_fault
from gdbplugin.aarch64.maps import Bounds, leaf_attributes, leaves
from gdbplugin.aarch64.regime import el1_regime
from gdbplugin.aarch64.registers import exception_level, stage2_memory_type
from gdbplugin.aarch64.tables import Leaf
from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.maps import read_maps
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.translate import read_translation
from gdbplugin.machine import MachineError, SelectionError
from tests.aarch64 import naive, naive_stage2, qemu
from tests.aarch64.machines import SetupMachine
from tests.aarch64.processors import CORTEX_A72, MAX
from tests.aarch64.setups import QEMU, STRICT
from tests.aarch64.stage2_setups import GuestGenerator
from tests.aarch64.test_naive import PROCESSORS
from tests.debugger.conftest import gdb
from tests.schemas.validation import validate

BASE, END = 0x100_0000, 0x300_0000
SETUPS, QEMU_SETUPS = 60, 160


def setups(seed, processor, count):
    makes = GuestGenerator(seed, processor, BASE, END, 0x10_0000, STRICT)
    for _ in range(count):
        setup, shape = makes.setup()
        yield setup, shape, SetupMachine(setup, processor, BASE, END)


def outcome(found):
    """The walker's answer for both stages, in the naive ones' words."""
    fault, second = found.fault, found.stage2
    if fault is not None and fault.on_walk:
        return naive.Answer("stage 2"), naive_stage2.Found(fault.kind, fault.level)
    if second is None:
        assert fault is not None
        assert fault.stage == 1
        return naive.Answer(fault.kind, fault.level), None
    attributes = found.attributes
    if attributes is None:
        rights = ("rwx", "rwx", "rwx")
    else:
        rights = tuple(map(str, (attributes.el0, attributes.el1, attributes.el1_with_pan)))
    first = naive.Answer("ok", found.levels[-1].level if found.levels else 0, second.input, rights)
    if second.fault is not None:
        assert second.fault.stage == 2
        assert second.fault == fault
        return first, naive_stage2.Found(second.fault.kind, second.fault.level)
    assert found.output == second.output
    return first, naive_stage2.Found(
        "ok",
        second.levels[-1].level,
        output=second.output,
        rights=(str(second.attributes.el0), str(second.attributes.el1)),
    )


def plain(answer):
    first, second = answer
    return first, second and second._replace(device=False)


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_both_stages_agree_with_the_naive_ones(name):
    seen = set()
    for number, (setup, shape, machine) in enumerate(setups(21, PROCESSORS[name], SETUPS)):
        regime = el1_regime(machine, 0)
        assert regime.stage2 is not None
        for address in setup.probes:
            expected = plain(naive_stage2.both(machine.registers, machine.word, setup.level, address))
            assert outcome(translate(machine, regime, address)) == expected, f"set-up {number}, {address:#x}"
            first, second = expected
            seen.add(first.kind if second is None else f"stage 2 {second.kind}")
            if first.kind == "stage 2":
                seen.add(f"walk {second.kind}")
            elif second is not None and second.kind == "ok":
                seen.add("concatenated" if shape.root_bytes > 1 << shape.granule else "one root")
    assert {"translation", "stage 2 ok", "stage 2 translation", "walk translation", "walk permission"} <= seen
    assert {"stage 2 access flag", "one root", "concatenated"} <= seen


@pytest.mark.parametrize("name", ["A72", "max"])
def test_the_map_of_stage_2_holds_what_single_walks_find(name):
    compared = 0
    for _, _, machine in setups(22, PROCESSORS[name], 25):
        regime = el1_regime(machine, 0).stage2
        registers = naive.Registers(machine.registers)
        for entry in leaves(machine, regime.lower, Bounds(600)):
            found = naive_stage2.translate(registers, machine.word, entry.start)
            if not isinstance(entry, Leaf):
                assert found.kind != "ok"
            elif found.kind != "access flag":
                compared += 1
                assert found.output == entry.physical
                allowed = leaf_attributes(regime, entry.start, entry.descriptor, entry.inherited)
                assert found.rights == (str(allowed.el0), str(allowed.el1))
    assert compared > 300


def blind_to_the_access_flag(regime):
    """As QEMU's walk on a debugger's behalf is."""
    if regime is None:
        return None
    lower = replace(regime.lower, hardware_access_flag=True)
    upper = regime.upper and replace(regime.upper, hardware_access_flag=True)
    return replace(regime, lower=lower, upper=upper, stage2=blind_to_the_access_flag(regime.stage2))


@pytest.mark.parametrize(
    ("board", "processor"), [(qemu.RASPI4B, CORTEX_A72), (qemu.VIRT, MAX)], ids=["raspi4b", "virt"]
)
def test_qemu_finds_the_same(board, processor):
    base = board.memory_base
    makes = GuestGenerator(5, processor, base + qemu.TABLES, base + qemu.TABLES_END, base + qemu.SPIN, QEMU)
    mapped, unmapped, seen, permissions = 0, 0, set(), qemu.Permissions()
    with qemu.running(board) as target:
        for number in range(QEMU_SETUPS):
            setup, shape = makes.setup()
            state = 0x3C0 | setup.level << 2 | (setup.level > 0)
            target.start(setup.registers, setup.words, state=state, at=setup.spin)
            regime = blind_to_the_access_flag(el1_regime(target, 0))
            if exception_level(target, 0) > 1:
                continue
            for address in setup.probes:
                found = translate(target, regime, address)
                fault = access_fault(regime, found, Access.READ, exception_level(target, 0))
                output = None if fault else found.output
                asked = target.gva2gpa(address)
                agrees = permissions.agree(asked, found.output, fault is None)
                assert agrees, f"set-up {number}, {address:#x}: {asked}, {shape}, {regime}, {found}, {fault}"
                mapped += output is not None
                unmapped += output is None
                seen.add("mapped" if fault is None else f"{fault.kind}, stage {fault.stage}")
                if fault is None and shape.root_bytes > 1 << shape.granule:
                    seen.add("concatenated")
    assert mapped > 60
    assert unmapped > 200
    assert {"mapped", "concatenated", "translation, stage 1", "translation, stage 2"} <= seen
    assert "permission, stage 2" in seen


def test_the_commands_show_both_stages():
    base, processor = qemu.RASPI4B.memory_base, CORTEX_A72
    makes = GuestGenerator(6, processor, base + qemu.TABLES, base + qemu.TABLES_END, base + qemu.SPIN, QEMU)
    with qemu.running(qemu.RASPI4B) as target:
        while True:
            setup, shape = makes.setup()
            state = 0x3C0 | setup.level << 2 | (setup.level > 0)
            target.start(setup.registers, setup.words, state=state, at=setup.spin)
            found = translate(target, el1_regime(target, 0), setup.spin)
            # Mapped as QEMU cares for it and as the processor does: with the access flag.
            if found.output is not None and found.levels and shape.root_bytes > 1 << shape.granule:
                break
        asked = target.gva2gpa(setup.spin)
        commands = (
            f"translate {setup.spin:#x}",
            f"translate {setup.spin:#x} --json",
            f"maps --json --range {setup.spin:#x}..{setup.spin + 16:#x}",
            "maps --stage 2",
            "maps --stage 2 --json",
        )
        connect = ("set architecture aarch64", f"target remote {target.gdb_address}")
        done = gdb(*connect, *(f"tinyos {command}" for command in commands))
        assert complaints(done) == []
        both, map1, map2 = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
        intermediate = both["stage2"]["input"]
        wrong = gdb(
            *connect,
            f"tinyos translate {intermediate:#x} --stage 2 --json",
            "tinyos translate 0 --stage 2 --asid 1",
            "tinyos translate 0 --stage 2 --el 3",
            "tinyos maps --stage 3",
        )
    for found in (both, map1, map2):
        validate(found)
    assert both["output"] == asked
    assert both["levels"][-1]["output"] + (setup.spin & both["size"] - 1) & ~0xFFF == intermediate & ~0xFFF
    alone = json.loads(next(line for line in wrong.output.splitlines() if line.startswith("{")))
    validate(alone)
    assert (alone["output"], alone["levels"]) == (asked, both["stage2"]["levels"])
    assert alone["regime"]["name"] == "EL1&0 stage 2"
    assert (map1["regime"]["stage"], map1["regime"]["second_stage"]) == (1, True)
    (own,) = (one for one in map1["mappings"] if one["start"] <= setup.spin < one["end"])
    assert own["physical"] + setup.spin - own["start"] == intermediate
    (own,) = (one for one in map2["mappings"] if one["start"] <= intermediate < one["end"])
    assert own["physical"] + intermediate - own["start"] == asked
    assert "intermediate physical" in done.output
    assert f"VTTBR_EL2: table {both['stage2']['range']['table']:#x}" in done.output
    said = [line.partition(". Usage: ")[0] for line in complaints(wrong)]
    assert said == [
        "tinyos translate: --asid selects tables of stage 1: it cannot be given with --stage 2",
        "tinyos translate: --stage 2 is for EL1 and EL0: it cannot be given with --el 3",
        'tinyos maps: "3" is not one of 1, 2',
    ]


def test_what_stage_2_does_not_permit_is_its_own_fault():
    """Found by both ways: behind stage 1, and by --stage 2 alone."""
    seen = 0
    for setup, _, machine in setups(24, MAX, 60):
        target = Target(machine, 0, Diagnostics(), no_kernel)
        for address in setup.probes:
            found = read_translation(target, address, el=1)
            if found.fault is None or found.fault.stage != 2 or found.fault.on_walk:
                continue
            intermediate = found.walk.stage2.input
            alone = read_translation(target, intermediate, stage=2)
            assert (alone.fault, alone.output) == (found.fault, None)
            seen += found.fault.kind == "permission"
    assert seen > 3


def complaints(done):
    """What GDB says beside having no program."""
    return done.errors.partition('Try using the "file" command.\n')[2].splitlines()


def test_without_a_hypervisor_there_is_no_stage_2():
    machine = SetupMachine(*next((s, CORTEX_A72) for s, *_ in setups(23, CORTEX_A72, 1)), BASE, END)
    machine.registers["HCR_EL2"] &= ~1
    target = Target(machine, 0, Diagnostics(), no_kernel)
    with pytest.raises(
        SelectionError, match=r"core 0 has no stage 2: no hypervisor has enabled it \(HCR_EL2.VM\)"
    ):
        read_maps(target, stage=2)
    # With it, but without its registers, that is a note, and what comes out an intermediate address.
    machine.registers["HCR_EL2"] |= 1
    del machine.registers["VTCR_EL2"]
    regime = el1_regime(machine, 0)
    assert (regime.second_stage, regime.stage2) == (True, None)
    assert "VTCR_EL2 of core 0 cannot be read" in regime.notes[-1]
    with pytest.raises(
        SelectionError, match="stage 2 of core 0 is not known: VTCR_EL2 of core 0 cannot be read"
    ):
        read_maps(target, stage=2)


def no_kernel():
    raise MachineError("there is none")


@pytest.mark.parametrize(
    ("attribute", "forced", "name"),
    [
        (0b0000, False, "Device-nGnRnE"),
        (0b0011, False, "Device-GRE"),
        (0b0101, False, "Normal non-cacheable"),
        (0b1111, False, "Normal write-back"),
        (0b0111, False, "Normal, outer non-cacheable, inner write-back"),
        (0b1000, False, "unpredictable (reserved)"),
        (0b0001, True, "Device-nGnRE"),
        (0b0101, True, "Normal non-cacheable"),
        (0b0110, True, "Normal write-back"),
        (0b0111, True, "as at stage 1"),
        (0b0100, True, "unpredictable (reserved)"),
    ],
)
def test_memory_types_of_stage_2(attribute, forced, name):
    assert stage2_memory_type(attribute, forced) == name
