"""`tinyos search`: values, texts, bytes and pointers, held against a search of all bytes."""

from __future__ import annotations

import random

import pytest

from gdbplugin.commands import search
from gdbplugin.commands.parsing import EXPRESSION, complete, parse, split
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.kernel.search import read_search
from gdbplugin.kernel.target import Target
from gdbplugin.machine import MachineError, PhysicalReadError, SelectionError
from tests.aarch64.machines import el1_registers
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import bare, stopped_machine, stopped_world
from tests.kernel.synthetic import LAZY_BASE, READ_WRITE, STACK_BASE, TASK_PAGE, World
from tests.schemas.validation import validate

STACK_END = STACK_BASE + 0x20_0000
SIZE = 0x0900_0000
MARK = 0x1122_3344_5566_7788


class Stored:
    """A sparse file of memory: the pages of a dictionary, and zeros."""

    def __init__(self, pages, size=SIZE):
        self.pages = {address: bytes(data) for address, data in pages.items()}
        self.ranges = ((0, size),)
        self.is_closed = False

    def read(self, address, length):
        if not 0 <= address <= address + length <= self.ranges[0][1]:
            raise PhysicalReadError(address, length)
        data = bytearray(length)
        for start, page in self.pages.items():
            low, high = max(start, address), min(start + len(page), address + length)
            if low < high:
                data[low - address : high - address] = page[low - start : high - start]
        return bytes(data)

    def parts(self):
        yield from sorted(self.pages.items())

    def close(self):
        self.is_closed = True


@pytest.fixture
def stored(monkeypatch):
    """The memory of the small kernel as a file; task 1's stack and a lazy page hold marks."""
    world = World()
    pages = dict(world.build()._memory)
    for address in (STACK_END - 0x1000, STACK_END - 0x2000, LAZY_BASE + 0x3000, TASK_PAGE):
        pages[world.mappings[1][address] & 0xFFFF_FFFF_F000] = bytearray(4096)
    put(pages, world, STACK_END - 8, MARK.to_bytes(8, "little"))
    put(pages, world, LAZY_BASE + 0x3010, (STACK_END - 8).to_bytes(8, "little"))
    put(pages, world, LAZY_BASE + 0x3105, b"a text of its own")
    found = Stored(pages)
    monkeypatch.setattr(Target, "stored_memory", lambda _: found)
    return found


def put(pages, world, address, data):
    """Write into the page that task 1 has at an address."""
    page = pages[world.mappings[1][address & -4096] & 0xFFFF_FFFF_F000]
    page[address % 4096 : address % 4096 + len(data)] = data


def searched(stopped, *arguments, **words):
    """The JSON of a search, by its schema, and its text."""
    found = read_search(stopped, *arguments, **words)
    content = json_of("search", found)
    validate(content)
    text = text_of("search", found)
    assert text.isascii()
    return content, text


def addresses(content):
    return [hit["address"] for hit in content["hits"]]


@pytest.mark.parametrize("within", [None, "physical", "mapped", (STACK_END - 0x3000, STACK_END)])
def test_a_value_is_found_and_told_as_where_tells_it(stored, within):
    content, text = searched(stopped_world(), MARK, within=within)
    (hit,) = content["hits"]
    assert (hit["address"], hit["found"]) == (STACK_END - 8, MARK)
    assert hit["physical"] == (World().mappings[1][STACK_END - 0x1000] & 0xFFFF_FFFF_F000) + 0xFF8
    assert (hit["stack"]["id"], hit["stack"]["task"], hit["frame"]["use"]) == (1, 1, "Stack")
    scope = "range" if isinstance(within, tuple) else within or "physical"
    assert (content["scope"], content["limited"], content["interrupted"]) == (scope, False, False)
    assert f"{STACK_END - 8:#018x}" in text
    assert "stack 1 of task 1, 0x8 below its base" in text
    assert text.splitlines()[-1].startswith("1 hit for 0x1122334455667788 in ")
    assert stored.is_closed


