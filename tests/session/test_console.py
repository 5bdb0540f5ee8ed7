"""The kernel's console; the test plays the kernel."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.session.console import Console
from gdbplugin.session.errors import EndedError, SessionError, WaitTimeoutError
from gdbplugin.session.process import Pump


@pytest.fixture
def ends() -> Iterator[tuple[Console, socket.socket]]:
    """A console, and the kernel's end of its line."""
    ours, kernels = socket.socketpair()
    with ours, kernels:
        yield Console(ours, Pump(), lambda: EndedError("QEMU exited with status 1")), kernels


def test_the_answer_is_the_text_between_echo_and_prompt(
    ends: tuple[Console, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    console, kernel = ends
    kernel.sendall(b"\r\nTinyOS\r\ntinyos> ")
    assert console.wait_for_prompt() == "\nTinyOS\n"
    typed: list[str] = []

    def type_and_be_answered(text: str) -> None:
        typed.append(text)
        kernel.sendall(b"*s\r\nstacks  3\r\nframes  9\r\ntinyos> ")

    monkeypatch.setattr(console, "send", type_and_be_answered)
    assert console.command("*s") == "stacks  3\nframes  9\n"
    assert typed == ["*s\r"]


def test_sent_text_arrives(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    console.send("*s\r")
    assert kernel.recv(100) == b"*s\r"


def test_the_submenu_prompt_is_a_prompt(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"hello\r\ntinyos*> ")
    assert console.wait_for_prompt() == "hello\n"


def test_a_prompt_inside_a_line_is_not_a_prompt(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"the prompt is tinyos> ")
    with pytest.raises(WaitTimeoutError):
        console.wait_for_prompt(0.05)


def test_a_line_end_cut_in_two_is_joined(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"a\r")
    assert console.transcript == "a"
    kernel.sendall(b"\nb")
    assert console.transcript == "a\nb"


@given(st.text(alphabet="a—é\r\n😀"), st.data())
def test_a_character_cut_in_two_is_joined(text: str, data: st.DataObject) -> None:
    ours, kernels = socket.socketpair()
    stream = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    with ours, kernels:
        console = Console(ours, Pump(), lambda: EndedError("ended"))
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            kernels.sendall(stream[start:end])
            assert isinstance(console.transcript, str)  # Read, piece by piece.
        kernels.close()
        assert console.transcript == text.replace("\r\n", "\n")


def test_bytes_that_are_not_text_are_escaped(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"\xff\xc3\xa9\xe2\x80")
    assert console.transcript == r"\xffé"
    kernel.close()
    assert console.transcript == r"\xffé\xe2\x80"


def test_undecodable_bytes_are_sent_unchanged(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    console.send("é\udcff")
    assert kernel.recv(100) == "é".encode() + b"\xff"


def test_a_timeout_names_the_pattern_and_shows_the_last_lines(
    ends: tuple[Console, socket.socket],
) -> None:
    console, kernel = ends
    kernel.sendall(b"first\r\nlast line\r\n")
    with pytest.raises(WaitTimeoutError) as caught:
        console.expect("never this", 0.05)
    assert caught.value.message == "waited 0.05 s for 'never this' on the kernel's console"
    assert "last line" in str(caught.value)


def test_a_match_is_not_found_again(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"one two two")
    assert console.expect(re.compile("two")).start() == 4
    assert console.expect("two").start() == 8
    with pytest.raises(WaitTimeoutError):
        console.expect("two", 0.05)


def test_the_end_of_the_machine_is_the_error(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"booting\r\n")
    kernel.close()
    with pytest.raises(EndedError, match="QEMU exited with status 1"):
        console.wait_for_prompt(5)
    with pytest.raises(EndedError, match="QEMU exited with status 1"):
        console.command("help")


def test_a_prompt_right_after_the_match_is_found(ends: tuple[Console, socket.socket]) -> None:
    console, kernel = ends
    kernel.sendall(b"task 3 ended\r\ntinyos> ")
    console.expect("ended\n")
    assert console.wait_for_prompt(5) == ""


def test_text_between_prompt_and_echo_is_not_in_the_answer(
    ends: tuple[Console, socket.socket],
) -> None:
    console, kernel = ends

    def be_the_kernel() -> None:
        assert kernel.recv(100) == b"uptime\r"
        kernel.sendall(b"\r\ntask 3 ended\r\ntinyos> ")
        time.sleep(0.05)  # So that this is read on its own, and ends with a prompt.
        kernel.sendall(b"uptime\r\n12 ms\r\ntinyos> ")

    with ThreadPoolExecutor(1) as threads:
        served = threads.submit(be_the_kernel)
        assert console.command("uptime") == "12 ms\n"
        served.result()


@pytest.mark.parametrize("text", ["help\nhelp", "help\r", "\x03"])
def test_a_command_must_be_one_printable_line(ends: tuple[Console, socket.socket], text: str) -> None:
    console, _ = ends
    with pytest.raises(SessionError, match="one printable line"):
        console.command(text)
