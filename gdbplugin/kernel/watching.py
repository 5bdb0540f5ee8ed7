"""What `tinyos watch` is asked for: the subject to watch, and the watches that there are."""

from __future__ import annotations

from gdbplugin.aarch64.regime import regime_at
from gdbplugin.kernel.maps import all_spaces, own_spaces
from gdbplugin.kernel.permission_watch import PermissionSubject
from gdbplugin.kernel.selection import Selection, View, choose
from gdbplugin.kernel.table_places import WritablePlaces
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.translation_watch import Subject, TranslationSubject, Watches, space_of
from gdbplugin.machine import SelectionError


def read_watches(
    target: Target,
    what: str | None,
    address: int | None,
    *,
    pattern: str | None,
    within: tuple[int, int] | None,
    flags: bool,
    delete: int | None,
    **selection: int | None,
) -> Watches:
    """Make a watch, or delete one; returns all. Raises `SelectionError`, and what `choose` raises."""
    watching = target.translation_watches()
    new = None
    if delete is not None:
        if what is not None:
            raise SelectionError("--delete goes with no other word")
        watching.delete(delete)
    elif what is not None:
        if (address is None) == (pattern is None):
            raise SelectionError("give either an ADDRESS or --any PATTERN")
        view = choose(target, Selection(**selection))
        subject: Subject
        if address is not None:
            if within is not None:
                raise SelectionError("--range goes with --any")
            subject = TranslationSubject(view, address, flags=flags)
        else:
            assert pattern is not None
            if flags:
                raise SelectionError("--flags goes with an ADDRESS")
            subject = _of_permissions(target, view, pattern, within, selection)
        own = regime_at(target.machine, view.core, view.regime.level)
        new = watching.add(subject, WritablePlaces(target.machine, own))
    elif pattern is not None or within is not None or flags:
        raise SelectionError("say what is to be watched: translation")
    return Watches(watching.listed(), new, diagnostics=target.diagnostics)


def _of_permissions(
    target: Target,
    view: View,
    pattern: str,
    within: tuple[int, int] | None,
    selection: dict[str, int | None],
) -> Subject:
    """All address spaces, or the one that is selected."""
    if selection.get("asid") is None and selection.get("ttbr") is None:
        spaces, whose = all_spaces(target, view), ""
    else:
        whose = space_of(view, view.regime.lower)
        spaces = own_spaces(view)
    subject = PermissionSubject(view, spaces, pattern, within, whose)
    if subject.count:
        said = f"{subject.count:,} block{'s or pages are' if subject.count > 1 else ' or page is'}"
        target.diagnostics.add_note(f"{said} so already: the watch is for others")
    return subject