def test_what_points_into_a_range_is_found(stored):
    content, text = searched(stopped_world(), pointer_to=(STACK_END - 0x1000, STACK_END))
    naive = [
        start + place
        for start, data in stored.pages.items()
        for place in range(0, len(data), 8)
        if STACK_END - 0x1000 <= int.from_bytes(data[place : place + 8], "little") < STACK_END
    ]
    assert [hit["physical"] for hit in content["hits"]] == sorted(naive)
    assert LAZY_BASE + 0x3010 in addresses(content)
    assert f"{LAZY_BASE + 0x3010:#018x}" in text
    assert f"-> {STACK_END - 8:#x}" in text
    # The end is exclusive.
    assert LAZY_BASE + 0x3010 not in addresses(
        searched(stopped_world(), pointer_to=(STACK_END - 0x1000, STACK_END - 8))[0]
    )


@pytest.mark.parametrize("wanted", ['"a text of its own"', "'a text of its own'", b"a text of its own"])
def test_a_text_is_found_at_any_byte(stored, wanted):
    assert stored.pages
    content, text = searched(stopped_world(), wanted)
    assert addresses(content) == [LAZY_BASE + 0x3105]
    assert (content["alignment"], content["size"]) == (1, 17)
    assert content["hits"][0]["found"] is None
    assert "lazy range 0 of task 1, page 3 of 5, allocated" in text


def test_bytes_are_pairs_of_digits(stored):
    assert stored.pages
    assert addresses(searched(stopped_world(), "61 20 74 65")[0]) == [LAZY_BASE + 0x3105]


def test_a_size_and_an_alignment_can_be_given(stored):
    assert stored.pages
    content, _ = searched(stopped_world(), 0x1122_3344, size=4)
    assert addresses(content) == [STACK_END - 4]
    assert searched(stopped_world(), 0x1122_3344)[0]["hits"] == []
    assert searched(stopped_world(), 0x1122_3344, size=4, align=8)[0]["hits"] == []
    assert addresses(searched(stopped_world(), '"text"', align=5)[0]) == [
        place for place in (LAZY_BASE + 0x3107,) if place % 5 == 0
    ]


def test_a_text_across_pages_apart_in_memory_is_found_by_virtual_address(monkeypatch):
    world = World()
    first, second = (
        world.mappings[1][STACK_END - distance] & 0xFFFF_FFFF_F000 for distance in (0x2000, 0x1000)
    )
    pages = dict(world.build()._memory)
    pages |= {first: bytes(4090) + b"across", second: b" pages" + bytes(4090)}
    monkeypatch.setattr(Target, "stored_memory", lambda _: Stored(pages))
    assert second + 4096 != first + 8192
    range_ = (STACK_END - 0x2000, STACK_END)
    assert searched(stopped_world(), '"across pages"')[0]["hits"] == []
    for within in ("mapped", range_):
        (hit,) = searched(stopped_world(), '"across pages"', within=within)[0]["hits"]
        assert (hit["address"], hit["physical"]) == (STACK_END - 0x2000 + 4090, first + 4090)


def test_memory_mapped_twice_is_told_once(monkeypatch):
    world = World()
    shared = world.mappings[1][TASK_PAGE]
    world.mappings[2][TASK_PAGE + 0x5000] = shared
    pages = {shared & 0xFFFF_FFFF_F000: MARK.to_bytes(8, "little") * 2 + bytes(4080)}
    monkeypatch.setattr(Target, "stored_memory", lambda _: Stored(pages))
    (first, second) = searched(stopped_world(world), MARK, within="mapped")[0]["hits"]
    assert second["physical"] - first["physical"] == 8
    assert {one["alias"] for one in first["aliases"]} == {TASK_PAGE, TASK_PAGE + 0x5000}
    # Nor is it searched twice.
    frames = {leaf & 0xFFFF_FFFF_F000 for pages in world.mappings.values() for leaf in pages.values()}
    assert (
        searched(stopped_world(world), MARK, within="mapped")[0]["searched"] == 4096 * len(frames) + 0x20_0000
    )


def test_a_text_over_pages_known_from_elsewhere_is_found(monkeypatch):
    """Task 2 maps two of task 1's pages beside each other, in the other order."""
    world = World()
    first, second = (world.mappings[1][STACK_END - distance] for distance in (0x2000, 0x1000))
    world.mappings[2] |= {TASK_PAGE + 0x5000: second, TASK_PAGE + 0x6000: first}
    pages = {
        first & 0xFFFF_FFFF_F000: b"pages" + bytes(4091),
        second & 0xFFFF_FFFF_F000: bytes(4090) + b"other ",
    }
    monkeypatch.setattr(Target, "stored_memory", lambda _: Stored(pages))
    content, _ = searched(stopped_world(world), '"other pages"', within="mapped")
    (hit,) = content["hits"]
    assert hit["physical"] == (second & 0xFFFF_FFFF_F000) + 4090
    # What was within one page is told once, though this pair is searched again.
    assert len(searched(stopped_world(world), '"pages"', within="mapped")[0]["hits"]) == 1


