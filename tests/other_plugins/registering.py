"""Runs inside GDB: registers names as another plugin does, each with a mark that tells whose it is."""

import gdb

MARK = "Of another plugin."


def register(names):
    """All names of one plugin."""
    for name in names["commands"]:
        command(name)
    for name in names["functions"]:
        function(name)
    for name in names["parameters"]:
        parameter(name)


def command(name):
    """A command of that name."""

    class Command(gdb.Command):
        def __init__(self):
            super().__init__(name, gdb.COMMAND_USER)

        def invoke(self, argument, _from_tty):
            print(f"{name} was given {argument!r}")

    Command.__doc__ = MARK
    return Command()


def function(name):
    """A convenience function of that name."""

    class Function(gdb.Function):
        def __init__(self):
            super().__init__(name)

        def invoke(self, *arguments):
            return 1000 + len(arguments)

    Function.__doc__ = MARK
    return Function()


def parameter(name):
    """A setting of that name."""

    class Parameter(gdb.Parameter):
        set_doc = show_doc = MARK

        def __init__(self):
            super().__init__(name, gdb.COMMAND_DATA, gdb.PARAM_ZINTEGER)
            self.value = 7

    Parameter.__doc__ = MARK
    return Parameter()


def watch_events():
    """Handlers of the events that such plugins listen to: each looks at the machine, as theirs do."""
    seen = []

    def look(event):
        seen.append(type(event).__name__)
        if gdb.selected_thread() is not None and gdb.selected_thread().is_stopped():
            gdb.selected_frame().pc()

    for name in ("stop", "cont", "exited", "new_objfile", "memory_changed", "register_changed"):
        getattr(gdb.events, name).connect(look)
    return seen


def printers_and_unwinders(name):
    """A collection of pretty printers before all others, and an unwinder; neither takes anything."""

    class Unwinder:
        enabled = True

        def __init__(self):
            self.name = name

        def __call__(self, _frame):
            return None

    def printer(_value):
        return None

    printer.__name__ = name
    gdb.pretty_printers.insert(0, printer)
    gdb.frame_unwinders.insert(0, Unwinder())


def prompt(text):
    """Take the prompt."""
    gdb.prompt_hook = lambda _current: text
