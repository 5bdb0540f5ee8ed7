"""`tinyos stress`."""

from gdbplugin.debugger.command import Command, Form, Option


class Stress(Command):
    """Run the kernel's stress test in the target, and show what it did to every counter.

    The target runs: tasks fill the memory until the pressure is critical, end, and no frame may be lost on
    the way. The kernel is asked by a word of its interface for debuggers, which is written; so this works on
    any connection. Ctrl-C ends the test early and leaves the target stopped, as its end does. A breakpoint
    of yours stops it as well; given again, this command then waits for the same test's end.
    """

    word = "stress"
    letter = "t"
    reader = "gdbplugin.debugger.request:run_stress"
    view = "gdbplugin.render.stress"
    schema = "tinyos.stress/1"
    needs = "journal"
    options = (
        Option(
            "--last",
            "only show the latest run once more",
            form=Form(
                "gdbplugin.debugger.request:last_stress",
                "gdbplugin.render.stress",
                "tinyos.stress/1",
                "journal",
            ),
        ),
    )