def test_the_limit_ends_the_search(stored):
    start = 0x20_0000
    stored.pages[start] = stored.pages[start][:-0x1000] + MARK.to_bytes(8, "little") * 512
    for limit, kept in ((None, 50), (3, 3), (512, 512)):
        content, text = searched(stopped_world(), MARK, limit=limit)
        assert len(content["hits"]) == kept
        assert content["limited"]
        assert content["searched"] < SIZE
        assert "there are more: --limit N shows N" in text
    content, _ = searched(stopped_world(), MARK, limit=513)
    assert (len(content["hits"]), content["limited"], content["searched"]) == (513, False, SIZE)


def interrupting(stored, after):
    """The parts of a memory, of which Ctrl-C comes after some."""
    for number, part in enumerate(sorted(stored.pages.items())):
        if number == after:
            raise KeyboardInterrupt
        yield part


def test_an_interrupt_shows_what_was_found(stored, monkeypatch):
    mark = next(
        number
        for number, (_, data) in enumerate(sorted(stored.pages.items()))
        if MARK.to_bytes(8, "little") in data
    )
    monkeypatch.setattr(stored, "parts", lambda: interrupting(stored, mark + 1))
    # A program that calls the library is to be interrupted itself.
    with pytest.raises(KeyboardInterrupt):
        read_search(stopped_world(), MARK)
    assert stored.is_closed
    monkeypatch.setattr(Target, "is_interactive", True)
    content, text = searched(stopped_world(), MARK)
    assert addresses(content) == [STACK_END - 8]
    assert content["interrupted"]
    assert content["searched"] < SIZE
    assert "Note: interrupted after 88 % of the memory: there may be more" in text


def test_without_a_file_the_mapped_memory_is_searched_but_no_device(monkeypatch):
    """A bare machine: a page of RAM, and one at a device's address, mapped as Normal memory by mistake."""
    memory = {
        **{at: bytearray(4096) for at in (0x1000, 0x2000, 0x3000, 0x4000)},
        0x5000: MARK.to_bytes(8, "little") * 512,
        0x9000_0000: MARK.to_bytes(8, "little") * 512,
    }
    for at, to in ((0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003)):
        memory[at][:8] = to.to_bytes(8, "little")
    for index, to in ((0, 0x5000), (1, 0x9000_0000), (2, 0x5000)):
        memory[0x4000][8 * index : 8 * index + 8] = (to | READ_WRITE).to_bytes(8, "little")
    ranges = [(0, 0x8000, "ram", "ram"), (0x9000_0000, 0x9000_1000, "i/o", "uart")]
    monkeypatch.setattr(Target, "memory_map", MemoryMap(ranges))
    registers = el1_registers(ttbr0=0x1000, CPSR=0x3C5)
    stopped = bare(registers, memory)
    content, _ = searched(stopped, MARK, within="physical", limit=1000)
    assert [hit["physical"] for hit in content["hits"]] == list(range(0x5000, 0x6000, 8))
    assert (content["scope"], content["searched"]) == ("mapped", 0x1000)
    assert content["notes"][0].startswith("all physical memory can be searched only in a dump")
    content, _ = searched(bare(registers, memory), MARK, within=(0x1000, 0x4000), limit=1000)
    assert addresses(content) == list(range(0x2000, 0x3000, 8))
    assert "8,192 bytes of the range are not mapped memory, and were not searched" in content["notes"]


@pytest.mark.parametrize(("memory_type", "count"), [(0xFF, 512), (0x04, 0)])
def test_device_memory_is_not_read_where_no_map_is_known(memory_type, count):
    memory = {at: bytearray(4096) for at in (0x1000, 0x2000, 0x3000, 0x4000)}
    for at, to in ((0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x5000 | READ_WRITE)):
        memory[at][:8] = to.to_bytes(8, "little")
    memory[0x5000] = MARK.to_bytes(8, "little") * 512
    registers = el1_registers(ttbr0=0x1000, CPSR=0x3C5, MAIR_EL1=memory_type)
    content, _ = searched(bare(registers, memory), MARK, limit=1000)
    assert (len(content["hits"]), content["searched"]) == (count, 8 * count)


