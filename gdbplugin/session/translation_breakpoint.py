"""Stop the target when a translation changes: `break_on("translation", ...)`.

The plugin in GDB watches the descriptors (`tinyos watch`); this waits for its stops.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gdbplugin.kernel.translation_watch import DescriptorChange, TranslationChange, WritingInstruction
from gdbplugin.session import mi
from gdbplugin.session.breakpoints import TRANSLATION, DeletedAtEnd
from gdbplugin.session.connection import Connection
from gdbplugin.session.errors import CommandFailedError, SessionError
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.process import deferred_signals


def watch_words(words: Mapping[str, object]) -> list[str]:
    """The words of `tinyos watch` for the filters of `break_on`; raises `SessionError`."""
    given = {name: value for name, value in words.items() if value is not None and value is not False}
    known = ("address", "any", "range", "asid", "flags")
    for name in given:
        if name not in known:
            raise SessionError(f"{TRANSLATION} takes no {name}; it takes: {', '.join(known)}")
    found = [TRANSLATION]
    for name, value in given.items():
        if name == "address":
            found.insert(1, _address(value))
        elif name == "range":
            if not isinstance(value, Sequence) or len(value) != 2:
                raise SessionError(f"range must be (START, END), END exclusive, not {value!r}")
            found += ["--range", "..".join(map(_address, value))]
        else:
            found += [f"--{name}"] + ([] if value is True else [str(value)])
    return found


def _address(value: object) -> str:
    return hex(value) if isinstance(value, int) else str(value)


class TranslationBreakpoint(DeletedAtEnd):
    """Stops the target at each change of a translation, until it is deleted or its `with` ends.

    The target stops after the instruction that wrote the descriptor, in the middle of the kernel's change.
    """

    def __init__(self, connection: Connection, words: Sequence[str]) -> None:
        self._connection = connection
        self._number: int | None = None
        self._hits = 0
        try:
            # A watch whose number is not noted could not be deleted.
            with connection.stopped() as gdb, deferred_signals():
                found = self._ask(gdb, words)
                self._number = found["new"]
        except BaseException:
            with contextlib.suppress(SessionError):  # The first error says more.
                self.delete()
            raise
        self._text: str = next(one["title"] for one in found["watches"] if one["number"] == self._number)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The plugin's number for it, as `tinyos watch` shows it; none after it is deleted."""
        return () if self._number is None else (str(self._number),)

    def wait(self, timeout: float) -> TranslationChange:
        """Let the target run until a change; returns it.

        If it has already stopped the target, and nobody has waited for that stop, that change counts. Raises
        `WaitTimeoutError` after `timeout` seconds, with the target left running; `SessionError` if something
        else stops it, with the target left there.
        """
        with self._connection.translated_errors():
            gdb = self._connection.debugger
            stop = gdb.take_stop()
            change = None if stop is None else self._new_change(gdb)
            if change is None:
                if not gdb.running:
                    gdb.resume()
                stop = gdb.wait_for_stop(timeout, f"a change of {self._text}")
                change = self._new_change(gdb)
            if change is None:
                raise SessionError(f"the target stopped ({stop}) while waiting for a change of {self._text}")
            return change

    def delete(self) -> None:
        """Remove it from the target; a second call does nothing."""
        if self._number is not None:
            with deferred_signals(), self._connection.stopped() as gdb:
                with contextlib.suppress(CommandFailedError):  # A user may have deleted it already.
                    self._ask(gdb, ["--delete", str(self._number)])
                self._number = None

    def _new_change(self, gdb: Gdb) -> TranslationChange | None:
        """The change that stopped the target; None if another reason did."""
        watches = self._ask(gdb, [])["watches"]
        found = next((one for one in watches if one["number"] == self._number), None)
        if found is None or found["hit_count"] == self._hits:
            if found is not None and found["problem"]:
                raise SessionError(f"{self._text}: {found['problem']}")
            return None
        self._hits = found["hit_count"]
        return _change(found["last"])

    def _ask(self, gdb: Gdb, words: Sequence[str]) -> Any:
        try:
            return json.loads(gdb.mi(" ".join(["-tinyos-watch", *map(mi.quote, words)])).payload["json"])
        except CommandFailedError as error:
            raise CommandFailedError("tinyos watch", error.reason, error.output) from error


def _change(found: Mapping[str, Any]) -> TranslationChange:
    """A change from its JSON object."""
    writer = found["writer"]
    return TranslationChange(
        **{
            **found,
            "descriptors": tuple(DescriptorChange(**one) for one in found["descriptors"]),
            "writer": None if writer is None else WritingInstruction(**writer),
        }
    )
