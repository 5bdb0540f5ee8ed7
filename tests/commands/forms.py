"""The objects of commands as text and JSON, without GDB."""

import json

from gdbplugin.commands import COMMANDS
from gdbplugin.commands.descriptor import to_json
from gdbplugin.render import Style

BY_WORD = {command.word: command for command in COMMANDS}
FORMS = {command.word: command.form for command in COMMANDS} | {
    f"{command.word} {option.name}": option.form
    for command in COMMANDS
    for option in command.options
    if option.form is not None
}


# They need a recording, or a stop that was kept.
OF_THE_PAST = ("checkpoints", "diff", "history", "recording", "tlb", "writer")


# They need something to look for.
OF_AN_ADDRESS = ("search", "where")


def words(*but):
    """The commands that need no argument and do not let the target run; `but` are left out."""
    shown = [command for command in COMMANDS if not command.form.runs_target]
    shown = [command for command in shown if command.word not in OF_THE_PAST + OF_AN_ADDRESS]
    shown = [command for command in shown if not any(argument.required for argument in command.arguments)]
    return tuple(command.word for command in shown if command.word not in but)


def text_of(name, found, style=None):
    """What a command prints for an object; `name` is its word, and the option that selects another form."""
    return FORMS[name].show(found, style or Style("ascii"))


def json_of(name, found):
    """The JSON of an object, through JSON and back."""
    return json.loads(json_text(FORMS[name], found))


def json_text(form, found):
    """The JSON text of an object of a form."""
    return to_json(form.schema, found)
