"""The container: as Docker runs in no test, it is held against scripts/systems and scripts/setup."""

from __future__ import annotations

import json
import re
import shlex

from tests.setup_sandbox import TOP, library

systems = library("systems")
SET_UP = {"scripts/setup", "scripts/build", "scripts/run", "scripts/test"}


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and what follows it."""
    text = re.sub(r"\\\n", "", (TOP / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, rest in (line.split(" ", 1) for line in lines)]


def programs_of(script: str) -> list[str]:
    """The program of each command of a shell line."""
    return [shlex.split(command)[0] for command in re.split(r"&&|\|\||[;|\n]", script)]


def test_the_image_is_a_system_that_scripts_systems_tries() -> None:
    (base,) = [rest for name, rest in instructions() if name == "FROM"]
    assert base.replace(":", "") in systems.SUITES


def test_the_image_installs_by_scripts_setup_alone() -> None:
    run = [program for name, rest in instructions() if name == "RUN" for program in programs_of(rest)]
    assert run == ["scripts/setup", "scripts/build"]
    assert {name for name, _ in instructions()} == {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "CMD"}


def test_scripts_systems_installs_by_the_same_set_up() -> None:
    assert {programs_of(command)[0] for command in systems.COMMANDS.values()} <= SET_UP
    for script in SET_UP:
        text = (TOP / script).read_text()
        assert "lib/common.sh" in text, script
        assert re.search(r"\bensure_(setup|ready)\b", text), script


def test_the_image_has_its_programs_on_the_path() -> None:
    (folder,) = [rest for name, rest in instructions() if name == "WORKDIR"]
    assert ("COPY", ". .") in instructions()
    assert ("ENV", f"PATH={folder}/.venv/bin:$PATH") in instructions()
    assert ("CMD", '["tinyos-repl"]') in instructions()


def test_what_is_built_here_is_not_copied_into_the_image() -> None:
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    assert {".venv", "build", "kernel/target"} <= set(ignored)
    assert not {"scripts", "gdbplugin", "kernel", "tests", "qemu", "pyproject.toml", "README.md"} & set(
        ignored
    )


def test_the_devcontainer_uses_the_image_and_the_set_up() -> None:
    folder = TOP / ".devcontainer"
    settings = json.loads((folder / "devcontainer.json").read_text())
    build = settings["build"]
    assert (folder / build["dockerfile"]).resolve() == TOP / "Dockerfile"
    assert (folder / build["context"]).resolve() == TOP
    commands = [value for name, value in settings.items() if name.endswith("Command")]
    assert commands
    assert {program for command in commands for program in programs_of(command)} <= SET_UP
    assert "features" not in settings
