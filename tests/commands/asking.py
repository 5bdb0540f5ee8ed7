"""Asks about the lists of commands, over the synthetic kernel."""

from __future__ import annotations

import json

from gdbplugin.commands import COMMANDS, answers, library, parsing
from gdbplugin.commands.descriptor import to_json
from gdbplugin.query.fields import fields_of
from gdbplugin.render import Style
from tests.commands.forms import OF_THE_PAST
from tests.kernel.stopped import stopped_world
from tests.kernel.synthetic import LAZY_BASE, World
from tests.schemas.validation import validate

BY_WORD = {command.word: command for command in COMMANDS}


NEEDS = {word: f"{word} {LAZY_BASE:#x}" for word in ("search", "translate", "where")}


LISTS = [
    NEEDS.get(command.word, command.word)
    for command in COMMANDS
    if command.form.rows is not None and not command.form.runs_target and command.word not in OF_THE_PAST
]


def world():
    """A kernel with something in every list."""
    found = World()
    found.manager["stack_manager"]["stacks"][1] |= {"policy": 77, "current_size": 1 << 60}
    found.registers = {"ESR_EL1": 0x9200_0007, "FAR_EL1": LAZY_BASE, "ELR_EL1": 0x80_0000, "SPSR_EL1": 0}
    return found


def asked(line, style=None, target=None):
    """What a command line prints."""
    word, _, rest = line.partition(" ")
    command, target = BY_WORD[word], target or stopped_world(world())
    values = parsing.parse(command, parsing.split(rest))
    if "python" in values:
        return library.lines(command, values, target)
    if not command.asks(values):
        return to_json(command.form.schema, command.read(target, values))
    question = answers.question(command, values)
    return answers.printed(question, values, command.read(target, values), style or Style("ascii"))


def asked_json(line):
    """The JSON object that a command line prints; it conforms to its schema."""
    found = json.loads(asked(f"{line} --json"))
    validate(found)
    return found


def rows_in(line, found):
    path = fields_of(BY_WORD[line.split()[0]].form.schema).path
    for step in path:
        found = found[step]
    return found
