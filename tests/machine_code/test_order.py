"""Barriers and TLB maintenance of the built kernel, path by path: what QEMU does not notice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.machine_code.code import Function, functions, name_of

_KERNEL = Path(__file__).resolve().parents[2] / "kernel" / "src"
_BY_RUST = ("tlbi vae1", "tlbi aside1", "tlbi vmalle1")


@pytest.fixture(scope="module")
def code(kernel_elf: Path) -> list[Function]:
    """The functions of the kernel."""
    return functions(kernel_elf)


@pytest.fixture(scope="module")
def rust(code: list[Function]) -> list[Function]:
    """Those that are written in Rust; the others are in `boot.s`."""
    return [
        function
        for function in code
        if function.name.startswith(("_ZN", "_R", "kernel_main", "task_", "shell_"))
    ]


@pytest.fixture(scope="module")
def boot(code: list[Function]) -> list[str]:
    """The instructions from the entry at EL1 to the upper half, on every core."""
    (start,) = [function for function in code if function.name == "at_el1"]
    return [name for name in start.names() if name]


def calls(name: str) -> int:
    """How often the kernel's source calls an operation of `hardware`; its tests are not counted."""
    pattern = re.compile(rf"\bhardware::{name}\(")
    files = [path for path in _KERNEL.rglob("*.rs") if "tests" not in path.parts]
    return sum(len(pattern.findall(path.read_text())) for path in files)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        (0xD503_3FDF, "isb"),
        (0xD508_8723, "tlbi vae1"),
        (0xD518_2009, "msr ttbr0_el1"),
        (0xD518_2029, "msr ttbr1_el1"),
        (0xD503_201F, ""),
        (0, ""),
    ],
)
def test_instructions_have_the_names_of_the_manual(word: int, name: str) -> None:
    assert name_of(word) == name


@pytest.mark.parametrize(
    ("operation", "instruction"),
    [
        ("invalidate_address", "tlbi vae1"),
        ("invalidate_asid", "tlbi aside1"),
        ("invalidate_everything", "tlbi vmalle1"),
        ("publish", "dsb ishst"),
        ("write_ttbr0", "msr ttbr0_el1"),
    ],
)
def test_each_call_of_an_operation_has_its_instruction(
    rust: list[Function], operation: str, instruction: str
) -> None:
    assert calls(operation) >= 1
    assert sum(len(function.places(instruction)) for function in rust) >= calls(operation)


@pytest.mark.parametrize("instruction", _BY_RUST)
def test_unpublish_orders_stores_invalidation_and_what_follows(
    rust: list[Function], instruction: str
) -> None:
    found = 0
    for function in rust:
        names = function.names()
        for place in function.places(instruction):
            around = names[place - 1 : place + 3]
            assert around == ["dsb nshst", instruction, "dsb nsh", "isb"], (function.name, around)
            found += 1
    assert found


def test_publish_orders_stores_before_the_walker(rust: list[Function]) -> None:
    for function in rust:
        names = function.names()
        for place in function.places("dsb ishst"):
            assert names[place + 1] == "isb", function.name


def test_a_switch_is_complete_before_what_follows(rust: list[Function]) -> None:
    for function in rust:
        names = function.names()
        for place in function.places("msr ttbr0_el1"):
            assert names[place + 1] == "isb", function.name


def test_a_rollover_invalidates_with_the_empty_table_in_ttbr0(rust: list[Function]) -> None:
    # `kernel_main` invalidates everything once, when the kernel's own half is complete.
    rollovers = [each for each in rust if each.places("tlbi vmalle1") and each.name != "kernel_main"]
    assert rollovers
    for function in rollovers:
        names = function.names()
        for place in function.places("tlbi vmalle1"):
            before = [name for name in names[:place] if name in ("msr ttbr0_el1", "tlbi vmalle1")]
            assert before[-1:] == ["msr ttbr0_el1"], function.name


def test_the_mmu_is_turned_on_with_nothing_left_in_tlb_and_cache(boot: list[str]) -> None:
    on = boot.index("msr sctlr_el1")
    assert boot[on + 1] == "isb"
    assert {"msr mair_el1", "msr tcr_el1", "msr ttbr0_el1", "msr ttbr1_el1"} <= set(boot[:on])
    last = max(boot.index(name) for name in ("msr tcr_el1", "msr ttbr0_el1", "msr ttbr1_el1"))
    assert boot[last + 1 : on] == ["dsb sy", "tlbi vmalle1", "ic iallu", "dsb sy", "isb"]


@pytest.mark.parametrize("name", ["secondary", "install_kernel_table"])
def test_another_kernel_table_leaves_nothing_of_the_old_one(code: list[Function], name: str) -> None:
    names = [each for function in code if function.name == name for each in function.names() if each]
    changed = min(place for place, each in enumerate(names) if each.startswith("msr ttbr"))
    assert names[changed + 1 : changed + 5] == ["isb", "tlbi vmalle1", "dsb nsh", "isb"]


def test_what_is_cleaned_to_memory_is_there_before_what_follows(rust: list[Function]) -> None:
    cleaned = [function for function in rust if function.places("dc civac")]
    assert cleaned
    for function in cleaned:
        names = function.names()
        for place in function.places("dc civac"):
            assert names[place + 1] == "dsb sy", function.name


def test_the_entry_of_the_other_cores_reaches_memory(rust: list[Function]) -> None:
    """Before they are woken: their caches are off."""
    woken = []
    for function in rust:
        names = [name for name in function.names() if name]
        woken += [names[place - 2 : place] for place, name in enumerate(names) if name == "sev"]
    # The other `sev` wakes them for the kernel's final tables, when they see the caches.
    assert woken.count(["dc civac", "dsb sy"]) == 1
