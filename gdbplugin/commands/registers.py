"""`tinyos registers`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import CORE, Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.aarch64.description import RegisterField
    from gdbplugin.kernel.registers import Register, Registers, RegisterValue
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target, name: str | None = None, *, core: int | None = None) -> Registers:
    """System registers by their fields: all, one, or those whose names begin with `name`."""
    from gdbplugin.kernel.registers import read_registers

    return read_registers(target, name, core)


_WHOLE_REGISTER = ("address", "PROCID")
"""Fields that say no more than the value."""
_BESIDE = 60
"""If less room is left beside the value, its fields begin further left."""


def show(found: Registers, style: Style) -> str:
    """Each register: a row for each field if asked for by name, otherwise a line or two."""
    blocks = []
    for register in found.known:
        blocks.append(_in_full(register, found, style) if found.chosen else _in_short(register, found, style))
    if found.unknown:
        said = "This target does not give: " + ", ".join(found.unknown)
        blocks.append("\n".join(style.wrapped(said, "  ")))
    return ("\n\n" if found.chosen else "\n").join(blocks) + "\n" + style.diagnostics(found)


def _in_full(register: Register, found: Registers, style: Style) -> str:
    """Every field of a register with what it means; a column for each value that cores have."""
    values = register.values
    # The fields of ESR_ELx depend on the exception class.
    if len({tuple((field.name, field.low) for field in value.fields) for value in values}) > 1:
        from gdbplugin.kernel.registers import Register

        parts = [Register(register.name, (value,), ()) for value in values]
        return "\n\n".join(_in_full(part, found, style) for part in parts)
    heads = [
        f"{register.name} of {core_list(value.cores, found.cores)}: {value.value:#018x}" for value in values
    ]
    if register.unknown_cores:
        heads.append(f"{register.name} of {core_list(register.unknown_cores, found.cores)}: cannot be read")
    lines = [line for head in heads for line in style.wrapped(head)]
    rows = []
    for fields in zip(*(value.fields for value in values), strict=True):
        first = fields[0]
        if first.reserved and not any(field.value for field in fields):
            continue
        where = str(first.high) if first.high == first.low else f"{first.high}:{first.low}"
        meanings = dict.fromkeys(field.meaning or "" for field in fields)
        rows.append((where, first.name, *(_number(field) for field in fields), " / ".join(meanings)))
    columns = [core_list(value.cores, found.cores) for value in values] if len(values) > 1 else ["value"]
    lines.append(style.table(("bits", "field", *columns, "meaning"), rows, columns))
    return "\n".join(lines)


def _number(field: RegisterField) -> str:
    return str(field.value) if field.value < 10 else f"{field.value:#x}"


def _in_short(register: Register, found: Registers, style: Style) -> str:
    """A register's values: the fields of the first that are not zero, and how the others differ from it."""
    lines: list[str] = []
    first: RegisterValue | None = None
    for value in register.values:
        head = f"{register.name if first is None else '':<17} {value.value:#018x}  "
        who = core_list(value.cores, found.cores)
        said = "; ".join(_worth_saying(value, first))
        if len(register.values) > 1:
            said = f"{who}: {said}" if said else who
        # A field stays in one line with its meaning.
        bound = said.replace(" ", "\0").replace(";\0", "; ").replace(":\0", ": ")
        parts = style.wrapped(head + bound, " " * style.left(_BESIDE, 4, len(head)))
        lines += [line.replace("\0", " ").rstrip() for line in parts]
        first = first or value
    return "\n".join(lines)


def _worth_saying(value: RegisterValue, first: RegisterValue | None) -> list[str]:
    """The fields that are not zero, or that differ from the first value's, with what they mean."""
    said: list[str] = []
    if first is not None and value.value == 0:
        return said
    known = {} if first is None else {(field.name, field.low): field.value for field in first.fields}
    for field in value.fields:
        if field.name in _WHOLE_REGISTER or field.reserved:
            continue
        differs = known.get((field.name, field.low)) != field.value
        if (differs and first is not None) or (first is None and (field.value or _tells(field, value))):
            said.append(f"{field.name} {field.meaning or _number(field)}")
    return said


def _tells(field: RegisterField, value: RegisterValue) -> bool:
    """Whether a field is worth showing even if it is 0."""
    return field.name == "M" or (field.name in ("TG0", "TG1", "EL", "EC", "ASID") and value.value != 0)


def core_list(cores: Sequence[int], all_cores: Sequence[int]) -> str:
    """Cores as people write them: `core 0`, `cores 0, 2-3`, `all cores`."""
    from itertools import groupby

    if len(cores) == len(all_cores) > 1:
        return "all cores"
    spans = []
    for _, run in groupby(enumerate(sorted(cores)), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        spans.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(spans)}"


def offered_names(target: Target) -> list[str]:
    """The names of the registers."""
    from gdbplugin.kernel import registers

    return registers.names(target)


ARGUMENTS = (
    Argument(
        "NAME",
        "a register, such as TCR_EL1, or the beginning of several: TTBR, ID_AA64",
        "text",
        complete=offered_names,
    ),
)
HELP = """Show the system registers of address translation and exceptions by their fields, core by core.

TTBRn, TCR, MAIR, SCTLR, ESR, FAR, ELR, SPSR, VBAR, CONTEXTIDR, PAR, HCR, SCR and ID_AA64MMFRn of EL1 to
EL3. With NAME: every field of that register, or of all whose names begin with NAME. Without: the fields
that are not zero. Registers that the target does not give are listed at the end. Works on any AArch64
kernel.
"""
COMMAND = Command(
    "registers",
    Form("tinyos.registers/1", read, show, rows=lambda found: found.registers),
    help=HELP,
    arguments=ARGUMENTS,
    options=(CORE,),
)
