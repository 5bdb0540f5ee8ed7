"""`-tinyos-machine`: the stopped machine, for a session that decodes TinyOS in its own process."""

import importlib

import gdb


class _MachineInterface(gdb.MICommand):
    """One question of `gdbplugin.debugger.questions` about the stopped machine: its name, then its words.

    Returns one field, `json`. For programs: `gdbplugin.session` asks by it.
    """

    def __init__(self) -> None:
        super().__init__("-tinyos-machine")

    def invoke(self, arguments: list[str]) -> dict[str, object]:
        """GDB's call."""
        questions = importlib.import_module("gdbplugin.debugger.questions")
        return {"json": questions.answer(arguments)}


def register() -> None:
    """Called once while GDB starts."""
    _MachineInterface()
