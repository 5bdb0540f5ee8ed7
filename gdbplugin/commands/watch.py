"""`tinyos watch`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import SELECTION_OF_STAGE_1, Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.translation_watch import TranslationChange, Watch, Watches
    from gdbplugin.render import Style


def read(
    target: Target,
    what: str | None = None,
    address: Address | None = None,
    *,
    any: str | None = None,  # noqa: A002 (the command's word)
    range: Sequence[Address | None] | None = None,  # noqa: A002
    flags: bool = False,
    delete: int | None = None,
    core: int | None = None,
    el: int | None = None,
    ttbr: int | None = None,
    asid: int | None = None,
) -> Watches:
    """Watch the translation of an address, or of all. Returns all watches, with the new one's number."""
    from gdbplugin.kernel.watching import read_watches

    return read_watches(
        target,
        what,
        None if address is None else target.address(address),
        pattern=any,
        within=None if range is None else target.range(range),
        flags=flags,
        delete=delete,
        core=core,
        el=el,
        ttbr=ttbr,
        asid=asid,
    )


def show(shown: Watches, style: Style) -> str:
    """Each watch: what it watches, with how many watchpoints, and what it saw last."""
    if not shown.watches:
        return style.sections([style.title("No translation is watched")], shown)
    chosen = [watch for watch in shown.watches if shown.new in (None, watch.number)]
    parts = [_watch(watch, watch.number == shown.new, style) for watch in chosen]
    return style.sections(parts, shown)


def _watch(watch: Watch, is_new: bool, style: Style) -> str:
    points = style.counted(watch.watchpoints, "hardware watchpoint")
    tables = style.counted(len(watch.tables), "table")
    hits = "" if is_new else f", hit {style.counted(watch.hit_count, 'time')}"
    lines = [style.title(f"Watch {watch.number}: {watch.title}")]
    lines += style.wrapped(f"  {points} on {tables}{hits}")
    if watch.unwatched:
        listed = ", ".join(map(hex, watch.unwatched[:4])) + (" ..." if len(watch.unwatched) > 4 else "")
        lines += style.wrapped(
            f"  Without a watchpoint, as the kernel maps it nowhere writable: {listed}. "
            "A change there is noticed at the next stop."
        )
    if watch.problem:
        lines += style.wrapped(style.warning(f"  {watch.problem}"))
    if watch.last is not None:
        lines += ["  the last change:", *change_lines(watch.last, style)]
    return "\n".join(lines)


def change_lines(change: TranslationChange, style: Style) -> list[str]:
    """What an address was translated to and is now, the descriptors that changed, and what wrote them."""
    arrow = style.arrow
    size = f", {style.size(change.size)}" if change.size > 1 else ""
    lines = style.wrapped(f"  {change.address:#x}{size}: {change.before} {arrow} {change.after}", "      ")
    for one in change.descriptors:
        place = f"  level {one.level}, entry {one.index} of the table at {one.table:#x}: "
        words = ["" if value is None else f"{value:#x} " for value in (one.before, one.after)]
        said = f"{words[0]}{one.before_meaning} {arrow} {words[1]}{one.after_meaning}"
        lines += style.wrapped(place + said, "      ")
    writer = change.writer
    if writer is None:
        lines += style.wrapped(
            "  No watchpoint saw the write: by another mapping, a device, or the hardware."
        )
    else:
        function = "" if writer.function is None else f" {writer.function}"
        where = f"{writer.pc:#x}{function}{style.source(writer.file, writer.line)}"
        lines += style.wrapped(f"  written by core {writer.core}: {where}", "      ")
    return lines


def stop_text(watch: Watch, style: Style) -> str:
    """What is printed when a watch stops the target."""
    lines = [style.title(f"Watch {watch.number}: {watch.title}")]
    if watch.last is not None:
        lines += change_lines(watch.last, style)
    if watch.problem:
        lines += style.wrapped(style.warning(f"  {watch.problem}"))
    return "\n".join(lines) + "\n"


def offered_watches(target: Target) -> list[int]:
    """The numbers of the watches."""
    return [watch.number for watch in target.translation_watches().listed()]


HELP = """Stop the target when the translation of an address changes.

Hardware watchpoints are set on the descriptors that the walk of ADDRESS reads. If an upper one
leads to another table then, the watchpoints follow it. The target stops after the instruction that wrote the
descriptor, and each changed descriptor is shown decoded. A change of the access flag or the dirty state alone
is not another translation, and does not stop the target; with --flags it does.
--any "w+x" watches all tables, and stops when a page becomes writable and executable for an exception level;
a pattern as that of `tinyos maps --permissions` can be given instead. Address spaces that are made later are
not watched.
The address space is the one that the core has now, or the one that --asid selects; a switch to another is no
change. Watchpoints are on the addresses at which the kernel maps its tables: what a device, the hardware's
update of a flag, or another mapping writes is noticed at the next stop for another reason.
Without words it lists the watches. In a recorded session use `tinyos history --page ADDRESS` instead.
"""
COMMAND = Command(
    "watch",
    Form("tinyos.watch/1", read, show, runs_target=True),
    help=HELP,
    arguments=(
        Argument("WHAT", "what is watched", "text", choices=("translation",)),
        Argument("ADDRESS", "the input address, a number or an expression", "address"),
    ),
    options=(
        Option(
            "--any",
            "any page that gets these permissions: w+x, or such as el0:?wx",
            "text",
            "PATTERN",
        ),
        Option("--range", "with --any: only addresses in a range", "range", "START..END"),
        Option("--flags", "stop at changes of the access flag and the dirty state, too"),
        Option(
            "--delete",
            "delete the watch with this number",
            "number",
            "N",
            complete=offered_watches,
        ),
        *SELECTION_OF_STAGE_1,
    ),
)
