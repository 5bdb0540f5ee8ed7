"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from bench import commands, kernel, layout, load, mapped, record, watch
from bench.figures import Figure, MeasureError, content, table
from gdbplugin.session import SessionError, streams
from gdbplugin.session.gdb import find_gdb
from gdbplugin.session.process import raised_as_exit
from gdbplugin.session.qemu import find_qemu

_MEASUREMENTS: dict[str, Callable[[Path, int, Callable[[str], None]], Iterator[Figure]]] = {
    "load": load.measure,
    "translate": commands.measure_translate,
    "maps": commands.measure_maps,
    "records": commands.measure_records,
    "first": commands.measure_first,
    "again": commands.measure_again,
    "mapped": mapped.measure,
    "layout": layout.measure,
    "watch": watch.measure,
    "kernel": kernel.measure,
    "record": record.measure,
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        _say(f"error: {message}; see scripts/bench --help")
        sys.exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""

    def program() -> int:
        with raised_as_exit():
            return _run(_options(arguments))

    return streams.run("bench", program)


def _run(options: argparse.Namespace) -> int:
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    for name in dict.fromkeys(options.names) if options.names else _MEASUREMENTS:
        try:
            figures += _MEASUREMENTS[name](options.kernel, options.runs, _say)
        except (SessionError, MeasureError, subprocess.TimeoutExpired) as error:
            failures[name] = str(error)
            _say(f"error: {name} could not be measured: {error}")
    print(table(figures))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(_content(figures, failures, options.runs), indent=2) + "\n")
    _say(f"written to {options.json}")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="scripts/bench")
    parser.add_argument("--top", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=15, metavar="N")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in _MEASUREMENTS]
    if unknown:
        parser.error(f'there is no "{unknown[0]}" to measure, but {", ".join(_MEASUREMENTS)}')
    if options.runs < 1:
        parser.error(f"--runs {options.runs} measures nothing")
    options.kernel = options.top / "build" / "kernel.elf"
    options.json = options.json or options.top / "build" / "bench.json"
    return options


def _content(figures: Sequence[Figure], failures: dict[str, str], runs: int) -> dict[str, Any]:
    return {
        "schema": "tinyos.bench/1",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": f"{platform.system()} {platform.machine()}",
        "gdb": _version(find_gdb()),
        "qemu": _version(find_qemu()),
        "runs": runs,
        "figures": content(figures),
        "failures": failures,
    }


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, check=False)
    return done.stdout.decode(errors="backslashreplace").partition("\n")[0]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