def test_memory_that_cannot_be_read_is_said():
    class Broken:
        cores = (0,)

        def register(self, name, _):
            return {"CPSR": 0x3C5, **el1_registers(), "SCTLR_EL1": 0}.get(name)

        def read_physical(self, address, length):
            if address >= 0x4_0000:
                raise PhysicalReadError(address, length)
            return bytes(length)

    content, _ = searched(stopped_machine(Broken()), MARK, within=(0, 0x8_0000))
    assert content["notes"] == ["262,144 bytes could not be read, and were not searched"]
    assert content["searched"] == 0x4_0000


def test_with_the_mmu_off_all_memory_is_searched(monkeypatch):
    registers = el1_registers(CPSR=0x3C5) | {"SCTLR_EL1": 0}
    memory = {0: bytes(0x2000), 0x4000: bytes(64) + MARK.to_bytes(8, "little") + bytes(0x1000 - 72)}
    with pytest.raises(MachineError, match=r"give a range, --in START\.\.END"):
        read_search(bare(registers, memory), MARK)
    ranges = [(0, 0x2000, "ram", "a"), (0x4000, 0x5000, "ram", "b"), (0x5000, 0x6000, "i/o", "uart")]
    monkeypatch.setattr(Target, "memory_map", MemoryMap(ranges))
    content, _ = searched(bare(registers, memory), MARK)
    assert [hit["physical"] for hit in content["hits"]] == [0x4040]
    assert content["searched"] == 0x3000


@pytest.mark.parametrize(
    ("arguments", "words", "said"),
    [
        ((), {}, "^give one thing to search"),
        ((1,), {"pointer_to": (0, 8)}, "^give one thing to search"),
        ((0x100,), {"size": 1}, "^0x100 has more than 1 bytes"),
        ((1,), {"size": 3}, "^--size is 1, 2, 4 or 8, not 3"),
        ((1,), {"align": 0}, "^--align is from 1 to 4,096, not 0"),
        (('"text"',), {"size": 4}, "^--size is for a VALUE only"),
        (('""',), {}, "^a text or bytes have a length from 1 to 4,096, not 0"),
        ((b"x" * 5000,), {}, "^a text or bytes have a length from 1 to 4,096, not 5,000"),
        ((1,), {"within": "nowhere"}, '^"nowhere" is not where to search: mapped, physical, or a range'),
        ((0,), {}, "^memory is full of zeros: search them in a range"),
        (("no number",), {}, '^"no number" is not a number'),
    ],
)
def test_what_cannot_be_searched_is_one_line(stored, arguments, words, said):
    assert stored.pages
    with pytest.raises(SelectionError, match=said) as caught:
        read_search(stopped_world(), *arguments, **words)
    assert "\n" not in str(caught.value)


def test_words_are_taken_as_they_are_typed():
    def given(line):
        return parse(search.COMMAND, split(line))

    assert given("7f 45 4c 46") == {"value": "7f 45 4c 46"}
    assert given('"two  words" --in Mapped') == {"value": '"two  words"', "in_": "mapped"}
    assert given("0x10 --in 0x1000+0x20 --size 4") == {"value": 16, "in_": (0x1000, None, 0x20), "size": 4}
    assert given("--pointer-to 1..5") == {"pointer_to": (1, 5)}
    assert complete(search.COMMAND, "5 --in m", lambda _: ()) == ["mapped"]
    assert complete(search.COMMAND, "5 --in 0x", lambda _: ()) is EXPRESSION


def test_many_marks_are_found_in_any_memory(monkeypatch):
    chance = random.Random(7)
    pages = {}
    for page in chance.sample(range(1000), 60):
        data = bytearray(chance.randbytes(4096))
        for _ in range(chance.randrange(3)):
            place = chance.randrange(0, 4096, 8)
            data[place : place + 8] = MARK.to_bytes(8, "little")
        pages[0x10_0000 + page * 4096] = data
    memory = Stored(pages)
    monkeypatch.setattr(Target, "stored_memory", lambda _: memory)
    whole = memory.read(0, 0x60_0000)
    naive = [
        place for place in range(0, len(whole), 8) if whole.startswith(MARK.to_bytes(8, "little"), place)
    ]
    assert len(naive) > 20
    found = read_search(bare({}), MARK, limit=1000)
    assert [hit.place.physical for hit in found] == naive
    assert found.searched == SIZE
