"""`tinyos where`, and how `tinyos search` tells one place."""

from __future__ import annotations

from gdbplugin.commands.descriptor import SELECTION, Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.place import LazyPlace, Place, StackPlace
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.translate import AddressTranslation
    from gdbplugin.kernel.where import Where
    from gdbplugin.render import Style


def read(
    target: Target,
    address: Address | None = None,
    *,
    physical: Address | None = None,
    core: int | None = None,
    el: int | None = None,
    ttbr: int | None = None,
    asid: int | None = None,
    stage: int | None = None,
) -> Where:
    """What a virtual address, the value of a register such as `"X5"`, or a `physical` address is."""
    from gdbplugin.kernel.where import read_where

    return read_where(
        target,
        address,
        None if physical is None else target.address(physical),
        core=core,
        el=el,
        ttbr=ttbr,
        asid=asid,
        stage=stage,
    )


_NAME_WIDTH = 11
_ALIASES_SHOWN = 10


def show(found: Where, style: Style) -> str:
    """One sentence, then a line for each thing that is known."""
    place = found.place
    lines = style.wrapped(f"{_title(found)}: {place.text}", "  ")
    for name, value in _entries(found, style):
        lines += style.entry(name, value, _NAME_WIDTH)
    if place.translation is not None:
        lines += _tables_lines(place.translation, style)
    lines += _alias_lines(found, style)
    return "\n".join(lines) + "\n" + style.diagnostics(found)


def _title(found: Where) -> str:
    place = found.place
    what = f"{found.value:#018x}"
    if found.register is not None:
        what = f"{found.register} of core {found.core}, {what}"
    elif place.translation is None:
        what = f"Physical {found.value:#x}"
    if found.register is not None and place.translation is None:
        what += f", table at physical {place.physical or 0:#x}"
    return what


def _entries(found: Where, style: Style) -> list[tuple[str, str]]:
    """What is known beside the tables: names and values."""
    place, rows = found.place, []
    if place.translation is None and place.address is not None:
        rows.append(("address", f"{place.address:#018x}"))
    if place.region is not None and place.region.symbol is not None:
        rows.append(("symbol", place.region.symbol))
    if place.field is not None:
        rows.append(("field", place.field))
    if place.section is not None:
        rows.append(("section", place.section))
    if place.stack is not None:
        rows.append(("stack", _stack_words(place.stack, style)))
    if place.lazy is not None:
        rows.append(("lazy page", _lazy_words(place.lazy, style)))
    if place.frame is not None:
        rows.append(("frame", f"{place.frame.number:,} of the pool: {place.frame.text}"))
    if place.table is not None:
        rows.append(("descriptor", _descriptor_words(place)))
    if place.memory is not None:
        kind = "device" if place.device is not None else "memory"
        memory = place.memory
        rows.append((kind, f"{memory.name} ({memory.kind}), {memory.start:#x}..{memory.end:#x}"))
    elif place.has_map and place.physical is not None:
        rows.append(("memory", "there is no memory and no device"))
    return rows


def _stack_words(stack: StackPlace, style: Style) -> str:
    from gdbplugin.kernel.tasks import task_words

    words = [f"{stack.id} of {task_words(stack.task, stack.task_name)}" if stack.task else f"{stack.id}"]
    words.append(f"{stack.below_base:#x} below its base {stack.base_address:#x}")
    if stack.current_size:
        words.append(f"{style.size(stack.current_size)} mapped")
    if stack.stack_pointer is not None:
        whose = "" if stack.core is None else f" of core {stack.core}"
        said = {True: ", so in use", False: ", so not in use", None: ""}[stack.in_use]
        words.append(f"SP{whose} {stack.stack_pointer:#x}{said}")
    return ", ".join(words)


def _lazy_words(lazy: LazyPlace, style: Style) -> str:
    from gdbplugin.kernel.tasks import task_words

    words: list[str] = [lazy.state]
    if lazy.record is not None:
        words.append(f"record {lazy.record:,}")
    if lazy.owner is not None:
        words.append(f"of {task_words(lazy.owner, lazy.owner_name)}")
    if lazy.physical_address:
        words.append(f"frame {lazy.physical_address:#x}")
    if lazy.access_count is not None:
        words.append(f"{style.count(lazy.access_count)} access{'' if lazy.access_count == 1 else 'es'}")
    return ", ".join(words)


def _descriptor_words(place: Place) -> str:
    table = place.table
    assert table is not None
    step = table.explained.step
    whose = "" if table.asid is None else f", ASID {table.asid}"
    whose += "" if table.task is None else f", task {table.task}"
    return (
        f"{step.descriptor:#018x}, entry {step.index} of the level {step.level} table at {step.table:#x} of "
        f"{table.name}{whose}; for {table.input:#x}: {table.explained.meaning}"
    )


def _tables_lines(translation: AddressTranslation, style: Style) -> list[str]:
    """By which tables the address was translated, to what, and by which descriptor."""
    from gdbplugin.commands.translate import attribute_lines, outcome, view_line

    lines = style.entry("translated", f"by {view_line(translation.view)}", _NAME_WIDTH)
    lines += style.entry("", outcome(translation, style), _NAME_WIDTH)
    if translation.levels:
        last = translation.levels[-1]
        said = f"{last.step.descriptor:#018x} at {last.step.address:#x}, level {last.step.level}: "
        lines += style.entry("", said + last.meaning, _NAME_WIDTH)
    attributes = " ".join(line.strip() for line in attribute_lines(translation, style))
    if attributes:
        lines += style.entry("", attributes, _NAME_WIDTH)
    return lines


def _alias_lines(found: Where, style: Style) -> list[str]:
    from gdbplugin.commands.maps import alias_table

    place = found.place
    if place.physical is None or not place.aliases or found.view is None:
        return []
    lines = [
        "Mapped at 1 address" if place.alias_count == 1 else f"Mapped at {place.alias_count:,} addresses"
    ]
    lines.append(alias_table(place.aliases[:_ALIASES_SHOWN], found.view, style))
    if place.alias_count > _ALIASES_SHOWN:
        said = f"  and {style.count(place.alias_count - _ALIASES_SHOWN)} more: "
        lines += style.wrapped(f"{said}tinyos maps --find-physical {place.physical:#x}", "    ")
    return lines


ARGUMENT = Argument(
    "ADDRESS", "a virtual address, an expression, or a register of a core: X5, SP, ELR_EL1", "address"
)
OPTIONS = (Option("--physical", "a physical address instead", "address", "PA"), *SELECTION)
HELP = """Show what an address is: everything that is known of it, on any AArch64 kernel.

That is the region with its symbol and section, the stack or lazy page and its owner, the walk of the
translation tables, the frame and its use, the translation table there and its descriptor, the device in
QEMU's memory map, and every address at which the same memory is mapped. A register's name stands for its
value on the selected core, or with --core on another; TTBR0_EL1 and the like for the table in it. An address
of a task that does not run is translated by that task's tables. A symbol with a register's name needs an
expression: &sp.
"""
COMMAND = Command(
    "where",
    Form("tinyos.where/1", read, show),
    help=HELP,
    arguments=(ARGUMENT,),
    options=OPTIONS,
)
