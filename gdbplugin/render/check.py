"""The view of `tinyos check`."""

from __future__ import annotations

from gdbplugin.kernel.check_outcome import Check
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def content(check: Check) -> dict[str, Any]:
    """The check's part of its JSON object. `passing` is what was seen amid a change, and is no finding."""
    return {
        "changing": check.changing,
        "checked": check.checked,
        "finding_count": check.journal.finding_count,
        "passing": [vars(finding) for finding in check.passing],
    }


def text(check: Check, style: Style) -> str:
    """What was compared, each finding, and their number last."""
    compared = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in check.checked.items() if count is not None
    )
    lines = "\n".join(style.wrapped(f"Compared {compared}.", "  ")) + "\n" + style.noticed(check)
    if check.changing:
        said = f"{style.count(check.passing_count)} disagreements amid the change are no findings."
        lines += "\n".join(style.wrapped(said, "  ")) + "\n"
    return lines + f"{style.counted(check.journal.finding_count, 'finding')}\n"
