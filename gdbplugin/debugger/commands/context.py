"""`tinyos context`."""

from gdbplugin.debugger.command import Command, Form, Option


def _test(reader: str) -> Form:
    return Form(
        f"gdbplugin.debugger.request:{reader}",
        "gdbplugin.render.context_test",
        "tinyos.context-test/1",
        "journal",
    )


class Context(Command):
    """Show what each core translates by, and the address spaces that TinyOS switches between.

    TTBR0_EL1 and TTBR1_EL1 of every core by their fields; every address space with its task, table,
    ASID and generation, and switches; and the TLB invalidations by kind.
    With --test the target runs: the kernel is asked, by a word of its interface for debuggers, for its own
    test of switching. The target is stopped again at its end.
    """

    word = "context"
    letter = "c"
    reader = "gdbplugin.kernel.context:read_context"
    view = "gdbplugin.render.context"
    schema = "tinyos.context/1"
    options = (
        Option(
            "--test",
            "run the kernel's context switching test in the target, and show what changed",
            form=_test("run_context_test"),
        ),
        Option("--last-test", "only show the latest run of that once more", form=_test("last_context_test")),
    )
