"""Separate debug files: found where GDB finds them, and used only if they belong to the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdbplugin.layout import cache
from gdbplugin.layout.debug_file import build_id_of, find_debug_file
from gdbplugin.layout.elf import read_image
from gdbplugin.layout.types import LayoutError
from tests.elf_files import Section, changed, debug_link, debug_only, stripped

NAME = "shapes.debug"


@pytest.fixture
def program(shapes, tmp_path):
    """A stripped program that names its debug file, which does not exist yet."""
    path = tmp_path / "bin" / "shapes"
    path.parent.mkdir()
    path.write_bytes(stripped(shapes.read_bytes(), [debug_link(NAME, debug_of(shapes))]))
    return path


@pytest.fixture
def system(tmp_path):
    """Replaces /usr/lib/debug."""
    return tmp_path / "system"


def debug_of(shapes: Path) -> bytes:
    return debug_only(shapes.read_bytes())


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_program_with_debug_information_needs_no_file(shapes, system):
    assert find_debug_file(shapes, [system]) == shapes


@pytest.mark.parametrize("place", ["{bin}/{name}", "{bin}/.debug/{name}", "{system}{bin}/{name}"])
def test_the_named_file_is_found(shapes, program, system, place):
    path = Path(place.format(bin=program.parent, system=system, name=NAME))
    put(path, debug_of(shapes))
    assert find_debug_file(program, [system]) == path


def test_a_file_is_found_by_build_id(shapes, program, system):
    digits = read_image(shapes).build_id.hex()
    path = put(system / ".build-id" / digits[:2] / f"{digits[2:]}.debug", debug_of(shapes))
    put(program.parent / NAME, debug_of(shapes))
    assert find_debug_file(program, [system.with_name("other"), system]) == path
    # The name is not needed.
    program.write_bytes(stripped(shapes.read_bytes()))
    assert find_debug_file(program, [system]) == path


def test_a_file_next_to_a_links_target_is_found(shapes, program, system, tmp_path):
    path = put(program.parent / NAME, debug_of(shapes))
    link = tmp_path / "elsewhere" / "kernel"
    link.parent.mkdir()
    link.symlink_to(program)
    assert find_debug_file(link, [system]) == path


def test_the_pair_has_the_layout_of_the_whole(shapes, program, system, tmp_path):
    put(program.parent / NAME, debug_of(shapes))
    whole = cache.load(shapes, ("shapes",), tmp_path / "one").statics
    assert "shapes::EVERYTHING" in whole
    assert cache.load(program, ("shapes",), tmp_path / "two", [system]).statics == whole


def refused(program: Path, system: Path) -> str:
    with pytest.raises(LayoutError) as caught:
        find_debug_file(program, [system])
    assert "\n" not in str(caught.value)
    assert f"{program} is stripped: it has no debug information" in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named_with_its_places(program, system):
    said = refused(program, system)
    assert f"its debug file {NAME} is missing" in said
    for place in (
        program.parent / NAME,
        program.parent / ".debug" / NAME,
        f"{system}{program.parent / NAME}",
    ):
        assert str(place) in said
    assert f"{system}/.build-id/" in said


def test_a_program_that_names_no_file_says_so(shapes, program, system):
    program.write_bytes(stripped(shapes.read_bytes()))
    assert "no debug file is at" in refused(program, system)


def test_a_file_with_another_checksum_is_not_used(shapes, program, system):
    wrong = put(program.parent / NAME, debug_of(shapes) + b"x")
    said = refused(program, system)
    assert f"{wrong} does not belong to {program}: its checksum is 0x" in said
    # The next place is still searched.
    right = put(program.parent / ".debug" / NAME, debug_of(shapes))
    assert find_debug_file(program, [system]) == right


def test_a_file_with_another_build_id_is_not_used(shapes, program, system):
    build_id = read_image(shapes).build_id
    digits = build_id.hex()
    other = debug_of(shapes).replace(build_id, bytes(len(build_id)))
    wrong = put(system / ".build-id" / digits[:2] / f"{digits[2:]}.debug", other)
    assert f"{wrong} does not belong to {program}: it has another build-id" in refused(program, system)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"nothing", "is not a 64-bit little-endian ELF file"), (None, "has no debug information either")],
)
def test_an_unusable_file_is_named(shapes, program, system, content, words):
    put(program.parent / NAME, stripped(shapes.read_bytes()) if content is None else content)
    assert words in refused(program, system)


def test_a_program_that_names_itself_is_stripped(shapes, system, tmp_path):
    path = put(tmp_path / NAME, stripped(shapes.read_bytes(), [debug_link(NAME, b"")]))
    assert "has no debug information either" in refused(path, system)


def test_a_name_that_no_file_can_have_is_missing(shapes, system, tmp_path):
    path = put(tmp_path / "program", stripped(shapes.read_bytes(), [debug_link("x" * 5000, b"")]))
    assert "is missing" in refused(path, system)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0", b"name", b"name\0\0\0\0\1\2"])
def test_a_malformed_link_is_ignored(shapes, system, tmp_path, data):
    path = put(tmp_path / "program", stripped(shapes.read_bytes(), [Section(".gnu_debuglink", data)]))
    assert "no debug file is at" in refused(path, system)


def test_the_build_id_is_read_from_both_of_a_pair(shapes, program):
    debug = put(program.parent / NAME, debug_of(shapes))
    assert build_id_of(debug) == build_id_of(program) == read_image(shapes).build_id


def test_the_cache_does_not_replace_a_lost_debug_file(shapes, program, system, tmp_path):
    debug = put(program.parent / NAME, debug_of(shapes))
    cache.load(program, ("shapes",), tmp_path / "cache", [system])
    debug.unlink()
    with pytest.raises(LayoutError, match="is missing"):
        cache.load(program, ("shapes",), tmp_path / "cache", [system])


def test_the_cache_knows_the_file_with_the_dwarf(shapes, program, system, tmp_path):
    # The program keeps its build-id; the debug file with the right checksum has another.
    build_id = read_image(shapes).build_id
    other_id = bytes(byte ^ 0xFF for byte in build_id)
    cache.load(shapes, ("shapes",), tmp_path / "cache")
    fewer = changed(debug_of(shapes), lambda one: one).replace(build_id, other_id)
    fewer = fewer.replace(b"EVERYTHING\0", b"SOMETHING!\0")
    program.write_bytes(stripped(shapes.read_bytes(), [debug_link(NAME, fewer)]))
    put(program.parent / NAME, fewer)
    found = cache.load(program, ("shapes",), tmp_path / "cache", [system]).statics
    assert "shapes::SOMETHING!" in found
    assert "shapes::EVERYTHING" not in found
    assert {file.name[:40] for file in (tmp_path / "cache").iterdir()} == {build_id.hex(), other_id.hex()}


def test_a_layout_read_in_part_is_not_cached(tmp_path):
    from tests.layout.assembled import Unit, elf_with, namespace, variable

    note = b"\4\0\0\0\4\0\0\0\3\0\0\0GNU\0" + b"\1\2\3\4"
    units = [
        Unit([namespace("tinyos", variable(name))], version=version) for name, version in (("A", 5), ("B", 6))
    ]
    path = put(tmp_path / "kernel.elf", elf_with(*units, add=[Section(".note.gnu.build-id", note, kind=7)]))
    assert build_id_of(path) == b"\1\2\3\4"
    assert cache.load(path, ("tinyos",), tmp_path / "cache").problems
    assert not (tmp_path / "cache").exists()
