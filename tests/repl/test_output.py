"""What the REPL writes, where, and in which style."""

from __future__ import annotations

import io
import os
import pty
import termios
import time
from collections.abc import Iterator

import pytest

from gdbplugin.render import Style
from gdbplugin.repl.output import Output, screen_problem, style_of


def _output(
    style: Style | None = None, *, for_person: bool = True
) -> tuple[Output, io.StringIO, io.StringIO]:
    out, errors = io.StringIO(), io.StringIO()
    return Output(out, errors, style or Style(), for_person=for_person), out, errors


def test_kernel_lines_are_marked_and_prompts_left_out() -> None:
    output, out, _ = _output()
    for piece in ("tinyos> ", "upti", "me\n12 ms\ntiny", "os> ", "\ntask 3 has ended\ntinyos> "):
        output.kernel(piece)
    assert out.getvalue() == "│ tinyos> uptime\n│ 12 ms\n│ task 3 has ended\n"


def test_kernel_line_never_splits_a_line_of_gdb() -> None:
    output, out, _ = _output()
    output.gdb("half")
    output.kernel("from the kernel\n")
    output.gdb("other half\n")
    assert out.getvalue() == "half\n│ from the kernel\nother half\n"


def test_kernel_line_is_harmless_and_ascii_if_needed() -> None:
    output, out, _ = _output(Style(encoding="ascii"))
    output.kernel("\033[2J\a text\n")
    assert out.getvalue() == "| ?[2J? text\n"
    output, out, _ = _output(Style(colour=True))
    output.kernel("text\n")
    assert out.getvalue() == "\033[2m│ text\033[0m\n"


def test_prompt_gets_only_whole_lines() -> None:
    output, out, _ = _output()
    above: list[str] = []
    output.gdb("before")
    with output.prompting(above.append):
        assert out.getvalue() == "before\n"
        output.gdb("one\ntw")
        output.kernel("kernel\nker")
        output.gdb("o\nrest")
        output.complain("oh")
    assert "".join(above) == "one\n│ kernel\ntwo\nrest\noh\n"
    assert out.getvalue() == "before\n"


def test_output_without_a_person_is_exactly_gdbs() -> None:
    output, out, errors = _output(for_person=False)
    output.gdb("42")
    output.end_line()
    output.complain("no")
    assert (out.getvalue(), errors.getvalue()) == ("42", "no\n")


def test_captured_text_is_not_shown() -> None:
    output, out, _ = _output()
    with output.captured() as text:
        output.gdb("one")
    output.gdb("two")
    assert ("".join(text), out.getvalue()) == ("one", "two")


@pytest.fixture
def terminal() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A terminal: the file descriptor to read its output from, and the stream to write to."""
    shown, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream:
        yield shown, stream
    os.close(shown)


def test_progress_of_long_command_is_shown_then_erased(
    terminal: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown, stream = terminal
    output = Output(io.StringIO(), stream, Style(), for_person=True)
    with output.progress("quick"):
        pass
    deadline = time.monotonic() + 20
    with output.progress("tinyos check"):
        seen = b""
        while b"Ctrl-C stops it" not in seen:
            assert time.monotonic() < deadline
            seen += os.read(shown, 1000)
        output.gdb("result\n")
        after = os.read(shown, 1000)
    assert b"quick" not in seen
    assert b"tinyos check: 0 s" in seen
    assert after.endswith(b"\r\033[K")


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_dumb_terminal_shows_no_progress(
    terminal: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    shown, stream = terminal
    with Output(io.StringIO(), stream, Style(), for_person=True).progress("slow"):
        time.sleep(0.6)  # Longer than progress waits before it appears.
    stream.write("end")
    stream.flush()
    assert os.read(shown, 1000) == b"end"


def test_output_to_a_file_shows_no_progress() -> None:
    output, out, errors = _output()
    with output.progress("slow"):
        time.sleep(0.6)  # Longer than progress waits before it appears.
    assert (out.getvalue(), errors.getvalue()) == ("", "")


@pytest.mark.parametrize(
    ("environment", "plain", "colour"),
    [
        ({"LANG": "C.UTF-8", "TERM": "xterm"}, False, True),
        ({"LANG": "de_DE.utf8", "TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"LANG": "C.UTF-8", "LC_ALL": "C", "TERM": "xterm"}, True, True),
        ({"LANG": "en_US.ISO-8859-1", "TERM": "dumb"}, True, False),
        ({}, True, False),
    ],
)
def test_style_fits_the_terminal(
    terminal: tuple[int, io.TextIOWrapper], environment: dict[str, str], plain: bool, colour: bool
) -> None:
    style = style_of(terminal[1], environment)
    assert (style.plain, style.colour) == (plain, colour)
    assert not style_of(io.StringIO(), environment).colour


@pytest.mark.parametrize(
    ("own", "environment", "plain"),
    [
        ("utf-8", {"LC_ALL": "C.UTF-8"}, False),
        ("utf-8", {"LC_ALL": "C"}, True),
        ("ascii", {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"}, True),
        ("latin-1", {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}, True),
        ("utf-8", {"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, False),
        ("utf-8", {"LC_ALL": "C", "PYTHONIOENCODING": ":replace"}, True),
        ("utf-8", {"LC_ALL": "C", "PYTHONUTF8": "1"}, False),
    ],
)
def test_style_fits_the_encoding_of_the_stream(own: str, environment: dict[str, str], plain: bool) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=own)
    assert style_of(stream, environment).plain == plain


@pytest.mark.parametrize(
    ("term", "size", "problem"),
    [
        ("xterm", (24, 80), ""),
        ("dumb", (24, 80), "TERM is 'dumb'; set it to the type of the terminal, such as xterm"),
        (None, (24, 80), "TERM is not set; set it to the type of the terminal, such as xterm"),
        ("xterm", (0, 0), "the terminal does not know its size; set it: `stty rows 24 columns 80`"),
        ("xterm", (24, 0), "the terminal does not know its size; set it: `stty rows 24 columns 80`"),
    ],
)
def test_terminal_unfit_for_a_full_screen_says_why(
    terminal: tuple[int, io.TextIOWrapper], term: str | None, size: tuple[int, int], problem: str
) -> None:
    termios.tcsetwinsize(terminal[1].fileno(), size)
    assert screen_problem(terminal[1], {} if term is None else {"TERM": term}) == problem
    assert screen_problem(io.StringIO(), {"TERM": "xterm"}) == "the output is not a terminal"


def test_error_has_the_colour_of_its_stream() -> None:
    out, errors, above = io.StringIO(), io.StringIO(), []
    output = Output(out, errors, Style(colour=True), Style(), for_person=True)
    output.complain("oh", bad=True)
    assert errors.getvalue() == "oh\n"
    with output.prompting(above.append):
        output.complain("oh", bad=True)
    assert above == [Style(colour=True).bad("oh") + "\n"]
